"""Pictures of representations: which colour stands for what."""

import numpy as np
import pytest

from snnfer.events import EventStream
from snnfer.plot.activity import OFF_COLOUR, ON_COLOUR
from snnfer.plot.representations import representation_image, typical_value
from snnfer.representations import EST, REPRESENTATIONS, CountFrames, create_representation

STREAM = EventStream.from_arrays([0, 900, 1000], [1, 2, 3], [0, 1, 2], [0, 1, 0], 5, 4)


@pytest.mark.parametrize("name", ["count_frames", "binary_frames", "est", "ssr_histogram", "ssr_event_queue"])
def test_colours_of_polarities(name):
    representation = create_representation(name, window_us=2000)
    frame = representation(STREAM)[0].numpy()
    image = representation_image(frame, representation, full_value=typical_value([frame], representation) / 4)
    assert image.shape == (4, 5, 3)
    assert image.dtype == np.uint8
    assert (image[3] == 255).all()  # no events: white
    assert tuple(image[1, 2]) == ON_COLOUR
    assert np.abs(image[2, 3] - np.array(OFF_COLOUR)).max() <= 1


def test_grey_and_rgb():
    tie, grey = create_representation("tie"), create_representation("polarity_image")
    frame = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    np.testing.assert_array_equal(representation_image(frame, tie, full_value=1), np.moveaxis(frame, 0, -1))
    image = representation_image(grey(STREAM)[0].numpy(), grey, full_value=1)
    assert [image[0, 0].tolist(), image[0, 1].tolist(), image[1, 2].tolist()] == [[127] * 3, [0] * 3, [255] * 3]


@pytest.mark.parametrize("name", sorted(REPRESENTATIONS))
def test_empty_window(name):
    representation = create_representation(name)
    frame = representation(STREAM, t_start_us=5000, t_end_us=6000)[0].numpy()
    image = representation_image(frame, representation, full_value=typical_value([frame], representation))
    assert len(np.unique(image)) == 1


def test_typical_value_is_the_95th_percentile_of_active_pixels():
    frames = [np.zeros((2, 10, 10)), np.arange(200.0).reshape(2, 10, 10)]
    assert typical_value(frames, CountFrames()) == pytest.approx(np.quantile(np.arange(1, 200), 0.95))
    assert typical_value(frames[:1], CountFrames()) == 1
    bins = np.ones((18, 2, 2)) * np.repeat([1, 3], 9)[:, None, None]
    assert typical_value([bins], EST()) == 3
