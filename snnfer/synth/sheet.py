"""A picture of a data set: for each clip two frames and the events between onset and offset."""

import csv
import os
from pathlib import Path

import numpy as np

from snnfer.errors import DatasetError

_ON_COLOUR, _OFF_COLOUR = np.array([230, 70, 50]), np.array([50, 90, 220])


def contact_sheet(
    folder: str | os.PathLike[str], *, subject: str | None = None, columns: int = 3, crop: bool = True
) -> np.ndarray:
    """Show each clip as three tiles: the colour frame at onset, the one at the apex, and the events of the movement.

    Args:
        folder: Synthetic data set.
        subject: Show the clips of this subject; None shows the first.
        columns: Clips beside each other.
        crop: Show the face box rather than the whole image.

    Returns:
        RGB image, uint8 [H, W, 3]; ON events red, OFF events blue.

    Raises:
        DatasetError: no manifest, or no clips of that subject.
    """
    manifest = Path(folder) / "manifest.csv"
    if not manifest.is_file():
        raise DatasetError(f"no manifest at '{manifest}'", fix="make a data set with 'snnfer synth --out DIR'")
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = subject or rows[0]["subject"]
    tiles = [_clip_tiles(manifest.parent, row, crop) for row in rows if row["subject"] == wanted]
    if not tiles:
        raise DatasetError(f"no clips of subject '{wanted}' in '{manifest}'")
    height, width = (max(tile.shape[i] for tile in tiles) for i in range(2))
    padded = [np.pad(t, ((0, height - t.shape[0]), (0, width - t.shape[1]), (0, 0))) for t in tiles]
    padded += [np.zeros_like(padded[0])] * (-len(padded) % columns)
    return np.concatenate([np.concatenate(padded[i : i + columns], 1) for i in range(0, len(padded), columns)])


def _clip_tiles(folder: Path, row: dict[str, str], crop: bool) -> np.ndarray:
    from snnfer import events

    stream = events.read_hdf5(folder / row["frames_path"])
    recorded = stream if row["path"] == row["frames_path"] else events.read(folder / row["path"])
    onset, apex, offset = (int(row[name]) for name in ("onset_us", "apex_us", "offset_us"))
    rgb = stream.frames["rgb"]
    frames = [rgb.images[np.searchsorted(rgb.t_us, t).clip(0, len(rgb) - 1)] for t in (onset, apex)]
    image = np.concatenate([*frames, _event_image(recorded.slice_time(onset, offset + 1))], 1)
    if not crop:
        return image
    x, y, w, h = (int(row[name]) for name in ("box_x", "box_y", "box_w", "box_h"))
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, stream.width), min(y + h, stream.height)
    return np.concatenate([image[y0:y1, i * stream.width + x0 : i * stream.width + x1] for i in range(3)], 1)


def _event_image(stream) -> np.ndarray:
    counts = np.zeros((2, stream.height, stream.width))
    np.add.at(counts, (stream.events["p"], stream.events["y"], stream.events["x"]), 1)
    strength = np.clip(counts / 3, 0, 1)[..., None]
    image = 255 - strength[1] * (255 - _ON_COLOUR) - strength[0] * (255 - _OFF_COLOUR)
    return np.clip(image, 0, 255).astype(np.uint8)
