"""Event images against a count by hand."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from snnfer.errors import SnnferError
from snnfer.events import EventStream
from snnfer.faces import event_image


def random_stream(n=4000, width=40, height=30):
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 1000, n))
    return EventStream.from_arrays(
        t, rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n), width, height
    )


def test_equals_signed_counts_with_a_box_blur():
    stream = random_stream()
    counts = np.zeros((30, 40))
    for event in stream.events:
        if 200 <= event["t"] < 700:
            counts[event["y"], event["x"]] += 1 if event["p"] else -1
    smooth = uniform_filter(counts, size=5, mode="constant")
    contrast = np.quantile(np.abs(smooth), 0.995)
    expected = 128 + 127 * np.clip(smooth / contrast, -1, 1)
    image = event_image(stream, t_start_us=200, t_end_us=700)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image, expected, atol=0.51)  # half a gray level of rounding


def test_swapping_polarity_mirrors_the_grays():
    stream = random_stream()
    events = stream.events.copy()
    events["p"] = 1 - events["p"]
    image, mirrored = event_image(stream), event_image(EventStream(events, 40, 30))
    np.testing.assert_allclose(image.astype(int) - 128, 128 - mirrored.astype(int), atol=1)


def test_few_events_still_show():
    stream = EventStream.from_arrays([0], [50], [60], [1], width=200, height=200)
    image = event_image(stream)
    assert image[60, 50] == 255
    assert (image != 128).sum() == 25


def test_no_events_give_middle_gray():
    stream = EventStream.from_arrays([], [], [], [], width=9, height=7)
    assert (event_image(stream) == 128).all()


def test_a_span_that_ends_before_it_starts_is_refused():
    with pytest.raises(SnnferError, match="expected an end after the start"):
        event_image(random_stream(), t_start_us=9, t_end_us=3)
