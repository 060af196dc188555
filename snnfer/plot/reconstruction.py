"""Faces reconstructed from events, to look at: a sheet of examples, and a film with the predicted expression."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from snnfer._files import atomic_path
from snnfer._optional import require
from snnfer.errors import ShapeError, SnnferError
from snnfer.plot._film import check_film, write_film

if TYPE_CHECKING:
    from PIL.Image import Image

FilmStep: TypeAlias = tuple[int, Any, Any, Sequence[tuple[str, float]]]
"""Time in microseconds, picture of the events, reconstruction or None, best classes with scores in [0, 1]."""

HEADINGS = ("events", "reconstruction", "ground truth")
TILE_PIXELS, PANEL_PIXELS, GAP = 160, 360, 6
FONT_PIXELS, LINE_PIXELS = 14, 20
BAR_COLOUR, REST_COLOUR, TEXT_COLOUR, PAGE_COLOUR = "#0072B2", "#cccccc", "black", "#eeeeee"


def save_reconstruction_sheet(
    path: str | os.PathLike[str],
    rows: Sequence[tuple[str, Sequence[Any]]],
    *,
    headings: Sequence[str] = HEADINGS,
) -> None:
    """Write examples as a picture: one row each, with the events, one reconstruction or more, and the true frame.

    Args:
        path: The ``.png`` to write; it appears whole or not at all.
        rows: Label (subject, clip, time; may have several lines) and images of each example, one per column. An image
            is ``[H, W]``, ``[H, W, 1]`` or ``[H, W, 3]``, uint8 or floating point in [0, 1], an array or tensor; all
            images have the same height and width.
        headings: Heading of each column.

    Raises:
        ShapeError: images of other shapes, or of different sizes.
        SnnferError: no rows, a row with another number of images than headings, values out of range, or a path that
            does not end in .png.

    Examples:
        >>> image = np.random.default_rng(0).random((32, 32))
        >>> save_reconstruction_sheet("sheet.png", [("anna, 0.40 s", [image, image, image])])
    """
    if not str(path).lower().endswith(".png"):
        raise SnnferError(f"'{path}' names no picture", expected="a suffix of .png")
    if not rows:
        raise SnnferError("a sheet without examples", expected="at least one row")
    for label, images in rows:
        if len(images) != len(headings):
            raise SnnferError(f"{len(images)} images in row '{label}'", expected=f"one for each of {list(headings)}")
    pixels = [[to_pixels(image) for image in images] for _, images in rows]
    sizes = {image.shape[:2] for row in pixels for image in row}
    if len(sizes) > 1:
        raise ShapeError(f"images of sizes {sorted(sizes)}", expected="one size on a sheet", fix="resize them before")
    sheet = _draw_sheet([label for label, _ in rows], pixels, headings)
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def save_reconstruction_film(
    path: str | os.PathLike[str], steps: Iterable[FilmStep], *, fps: float, n_scores: int = 3
) -> int:
    """Write a film: the events on the left, the reconstructed face on the right, the predicted expression below.

    Steps are drawn and written one after the other, so that a recording of any length needs little memory.

    Args:
        path: The ``.mp4`` or ``.gif`` to write; it appears whole or not at all.
        steps: For each picture its time in microseconds, the picture of the events ``[H, W, 3]``, the reconstruction
            ``[H, W]`` or ``[H, W, 3]`` of the same height and width, and the best classes with scores in [0, 1], best
            first. The reconstruction None stands for a time without events: its half is black and says so.
        fps: Pictures per second; a .gif needs 100 / fps to be a whole number.
        n_scores: Classes shown as bars, 0 for a network that only reconstructs.

    Returns:
        The number of pictures.

    Raises:
        ShapeError: images of other shapes, or of different sizes.
        SnnferError: an unknown suffix, an impossible fps, no steps, or values out of range.

    Examples:
        >>> image = np.random.default_rng(0).random((32, 32, 3))
        >>> scores = [("happiness", 0.8), ("surprise", 0.1)]
        >>> save_reconstruction_film("face.mp4", [(33_333 * i, image, image, scores) for i in range(3)], fps=30)
        3
    """
    check_film(path, fps)
    with atomic_path(path) as temporary:
        return write_film(temporary, _draw_steps(steps, n_scores), fps)


def to_pixels(image: Any) -> np.ndarray:
    """An image as uint8 ``[H, W, 3]``; `save_reconstruction_sheet` says what it may be."""
    values = np.asarray(image)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or not values.size:
        raise ShapeError(
            f"an image of shape {list(np.shape(image))}",
            expected="[H, W], [H, W, 1] or [H, W, 3]",
            cause="channels in front" if values.ndim == 3 and values.shape[0] in (1, 3) else "",
            fix="image.movedim(0, -1)" if values.ndim == 3 and values.shape[0] in (1, 3) else "",
        )
    if values.dtype != np.uint8:
        if not (values.min() >= 0 and values.max() <= 1):  # NaN too
            raise SnnferError(
                f"an image with values from {values.min():.3g} to {values.max():.3g}",
                expected="[0, 1], or uint8",
                cause="a network's own range of [-1, 1], or pixels from 0 to 255 as floating point",
                fix="use model.reconstruct(x), or divide by 255",
            )
        values = np.round(255 * values.astype(np.float64)).astype(np.uint8)
    return np.broadcast_to(values, (*values.shape[:2], 3))


def _draw_sheet(labels: Sequence[str], rows: list[list[np.ndarray]], headings: Sequence[str]) -> "Image":
    image, draw, font = _pillow()
    scale = _scale(rows[0][0], TILE_PIXELS)
    height, width = (scale * length for length in rows[0][0].shape[:2])
    measure = draw.Draw(image.new("RGB", (1, 1)))
    label_width = max(int(measure.multiline_textbbox((0, 0), label, font=font)[2]) for label in labels) + 2 * GAP
    column = max([width, *(int(font.getlength(heading)) + 1 for heading in headings)]) + GAP
    size = (label_width + len(headings) * column, LINE_PIXELS + GAP + len(rows) * (height + GAP))
    sheet = image.new("RGB", size, PAGE_COLOUR)
    pen = draw.Draw(sheet)
    for j, heading in enumerate(headings):
        pen.text((label_width + j * column, GAP // 2), heading, fill=TEXT_COLOUR, font=font)
    for i, (label, row) in enumerate(zip(labels, rows, strict=True)):
        top = LINE_PIXELS + GAP + i * (height + GAP)
        pen.multiline_text((GAP, top), label, fill=TEXT_COLOUR, font=font)
        for j, pixels in enumerate(row):
            sheet.paste(image.fromarray(_enlarge(pixels, scale)), (label_width + j * column, top))
    return sheet


def _draw_steps(steps: Iterable[FilmStep], n_scores: int) -> "Iterator[Image]":
    image, draw, font = _pillow()
    size = None
    for t_us, events, reconstruction, scores in steps:
        left = to_pixels(events)
        right = np.zeros_like(left) if reconstruction is None else to_pixels(reconstruction)
        size = left.shape if size is None else size
        if not left.shape == right.shape == size:
            shown = [list(part[:2]) for part in (size, left.shape, right.shape)]
            raise ShapeError(
                f"events of {shown[1]} and a reconstruction of {shown[2]} pixels in a film of {shown[0]}",
                expected="one size in a film",
            )
        scale = _scale(left, PANEL_PIXELS)
        height, width = scale * size[0], scale * size[1]
        strip = LINE_PIXELS * (1 + n_scores) + GAP
        picture = image.new("RGB", (2 * width, _even(LINE_PIXELS + height + strip)), PAGE_COLOUR)
        for column, heading, pixels in ((0, "events", left), (width, "reconstruction", right)):
            picture.paste(image.fromarray(_enlarge(pixels, scale)), (column, LINE_PIXELS))
            draw.Draw(picture).text((column + GAP, 1), heading, fill=TEXT_COLOUR, font=font)
        pen = draw.Draw(picture)
        if reconstruction is None:
            pen.text((width + width // 2, LINE_PIXELS + height // 2), "no events", fill="white", font=font, anchor="mm")
        _draw_strip(pen, font, LINE_PIXELS + height + GAP // 2, 2 * width, t_us, list(scores)[:n_scores])
        yield picture


def _draw_strip(pen: Any, font: Any, top: int, width: int, t_us: int, scores: list[tuple[str, float]]) -> None:
    """Time and best class on one line, then one bar per class."""
    best = f"   {scores[0][0]} {scores[0][1]:.2f}" if scores else ""
    pen.text((GAP, top), f"{t_us / 1e6:.3f} s{best}", fill=TEXT_COLOUR, font=font)
    bar_left, bar_right = width * 2 // 5, width - 50
    for i, (name, score) in enumerate(scores):
        y = top + LINE_PIXELS * (i + 1)
        pen.text((GAP, y), _fit(name, font, bar_left - 2 * GAP), fill=TEXT_COLOUR, font=font)
        pen.rectangle((bar_left, y + 3, bar_right, y + LINE_PIXELS - 5), fill=REST_COLOUR)
        filled = bar_left + round(float(np.clip(score, 0, 1)) * (bar_right - bar_left))
        if filled > bar_left:
            pen.rectangle((bar_left, y + 3, filled, y + LINE_PIXELS - 5), fill=BAR_COLOUR)
        pen.text((bar_right + GAP, y), f"{score:.2f}", fill=TEXT_COLOUR, font=font)


def _fit(text: str, font: Any, width: int) -> str:
    """`text`, cut where it would be wider than `width`."""
    while font.getlength(text) > width and len(text) > 1:
        text = text[:-2] + "."
    return text


def _pillow() -> tuple[Any, Any, Any]:
    """PIL's Image and ImageDraw, and the font of all text."""
    image, draw, font = (require(f"PIL.{name}", extra="data") for name in ("Image", "ImageDraw", "ImageFont"))
    return image, draw, font.load_default(size=FONT_PIXELS)


def _scale(pixels: np.ndarray, wanted: int) -> int:
    """Whole factor by which small images are enlarged."""
    return max(1, wanted // max(pixels.shape[:2]))


def _enlarge(pixels: np.ndarray, scale: int) -> np.ndarray:
    return np.ascontiguousarray(pixels.repeat(scale, axis=0).repeat(scale, axis=1))


def _even(length: int) -> int:
    return length + length % 2
