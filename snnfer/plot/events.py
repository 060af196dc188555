"""A recording as a film or a contact sheet: ON vermilion, OFF blue, the time below."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from snnfer._files import atomic_path
from snnfer._optional import require
from snnfer.errors import SnnferError
from snnfer.events import EventStream
from snnfer.plot._film import check_film, write_film
from snnfer.plot.activity import event_frame_image
from snnfer.representations import CountFrames

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".mp4", ".gif", ".png")
SHEET_FRAMES, SHEET_COLUMNS = 8, 4
WIDE_ENOUGH, LARGEST_SCALE = 640, 8
STRIP_PIXELS, FONT_PIXELS = 24, 16


def save_event_view(
    path: str | os.PathLike[str], stream: EventStream, *, fps: float = 25.0, window_us: int | None = None
) -> int:
    """Render a recording; the suffix decides what is written.

    ``.mp4`` and ``.gif`` show one window of events after the other. ``.png`` is a contact sheet: up to 8 windows,
    evenly spaced over the recording. Small sensors are enlarged, on a sheet large ones reduced, by a whole factor.

    Args:
        path: The picture or film to write; it appears whole or not at all.
        stream: The events.
        fps: Pictures per second of the film; a .gif needs 100 / fps to be a whole number.
        window_us: Events shown in one picture, in microseconds; default 1 / fps, which plays in real time.

    Returns:
        The number of pictures.

    Raises:
        SnnferError: unknown suffix, no events, or an fps or window out of range.

    Examples:
        >>> import tempfile
        >>> stream = EventStream.from_arrays(t=[0, 50_000], x=[1, 2], y=[0, 1], p=[1, 0], width=4, height=2)
        >>> save_event_view(Path(tempfile.mkdtemp()) / "clip.png", stream)
        2
    """
    suffix = check_view(path, fps)
    window_us = round(1e6 / fps) if window_us is None else window_us
    if window_us < 1:
        raise SnnferError(f"a window of {window_us} us", expected="at least 1 us")
    if not len(stream):
        raise SnnferError("a recording without events", expected="something to show", cause="an empty time range")
    n_windows = stream.duration_us // window_us + 1
    shown = np.arange(n_windows)
    if suffix == ".png":
        n_shown = min(n_windows, SHEET_FRAMES)
        shown = ((np.arange(n_shown) + 0.5) * n_windows / n_shown).astype(int)
    pictures = _render(stream, window_us, shown, is_sheet=suffix == ".png")
    with atomic_path(path) as temporary:
        (_write_sheet if suffix == ".png" else write_film)(temporary, pictures, fps)
    return len(shown)


def check_view(path: str | os.PathLike[str], fps: float) -> str:
    """The suffix, if it and the speed are possible; `SnnferError` otherwise."""
    return check_film(path, fps, suffixes=SUFFIXES)


def _render(stream: EventStream, window_us: int, shown: np.ndarray, *, is_sheet: bool) -> "Iterator[Image]":
    """Pictures of the windows `shown`, each counted on its own so that long recordings need little memory."""
    image, draw, font = (require(f"PIL.{name}", extra="data") for name in ("Image", "ImageDraw", "ImageFont"))
    wide_enough = WIDE_ENOUGH // 2 if is_sheet else WIDE_ENOUGH
    scale = int(np.clip(wide_enough // stream.width, 1, LARGEST_SCALE))
    reduction = max(1, stream.width // wide_enough) if is_sheet else 1
    size = (max(1, stream.height // reduction), max(1, stream.width // reduction))
    frames = CountFrames(window_us, n_steps=1, size=size)
    full_count = _typical_count(stream, window_us, frames)
    text_font = font.load_default(size=FONT_PIXELS)
    for k in shown:
        start_us = stream.t_start_us + int(k) * window_us
        counts = frames(stream.slice_time(start_us, start_us + window_us), t_start_us=start_us)[0].numpy()
        pixels = event_frame_image(counts, full_count=full_count).repeat(scale, axis=0).repeat(scale, axis=1)
        height, width = pixels.shape[:2]
        picture = image.new("RGB", (width + width % 2, height + STRIP_PIXELS + height % 2), "white")
        picture.paste(image.fromarray(pixels), (0, 0))
        pen = draw.Draw(picture)
        pen.line([(0, height), (width, height)], fill="#bbbbbb")
        digits = 3 if window_us >= 1000 else 6
        pen.text((6, height + 2), f"{(start_us - stream.t_start_us) / 1e6:.{digits}f} s", fill="black", font=text_font)
        yield picture


def _typical_count(stream: EventStream, window_us: int, frames: CountFrames) -> float:
    """Count that gets the full colour: the 95th percentile of active pixels in some windows of the recording."""
    starts = np.linspace(0, stream.duration_us // window_us, 9).astype(int)[1::2] * window_us + stream.t_start_us
    counts = [frames(stream.slice_time(t, t + window_us), t_start_us=t).numpy() for t in starts.tolist()]
    active = np.concatenate([count[count > 0] for count in counts])
    return float(np.quantile(active, 0.95)) if active.size else 1.0


def _write_sheet(path: Path, pictures: "Iterator[Image]", fps: float) -> None:
    image = require("PIL.Image", extra="data")
    tiles = list(pictures)
    width, height = tiles[0].size
    columns = min(SHEET_COLUMNS, len(tiles))
    gap = 6
    size = (columns * (width + gap) + gap, -(-len(tiles) // columns) * (height + gap) + gap)
    sheet = image.new("RGB", size, "#dddddd")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (gap + i % columns * (width + gap), gap + i // columns * (height + gap)))
    sheet.save(path, "PNG")
