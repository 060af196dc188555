"""The container: checks at its boundary, slicing and cropping against brute force."""

import numpy as np
import pytest

from snnfer.errors import EventFileError, SnnferError
from snnfer.events import EVENT_DTYPE, EventStream, FrameStream


def random_stream(n=2000, width=40, height=30, seed=0, **options):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 100_000, n))
    return EventStream.from_arrays(
        t, rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n), width, height, **options
    )


def test_dtype_is_the_agreed_one():
    assert np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")], align=True) == EVENT_DTYPE


def test_slice_time_is_half_open_and_absolute():
    frames = {"gray": FrameStream(np.arange(10) * 10_000, np.zeros((10, 30, 40), np.uint8))}
    stream = random_stream(frames=frames)
    part = stream.slice_time(20_000, 50_000)
    expected = [e for e in stream.events.tolist() if 20_000 <= e[0] < 50_000]
    assert part.events.tolist() == expected
    assert part.frames["gray"].t_us.tolist() == [20_000, 30_000, 40_000]
    assert (part.width, part.height) == (40, 30)


@pytest.mark.parametrize("box", [(5, 6, 10, 12), (-4, -3, 20, 20), (30, 20, 40, 40), (100, 0, 5, 5)])
def test_crop_against_brute_force(box):
    images = np.random.default_rng(1).integers(0, 255, (3, 30, 40), dtype=np.uint8)
    stream = random_stream(frames={"gray": FrameStream(np.arange(3), images)})
    x0, y0, w, h = box
    cropped = stream.crop(*box)
    expected = [
        (t, x - x0, y - y0, p) for t, x, y, p in stream.events.tolist() if x0 <= x < x0 + w and y0 <= y < y0 + h
    ]
    assert cropped.events.tolist() == expected
    assert (cropped.width, cropped.height) == (w, h)
    image = np.zeros((3, h, w), np.uint8)
    for i in range(h):
        for j in range(w):
            if 0 <= i + y0 < 30 and 0 <= j + x0 < 40:
                image[:, i, j] = images[:, i + y0, j + x0]
    assert np.array_equal(cropped.frames["gray"].images, image)


def test_crop_refuses_frames_of_another_size():
    stream = random_stream(frames={"rgb": FrameStream([0], np.zeros((1, 60, 80, 3), np.uint8))})
    with pytest.raises(SnnferError, match=r"frames 'rgb' of 80x60 on a sensor of 40x30"):
        stream.crop(0, 0, 10, 10)


def test_empty_stream():
    stream = EventStream(np.empty(0, EVENT_DTYPE), 4, 3)
    assert (len(stream), stream.t_start_us, stream.duration_us) == (0, 0, 0)
    assert len(stream.slice_time(0, 10)) == len(stream.crop(0, 0, 2, 2)) == 0


def test_unsorted_times_name_the_place_and_sort_is_stable():
    columns = {"t": [5, 3, 5], "x": [0, 1, 2], "y": [0, 0, 0], "p": [1, 1, 0]}
    with pytest.raises(EventFileError, match=r"go backwards 1 time, first at event 1 \(5 us, then 3 us\).*sort=True"):
        EventStream.from_arrays(**columns, width=4, height=1)
    assert EventStream.from_arrays(**columns, width=4, height=1, sort=True).events["x"].tolist() == [1, 0, 2]


def test_events_outside_say_how_many_and_the_first():
    with pytest.raises(
        EventFileError, match=r"2 of 3 events lie outside the sensor of 4x3, the first is event 1 at x=4"
    ):
        EventStream.from_arrays([0, 1, 2], [0, 4, 1], [0, 0, 3], [0, 0, 0], 4, 3)
    with pytest.raises(EventFileError, match="1 of 1 events lie outside"):
        EventStream.from_arrays([0], [-1], [0], [0], 4, 3)


@pytest.mark.parametrize(
    "p", [[0, 1, 1], [-1, 1, 1], [False, True, True], np.array([0, 1, 1], np.uint8), np.array([-1.0, 1.0, 1.0])]
)
def test_polarity_encodings(p):
    assert EventStream.from_arrays([0, 1, 2], [0] * 3, [0] * 3, p, 4, 3).events["p"].tolist() == [0, 1, 1]


@pytest.mark.parametrize("p", [[0, 2], [-1, 0], [-2, 1], [0.5, 1.0], ["a", "b"]])
def test_other_polarities_are_refused(p):
    with pytest.raises(EventFileError, match="polarit"):
        EventStream.from_arrays([0, 1], [0] * 2, [0] * 2, p, 4, 3)


def test_times_in_seconds_are_refused():
    with pytest.raises(
        EventFileError, match="column t of type float64; expected integers; likely cause: times in seconds"
    ):
        EventStream.from_arrays([0.1, 0.2], [0, 0], [0, 0], [0, 1], 4, 3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EventStream.from_arrays([0, 1], [0], [0], [0], 4, 3), "columns of shape"),
        (lambda: EventStream(np.zeros((3, 4)), 4, 3), "EventStream.from_arrays"),
        (lambda: EventStream(np.empty(0, EVENT_DTYPE), 0, 3), "0x3 pixels"),
        (lambda: EventStream(np.array([(0, 0, 0, 2)], EVENT_DTYPE), 4, 3), "polarity 2"),
        (lambda: FrameStream([0, 1], np.zeros((1, 2, 2), np.uint8)), "one time each"),
        (lambda: FrameStream([0], np.zeros((1, 2, 2))), "frames of type float64"),
        (lambda: FrameStream([0], np.zeros((2, 2), np.uint8)), r"frames of shape \[2, 2\]"),
        (lambda: FrameStream([1, 0], np.zeros((2, 2, 2), np.uint8)), "go backwards"),
    ],
)
def test_wrong_input_is_named(build, message):
    with pytest.raises(SnnferError, match=message):
        build()
