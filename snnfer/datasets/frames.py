"""Frames of a recording as images: which one is on show at a time, cropped and resized."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from snnfer.datasets.manifest import Box
from snnfer.errors import DatasetError
from snnfer.events import EventStream, FrameStream

PARTS = {"rgb": ("rgb",), "gray": ("gray",), "depth": ("depth",), "rgbd": ("rgb", "depth")}
"""Frames that each modality is made of, in the order of its channels."""


def frame_images(
    stream: EventStream,
    modality: str,
    t_us: np.ndarray,
    *,
    box: Box | None,
    size: tuple[int, int],
    max_age_us: int | None = None,
) -> torch.Tensor:
    """Frames of a modality at the given times, cropped and resized ``[F, C, *size]``.

    Args:
        stream: A recording with frames.
        modality: ``rgb``, ``gray``, ``depth`` or ``rgbd`` (R, G, B and depth in this order).
        t_us: Times in microseconds.
        box: Face box in sensor pixels; None takes the whole frame.
        size: Height and width of the result.
        max_age_us: Largest distance of a time and its frame.

    Returns:
        uint8 of 0 to 255 for ``rgb`` and ``gray``; float32 for ``depth``, in the unit of the sensor, and for ``rgbd``.

    Raises:
        DatasetError: the recording lacks frames of the modality, or has none near one of the times.
    """
    _check_complete(stream, modality)
    parts = []
    for name in PARTS[modality]:
        images = frames_at(stream, name, t_us, max_age_us=max_age_us)
        parts.append(crop_resize(images, box_in_frames(box, stream, images.shape[1:3]), size))
    return torch.cat([part.float() for part in parts], dim=1) if len(parts) > 1 else parts[0]  # [F, C, H, W]


def frames_at(stream: EventStream, name: str, t_us: np.ndarray, *, max_age_us: int | None = None) -> np.ndarray:
    """The frame on show at each time: the last one that began before it (the first one, before any began).

    Args:
        stream: A recording with frames.
        name: ``rgb``, ``gray`` or ``depth``; ``gray`` is made from ``rgb`` where only that was recorded.
        t_us: Times in microseconds.
        max_age_us: Largest distance of a time and its frame.

    Returns:
        ``[F, H, W, C]``: uint8, or what the sensor gave for depth (uint16).

    Raises:
        DatasetError: the recording has no such frames, or none near one of the times.
    """
    frames = _find_frames(stream, name)
    index = np.clip(np.searchsorted(frames.t_us, t_us, side="left") - 1, 0, len(frames.t_us) - 1)
    distance = np.abs(frames.t_us[index] - t_us)
    if max_age_us is not None and distance.max(initial=0) > max_age_us:
        worst = int(distance.argmax())
        raise DatasetError(
            f"the '{name}' frame nearest to {int(t_us[worst])} us is {distance[worst] / 1e3:.0f} ms away",
            expected=f"a frame within {max_age_us / 1e3:.0f} ms of every window of events",
            cause="frames and events that do not belong together, two clocks, or dropped frames",
            fix="cut the clip to the time that both cover, or put frames and events on one clock",
        )
    images = frames.images[index]
    if images.ndim == 3:
        images = images[..., None]
    if name == "gray" and images.shape[-1] == 3:
        images = np.round(images @ np.array([0.299, 0.587, 0.114]))[..., None].astype(np.uint8)
    return images


def box_in_frames(box: Box | None, stream: EventStream, frame_size: Sequence[int]) -> Box | None:
    """A box of sensor pixels in pixels of frames that show the same field of view.

    Raises:
        DatasetError: the frames have another aspect ratio than the sensor, so that they cannot show the same.
    """
    height, width = frame_size
    if (height, width) == (stream.height, stream.width):
        return box
    scale = width / stream.width
    if abs(scale * stream.height - height) > 0.02 * height:
        raise DatasetError(
            f"frames of {width} x {height} pixels beside a sensor of {stream.width} x {stream.height}",
            expected="frames that show what the sensor sees, in the same aspect ratio",
            cause="another camera, or a crop",
            fix="register the frames to the sensor first",
        )
    return None if box is None else tuple(round(v * scale) for v in box)  # type: ignore[return-value]


def crop_resize(images: np.ndarray, box: Box | None, size: tuple[int, int]) -> torch.Tensor:
    """Crop images ``[F, H, W, C]`` to `box` (zeros outside the image) and resize them: ``[F, C, *size]``.

    Bilinear with anti-aliasing. uint8 is rounded to uint8; uint16, which holds depth, becomes float32, not rounded.
    """
    x = torch.from_numpy(np.ascontiguousarray(images).astype(np.float32)).permute(0, 3, 1, 2)  # [F, C, H, W]
    if box is not None:
        left, top, width, height = box
        x = functional.pad(x, (-left, left + width - x.shape[3], -top, top + height - x.shape[2]))
    x = functional.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)
    return x.round_().clamp_(0, 255).to(torch.uint8) if images.dtype == np.uint8 else x


def _check_complete(stream: EventStream, modality: str) -> None:
    """Raise `DatasetError` if a recording has some but not all of the frames that a modality is made of."""
    parts = PARTS[modality]
    lacking = [name for name in parts if name not in stream.frames]
    if lacking and len(lacking) < len(parts):
        (given,) = (name for name in parts if name not in lacking)
        raise DatasetError(
            f"the recording has '{given}' frames, but no '{lacking[0]}' frames",
            expected=f"both of them for the modality '{modality}'",
            cause="they were saved in another file, or that camera was off",
            fix=f"put both into the file of frames_path, or use the modality '{given}'",
        )


def _find_frames(stream: EventStream, name: str) -> FrameStream:
    found = [c for c in ((name, "rgb") if name == "gray" else (name,)) if c in stream.frames]
    for candidate in found:
        if len(stream.frames[candidate]):
            return stream.frames[candidate]
    if found:
        raise DatasetError(
            f"no '{found[0]}' frame lies between the start and the end of the clip",
            expected="frames on the clock of the events, in microseconds",
            cause="two clocks, another unit of time, or a recording of frames that stopped",
            fix="correct t_us of the frames, or t_start_us and t_end_us in the manifest",
        )
    raise DatasetError(
        f"the recording has no '{name}' frames",
        expected="frames recorded beside the events",
        fix="add a frames_path column to the manifest, or use the modality 'events'",
    )
