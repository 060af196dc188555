"""Films from pictures that come one after the other; no more than one is held in memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnfer._optional import require
from snnfer.errors import SnnferError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".mp4", ".gif")
GIF_TICK_S = 0.01  # the format counts time in hundredths of a second


def check_film(path: str | os.PathLike[str], fps: float, *, suffixes: Sequence[str] = SUFFIXES) -> str:
    """The suffix, if it and the speed are possible; `SnnferError` otherwise."""
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        kind = "no film" if ".png" not in suffixes else "no picture or film"
        raise SnnferError(f"'{path}' names {kind}", expected="a suffix of " + " ".join(suffixes))
    if not 0 < fps <= 1000:
        raise SnnferError(f"fps = {fps:g}", expected="a value above 0 and at most 1000")
    ticks = 1 / (fps * GIF_TICK_S)
    if suffix == ".gif" and (ticks < 2 or abs(ticks - round(ticks)) > 1e-6):
        raise SnnferError(
            f"fps = {fps:g} for a .gif",
            expected="100 divided by a whole number, at most 50",
            cause="the format counts time in hundredths of a second",
            fix="use 10, 20, 25 or 50, or write .mp4",
        )
    return suffix


def write_film(path: Path, pictures: "Iterable[Image]", fps: float) -> int:
    """Write RGB pictures of one even size as ``.mp4`` (H.264) or ``.gif`` (a palette per picture); returns how many."""
    av = require("av", extra="data")
    is_gif = path.suffix.lower() == ".gif"
    rate = Fraction(fps).limit_denominator(1001)
    n_pictures, convert = 0, None
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif" if is_gif else "libx264", rate=rate)
        stream.pix_fmt = "pal8" if is_gif else "yuv420p"
        stream.options = {} if is_gif else {"crf": "18"}
        for picture in pictures:
            if convert is None:
                stream.width, stream.height = picture.size
                convert = _Palette(av, picture.size, rate) if is_gif else _unchanged
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = n_pictures, 1 / rate
            for converted in convert(frame):
                container.mux(stream.encode(converted))
            n_pictures += 1
        if convert is None:
            raise SnnferError("a film without pictures", expected="at least one")
        container.mux(stream.encode())
    return n_pictures


def _unchanged(frame: Any) -> Iterator[Any]:
    yield frame


class _Palette:
    """Gives each RGB frame the 256 colours that suit it best."""

    def __init__(self, av: Any, size: tuple[int, int], rate: Fraction) -> None:
        self.errors = (av.error.BlockingIOError, av.error.EOFError)
        self.time_base = 1 / rate
        self.graph = av.filter.Graph()
        source = self.graph.add_buffer(width=size[0], height=size[1], format="rgb24", time_base=self.time_base)
        split = self.graph.add("split")
        colours = self.graph.add("palettegen", "stats_mode=single")
        apply = self.graph.add("paletteuse", "new=1:dither=none")
        sink = self.graph.add("buffersink")
        source.link_to(split)
        split.link_to(apply, 0, 0)
        split.link_to(colours, 1, 0)
        colours.link_to(apply, 0, 1)
        apply.link_to(sink)
        self.graph.configure()

    def __call__(self, frame: Any) -> Iterator[Any]:
        self.graph.push(frame)
        while True:
            try:
                converted = self.graph.pull()
            except self.errors:
                return
            converted.time_base = self.time_base
            yield converted
