"""Depth frames and RGB with depth, against the stored images."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from snnfer.datasets import ArrayCache, Clip, ClipInput, ClipTensors, ManifestDataset, crop_resize
from snnfer.datasets.frames import frame_images
from snnfer.errors import DatasetError
from snnfer.events import EventStream, FrameStream, write
from snnfer.training.classifier import input_statistics

TIMES = np.arange(10) * 33_000
WINDOW_ENDS = TIMES + 33_000


def recording(*, kinds=("rgb", "depth")):
    """20 x 16 pixels, 330 ms: events, RGB and depth of 300 to 60,000 units."""
    generator = np.random.default_rng(0)
    images = {
        "rgb": generator.integers(0, 256, (10, 16, 20, 3), dtype=np.uint8),
        "depth": generator.integers(300, 60_000, (10, 16, 20), dtype=np.uint16),
    }
    t = np.sort(generator.integers(0, 330_000, 500))
    x, y, p = generator.integers(0, 20, 500), generator.integers(0, 16, 500), generator.integers(0, 2, 500)
    frames = {kind: FrameStream(TIMES, images[kind]) for kind in kinds}
    return EventStream.from_arrays(t, x, y, p, 20, 16, frames=frames)


def test_depth_keeps_the_values_of_the_sensor():
    stream = recording()
    out = frame_images(stream, "depth", WINDOW_ENDS, box=(2, 0, 16, 16), size=(16, 16))
    assert (out.shape, out.dtype) == ((10, 1, 16, 16), torch.float32)
    assert np.array_equal(out[:, 0].numpy(), stream.frames["depth"].images[:, :, 2:18])


def test_depth_is_resized_without_rounding():
    stream = recording()
    raw = torch.from_numpy(stream.frames["depth"].images.astype(np.float64))[:, None]
    out = frame_images(stream, "depth", WINDOW_ENDS, box=None, size=(8, 10))
    torch.testing.assert_close(
        out.double(), functional.interpolate(raw, (8, 10), mode="bilinear", antialias=True), rtol=1e-6, atol=0.01
    )
    assert not torch.equal(out, out.round())
    assert out.max() > 255


def test_rgbd_is_rgb_followed_by_depth():
    stream = recording()
    rgbd, rgb, depth = (
        frame_images(stream, m, WINDOW_ENDS, box=(1, 2, 12, 12), size=(7, 7)) for m in ("rgbd", "rgb", "depth")
    )
    assert rgbd.dtype == torch.float32
    assert torch.equal(rgbd, torch.cat([rgb.float(), depth], dim=1))


def test_padding_and_lengths_of_rgbd_clips(tmp_path):
    tensors = clip_tensors(tmp_path, recording(), ClipInput("rgbd", n_steps=12, size=(8, 8)))
    x, _, length = tensors[0]
    assert (x.shape, x.dtype, length) == ((12, 4, 8, 8), torch.float32, 10)
    assert not x[10:].any()


def test_depth_is_normalised_by_the_statistics_of_the_training_clips(tmp_path):
    stream = recording()
    tensors = clip_tensors(tmp_path, stream, ClipInput("rgbd", n_steps=10, size=(16, 16)))
    mean, std = input_statistics(tensors, [0])
    pixels = np.concatenate(
        [stream.frames["rgb"].images[:, :, 2:18], stream.frames["depth"].images[:, :, 2:18, None]], axis=-1
    ).astype(float)
    assert np.allclose(mean, pixels.mean((0, 1, 2)))
    assert np.allclose(std, pixels.std((0, 1, 2)))


@pytest.mark.parametrize(
    ("kinds", "modality", "message"),
    [
        (("depth",), "rgbd", "the recording has 'depth' frames, but no 'rgb' frames; expected both .*'depth'"),
        (("rgb",), "rgbd", "the recording has 'rgb' frames, but no 'depth' frames; expected both .*'rgb'"),
        ((), "rgbd", "the recording has no 'rgb' frames"),
        (("rgb",), "depth", "the recording has no 'depth' frames"),
        (("depth",), "gray", "the recording has no 'gray' frames"),
    ],
)
def test_missing_frames_are_one_clear_sentence(tmp_path, kinds, modality, message):
    with pytest.raises(DatasetError, match=f"clip 'c0': {message}"):
        clip_tensors(tmp_path, recording(kinds=kinds), ClipInput(modality, n_steps=10, size=(8, 8)))


def test_grey_and_rgb_stay_whole_numbers():
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
    assert crop_resize(images, None, (4, 4)).dtype == torch.uint8


def clip_tensors(folder, stream, input):
    write(folder / "r.h5", stream)
    clips = (Clip("c0", "s", 12, "d", folder / "r.h5", 0, 330_000, (2, 0, 16, 16)),)
    data = ManifestDataset("d", clips, ("AU12",), folder)
    return ClipTensors(data, input, ArrayCache(folder / "cache"), show_progress=False)
