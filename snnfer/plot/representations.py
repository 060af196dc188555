"""Representations of events as pictures, each in the way that suits its channels."""

from collections.abc import Iterable

import numpy as np

from snnfer.plot.activity import event_frame_image
from snnfer.representations import EST, Representation, SSREventQueue

FADE = 0.8  # how much paler than the newest the oldest event of a queue is


def representation_image(frame: np.ndarray, representation: Representation, *, full_value: float) -> np.ndarray:
    """One step of a representation as a picture.

    Three channels are red, green and blue; one channel is grey. Two channels are OFF and ON events, blue and vermilion
    on white. Of an EST the mean over the bins of each polarity is shown in these colours; of an event queue the newest
    event of each pixel, paler with age. Other channels are averaged to grey.

    Args:
        frame: One step ``[C, H, W]``.
        representation: What made it.
        full_value: Value that gets the full colour where the representation has no bound; see `typical_value`.

    Returns:
        ``[H, W, 3]``, uint8.

    Examples:
        >>> from snnfer.representations import TIE
        >>> frame = np.zeros((3, 4, 5), np.float32)
        >>> frame[0] = 255
        >>> representation_image(frame, TIE(), full_value=1.0)[0, 0].tolist()
        [255, 0, 0]
    """
    pair = _polarities(frame, representation)
    if pair is not None:
        return event_frame_image(pair, full_count=full_value)
    channels = frame if len(frame) == 3 else frame.mean(axis=0, keepdims=True)
    low, high = representation.value_range
    low, high = (low, high) if np.isfinite([low, high]).all() else (0.0, full_value)
    levels = np.clip((channels - low) / max(high - low, 1e-9), 0, 1)
    image = np.broadcast_to(np.moveaxis(levels, 0, -1), (*frame.shape[1:], 3))
    return np.round(255 * image).astype(np.uint8)


def typical_value(frames: Iterable[np.ndarray], representation: Representation) -> float:
    """The 95th percentile of what is above 0 in some steps ``[C, H, W]``: the value that gets the full colour."""
    shown = [frame if (pair := _polarities(frame, representation)) is None else pair for frame in frames]
    active = np.concatenate([values[values > 0] for values in shown])
    return float(np.quantile(active, 0.95)) if active.size else 1.0


def _polarities(frame: np.ndarray, representation: Representation) -> np.ndarray | None:
    """Strengths of OFF and ON events ``[2, H, W]``; None where the channels are something else."""
    if isinstance(representation, EST):
        return frame.reshape(2, representation.n_bins, *frame.shape[1:]).mean(axis=1).clip(min=0)
    if isinstance(representation, SSREventQueue):
        age, polarity = frame[:2]
        return np.stack([polarity < 0, polarity > 0]) * (1 - FADE * age)
    return frame if len(frame) == 2 else None
