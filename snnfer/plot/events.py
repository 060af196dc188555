"""A recording as a film or a contact sheet: one picture per window, the time below."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snnfer._files import atomic_path
from snnfer._optional import require
from snnfer.errors import SnnferError
from snnfer.events import EventStream
from snnfer.plot._film import check_film, write_film
from snnfer.plot.representations import representation_image, typical_value
from snnfer.representations import CountFrames, Representation

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".mp4", ".gif", ".png")
SHEET_FRAMES, SHEET_COLUMNS = 8, 4
WIDE_ENOUGH, LARGEST_SCALE = 640, 8
STRIP_PIXELS, FONT_PIXELS = 24, 16


def save_event_view(
    path: str | os.PathLike[str],
    stream: EventStream,
    *,
    fps: float = 25.0,
    window_us: int | None = None,
    representation: Representation | None = None,
    t_origin_us: int | None = None,
) -> int:
    """Render a recording; the suffix decides what is written.

    ``.mp4`` and ``.gif`` show one window of events after the other. ``.png`` is a contact sheet: up to 8 windows,
    evenly spaced over the recording. Small sensors are enlarged, on a sheet large ones reduced, by a whole factor.

    Args:
        path: The picture or film to write; it appears whole or not at all.
        stream: The events.
        fps: Pictures per second of the film; a .gif needs 100 / fps to be a whole number.
        window_us: Events shown in one picture, in microseconds; default 1 / fps, which plays in real time.
        representation: What the pictures show, with a window of its own; default: counts of ON events in vermilion and
            of OFF events in blue. `representation_image` says how others look.
        t_origin_us: When the recording began, for representations that depend on it; default: the first event.

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
    if representation is None:
        representation = counts_in(round(1e6 / fps) if window_us is None else window_us)
    window_us = representation.window_us
    if not len(stream):
        raise SnnferError("a recording without events", expected="something to show", cause="an empty time range")
    n_windows = stream.duration_us // window_us + 1
    shown = np.arange(n_windows)
    if suffix == ".png":
        n_shown = min(n_windows, SHEET_FRAMES)
        shown = ((np.arange(n_shown) + 0.5) * n_windows / n_shown).astype(int)
    origin = {"t_origin_us": stream.t_start_us if t_origin_us is None else t_origin_us}
    windows = _Windows(stream, representation, origin if representation.needs_origin else {})
    pictures = _render(windows, shown, is_sheet=suffix == ".png")
    with atomic_path(path) as temporary:
        (_write_sheet if suffix == ".png" else write_film)(temporary, pictures, fps)
    return len(shown)


def check_view(path: str | os.PathLike[str], fps: float) -> str:
    """The suffix, if it and the speed are possible; `SnnferError` otherwise."""
    return check_film(path, fps, suffixes=SUFFIXES)


def counts_in(window_us: int) -> CountFrames:
    """The default picture; `SnnferError` for a window below 1 us."""
    if window_us < 1:
        raise SnnferError(f"a window of {window_us} us", expected="at least 1 us")
    return CountFrames(window_us)


class _Windows:
    """Windows of a recording, each drawn on its own so that long recordings need little memory."""

    def __init__(self, stream: EventStream, representation: Representation, options: dict[str, Any]) -> None:
        self.stream = stream
        self.representation = replace(representation, n_steps=1)
        self.options = options

    @property
    def width(self) -> int:
        """Width of a picture."""
        return self.representation.size[1] if self.representation.size else self.stream.width

    def reduce(self, factor: int) -> None:
        """Draw smaller by a whole factor, unless the representation has a size of its own."""
        if factor > 1 and self.representation.size is None:
            size = max(1, self.stream.height // factor), max(1, self.stream.width // factor)
            self.representation = replace(self.representation, size=size)

    def start_s(self, k: int) -> float:
        """Start of window k in seconds after the first event."""
        return k * self.representation.window_us / 1e6

    def draw(self, k: int) -> np.ndarray:
        """Window k, ``[C, H, W]``."""
        start_us = self.stream.t_start_us + k * self.representation.window_us
        end_us = start_us + self.representation.window_us
        part = self.stream.slice_time(start_us, end_us)
        return self.representation(part, t_start_us=start_us, t_end_us=end_us, **self.options)[0].numpy()

    def full_value(self) -> float:
        """Value that gets the full colour, from some windows of the recording."""
        last = self.stream.duration_us // self.representation.window_us
        some = np.linspace(0, last, 9).astype(int)[1::2].tolist()
        return typical_value((self.draw(k) for k in some), self.representation)


def _render(windows: _Windows, shown: np.ndarray, *, is_sheet: bool) -> "Iterator[Image]":
    image, draw, font = (require(f"PIL.{name}", extra="data") for name in ("Image", "ImageDraw", "ImageFont"))
    wide_enough = WIDE_ENOUGH // 2 if is_sheet else WIDE_ENOUGH
    scale = int(np.clip(wide_enough // windows.width, 1, LARGEST_SCALE))
    if is_sheet:
        windows.reduce(windows.width // wide_enough)
    full_value = windows.full_value()
    text_font = font.load_default(size=FONT_PIXELS)
    digits = 3 if windows.representation.window_us >= 1000 else 6
    for k in shown.tolist():
        pixels = representation_image(windows.draw(k), windows.representation, full_value=full_value)
        pixels = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
        height, width = pixels.shape[:2]
        picture = image.new("RGB", (width + width % 2, height + STRIP_PIXELS + height % 2), "white")
        picture.paste(image.fromarray(pixels), (0, 0))
        pen = draw.Draw(picture)
        pen.line([(0, height), (width, height)], fill="#bbbbbb")
        pen.text((6, height + 2), f"{windows.start_s(k):.{digits}f} s", fill="black", font=text_font)
        yield picture


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
