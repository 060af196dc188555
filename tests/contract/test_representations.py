"""What every registered representation must do, run over the registry."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from snnfer.errors import ConfigError, EventFileError, ShapeError, SnnferError
from snnfer.events import EVENT_DTYPE, EventStream
from snnfer.representations import (
    REPRESENTATIONS,
    create_representation,
    list_representations,
    register_representation,
)

WINDOW_US = 1000
WIDTH, HEIGHT = 24, 18


def stream_of(n=800, *, start_us=0, span_us=9500, seed=0, width=WIDTH, height=HEIGHT):
    rng = np.random.default_rng(seed)
    t = start_us + np.sort(rng.integers(0, span_us, n))
    t[:1] = start_us
    x, y, p = rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n)
    return EventStream.from_arrays(t, x, y, p, width, height)


DEPEND_ON_THE_WHOLE_SENSOR = {"tie", "est", "ssr_event_queue"}
"""Their values are relative to all events of the window (percentiles, its last event): a crop comes after them."""


COUNTS = {"count_frames", "ssr_histogram"}
"""At the size of the sensor, their sum is the number of events."""

WITHOUT_POLARITY = {"gray_frames"}
"""ON and OFF events are one to them."""

BACKGROUND = {"polarity_image": 127}
"""Value of a pixel without events, where it is not 0."""


def origin_of(representation, time_us) -> dict[str, Any]:
    """Keeps time zero where it is when the windows of a call move."""
    return {"t_origin_us": time_us} if representation.needs_origin else {}


EMPTY = EventStream(np.empty(0, EVENT_DTYPE), WIDTH, HEIGHT)


@pytest.fixture(params=sorted(REPRESENTATIONS))
def name(request):
    return request.param


class TestRepresentation:
    def test_shape_type_and_names(self, name):
        representation = create_representation(name, window_us=WINDOW_US)
        out = representation(stream_of())
        assert out.shape == (10, representation.n_channels, HEIGHT, WIDTH)
        assert out.dtype == torch.float32
        assert name in list_representations()

    def test_is_a_value(self, name):
        representation = create_representation(name, window_us=WINDOW_US, size=(4, 4))
        assert representation == create_representation(name, window_us=WINDOW_US, size=(4, 4))
        assert representation != create_representation(name, window_us=WINDOW_US + 1, size=(4, 4))
        for twin in (copy.deepcopy(representation), pickle.loads(pickle.dumps(representation))):
            assert torch.equal(twin(stream_of()), representation(stream_of()))
        with pytest.raises(AttributeError):
            representation.window_us = 5  # type: ignore[misc]

    def test_does_not_change_its_input(self, name):
        stream = stream_of()
        before = stream.events.copy()
        create_representation(name, window_us=WINDOW_US, size=(5, 5))(stream, box=(3, 3, 9, 9))
        assert np.array_equal(stream.events, before)

    def test_empty_stream(self, name):
        representation = create_representation(name, window_us=WINDOW_US)
        assert representation(EMPTY).shape == (0, representation.n_channels, HEIGHT, WIDTH)
        out = representation(EMPTY, t_start_us=0, t_end_us=2500)
        assert out.shape[0] == 3
        assert (out == BACKGROUND.get(name, 0)).all()

    def test_one_event(self, name):
        stream = EventStream.from_arrays([7], [3], [2], [1], WIDTH, HEIGHT)
        out = create_representation(name, window_us=WINDOW_US)(stream)
        assert out.shape[0] == 1
        background = BACKGROUND.get(name, 0)
        assert (out[0, :, 2, 3] != background).any()
        out[0, :, 2, 3] = background
        assert (out == background).all()

    def test_values_keep_what_the_class_says(self, name):
        representation = create_representation(name, window_us=WINDOW_US, size=(7, 31))
        out = representation(stream_of(), box=(-3, -2, 20, 30))
        assert out.shape == (10, representation.n_channels, 7, 31)
        low, high = representation.value_range
        assert low <= out.min()
        assert out.max() <= high
        if representation.is_whole:
            assert torch.equal(out, out.round())
        offset, scale = representation.offset_scale
        assert scale > 0
        assert np.isfinite(offset)

    def test_windows_are_half_open(self, name):
        """An event on an edge belongs to the window that begins there, and to no other."""
        representation = create_representation(name, window_us=WINDOW_US)
        edge = 3 * WINDOW_US
        times = [0, edge - 1, edge, edge + 1]
        stream = EventStream.from_arrays(times, [1, 2, 3, 4], [1, 2, 3, 4], [1, 0, 1, 0], WIDTH, HEIGHT)
        out = representation(stream, t_start_us=0, t_end_us=5 * WINDOW_US)
        active = (out != BACKGROUND.get(name, 0)).any(1).nonzero().tolist()  # [window, row, column]
        assert {tuple(place) for place in active} <= {(0, 1, 1), (2, 2, 2), (3, 3, 3), (3, 4, 4)}
        assert {place[0] for place in active} == {0, 2, 3}
        cut = representation(stream, t_start_us=0, t_end_us=edge)
        assert torch.equal(cut, out[:3])

    def test_fixed_number_of_steps(self, name):
        whole = create_representation(name, window_us=WINDOW_US)(stream_of())
        for n in (4, 13):
            representation = create_representation(name, window_us=WINDOW_US, n_steps=n)
            out = representation(stream_of())
            assert len(out) == n
            assert representation.count_steps(stream_of()) == min(n, 10)
            assert torch.equal(out[:10], whole[:n])
            assert not out[10:].any()

    def test_time_shift_equivariance(self, name):
        representation = create_representation(name, window_us=WINDOW_US)
        expected = representation(stream_of())
        for shift_us in (13, 2**31 + 5, 1_605_116_853_975_736, -4_000_000_000):
            assert torch.equal(representation(stream_of(start_us=shift_us)), expected)

    def test_shift_by_windows_shifts_the_steps(self, name):
        representation = create_representation(name, window_us=WINDOW_US)
        stream = stream_of()
        out = representation(stream, t_start_us=-2 * WINDOW_US, **origin_of(representation, 0))
        assert torch.equal(out[:2], representation(EMPTY, t_start_us=-2 * WINDOW_US, t_end_us=0))
        assert torch.equal(out[2:], representation(stream))

    def test_crop_then_represent_equals_represent_then_crop(self, name):
        representation = create_representation(name, window_us=WINDOW_US)
        stream, (x, y, w, h) = stream_of(), (4, 3, 11, 9)
        inside = representation(stream, box=(x, y, w, h))
        assert torch.equal(inside, representation(stream)[..., y : y + h, x : x + w])
        if name in DEPEND_ON_THE_WHOLE_SENSOR:
            return
        start, end = stream.t_start_us, stream.t_start_us + stream.duration_us + 1
        assert torch.equal(inside, representation(stream.crop(x, y, w, h), t_start_us=start, t_end_us=end))

    def test_box_outside_the_sensor_holds_no_events(self, name):
        representation = create_representation(name, window_us=WINDOW_US)
        stream = stream_of()
        out = representation(stream, box=(-5, -4, WIDTH + 8, HEIGHT + 7))
        assert torch.equal(out[..., 4 : 4 + HEIGHT, 5 : 5 + WIDTH], representation(stream))
        background = BACKGROUND.get(name, 0)
        assert (out[..., :4, :] == background).all()
        assert (out[..., 5 + WIDTH :] == background).all()
        assert (representation(stream, box=(100, 100, 5, 5)) == background).all()

    def test_polarity_encodings_are_one(self, name):
        representation = create_representation(name, window_us=WINDOW_US)
        rng = np.random.default_rng(0)
        t, x, y, on = (
            np.sort(rng.integers(0, 9000, 200)),
            rng.integers(0, 9, 200),
            rng.integers(0, 9, 200),
            rng.random(200),
        )
        on = on < 0.5
        outs = [
            representation(EventStream.from_arrays(t, x, y, p, WIDTH, HEIGHT))
            for p in (on, on.astype(int), np.where(on, 1, -1), on.astype(float))
        ]
        assert all(torch.equal(outs[0], out) for out in outs[1:])
        flipped = representation(EventStream.from_arrays(t, x, y, ~on, WIDTH, HEIGHT))
        assert torch.equal(outs[0], flipped) == (name in WITHOUT_POLARITY)

    def test_unsorted_input_is_refused(self, name):
        with pytest.raises(EventFileError, match="go backwards"):
            create_representation(name)(EventStream.from_arrays([5, 1], [0, 0], [0, 0], [0, 0], WIDTH, HEIGHT))

    def test_batch_equals_one_by_one(self, name):
        representation = create_representation(name, window_us=WINDOW_US)
        streams = [stream_of(seed=1), EMPTY, stream_of(n=50, span_us=3300, seed=2)]
        out, lengths = representation.batch(streams)
        assert out.shape == (10, 3, representation.n_channels, HEIGHT, WIDTH)
        assert lengths.dtype == torch.int64
        for i, stream in enumerate(streams):
            alone = representation(stream)
            assert lengths[i] == len(alone)
            assert torch.equal(out[: lengths[i], i], alone)
            assert not out[lengths[i] :, i].any()

    def test_batch_with_boxes_and_times(self, name):
        representation = create_representation(name, window_us=WINDOW_US, size=(6, 6))
        streams = [stream_of(seed=1), stream_of(seed=2, width=40, height=30)]
        boxes, starts, ends = [(0, 0, 12, 12), (5, 5, 20, 20)], [100, 200], [5100, 3200]
        out, lengths = representation.batch(streams, t_start_us=starts, t_end_us=ends, boxes=boxes)
        assert lengths.tolist() == [5, 3]
        for i in range(2):
            alone = representation(streams[i], t_start_us=starts[i], t_end_us=ends[i], box=boxes[i])
            assert torch.equal(out[: lengths[i], i], alone)

    def test_errors(self, name):
        representation = create_representation(name, window_us=WINDOW_US)
        with pytest.raises(ShapeError, match=r"fix: set the size, e\.g\. \w+\(size=\(64, 64\)\)"):
            representation.batch([stream_of(), stream_of(width=40)])
        with pytest.raises(SnnferError, match="an empty list of streams"):
            representation.batch([])
        with pytest.raises(SnnferError, match="1 values of box for 2 streams"):
            representation.batch([EMPTY, EMPTY], boxes=[(0, 0, 4, 4)])
        with pytest.raises(SnnferError, match=r"box = \(0, 0, 0, 4\)"):
            representation(EMPTY, box=(0, 0, 0, 4))
        with pytest.raises(SnnferError, match="a time range from 10 us to 5 us"):
            representation(EMPTY, t_start_us=10, t_end_us=5)
        for parameters in ({"window_us": 0}, {"window_us": 1.5}, {"size": (0, 4)}, {"n_steps": 0}):
            with pytest.raises(SnnferError, match=r"expected a whole number of at least 1"):
                create_representation(name, **parameters)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_no_event_is_lost_or_counted_twice(name):
    out = create_representation(name, window_us=WINDOW_US)(stream_of())
    assert out.sum() == 800
    assert out[:, 1].sum() == stream_of().events["p"].sum()


def test_unknown_and_duplicate_names():
    with pytest.raises(ConfigError, match="unknown representation 'count_frame'.*use 'count_frames'"):
        create_representation("count_frame")
    with pytest.raises(ConfigError, match="registered twice"):
        register_representation("count_frames")(lambda: None)  # type: ignore[arg-type, return-value]
