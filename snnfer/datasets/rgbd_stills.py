"""Data sets of still images with depth (BU3DFE, CalD3r and MenD3s) as manifests, one clip per image."""

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from snnfer._check import check_choice
from snnfer._files import atomic_path
from snnfer._optional import require
from snnfer._progress import progress
from snnfer.errors import DatasetError
from snnfer.events import EventStream, FrameStream, write

BU3DFE_NAME = re.compile(r"(?P<subject>[FM]\d{4})_(?P<expression>[A-Z]{2})(?P<level>\d{2})[A-Z]{2}_F2D\.bmp$")
BU3DFE_EXPRESSIONS = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
CALD3R_NAME = re.compile(r"(?P<subject>[^_]+_[^_]+)_(?P<code>.+)_Color\.png$")
EXPOSURE_US = 33_000  # length of the clip that a still image becomes
COLUMNS = ("clip", "subject", "expression", "sensor", "path", "t_start_us", "t_end_us")


@dataclass(frozen=True)
class Still:
    """One labelled face.

    Attributes:
        name: Unique in its data set.
        subject: Who is seen.
        expression: Name of the expression.
        rgb: Image file, 8 bits per channel.
        depth: Depth map, a 16 bit image of the same view.
    """

    name: str
    subject: str
    expression: str
    rgb: Path
    depth: Path


def find_bu3dfe(folder: str | os.PathLike[str], *, selection: Literal["six", "seven"] = "seven") -> list[Still]:
    """The images of BU3DFE in a folder and those below, with depth maps rendered from its meshes.

    Files are named ``F0001_AN01WH_F2D.bmp``; beside each lies ``F0001_AN01WH_F3D_depth.png`` of 16 bits, the depth
    buffer of a rendering of the mesh.

    Args:
        folder: Where they lie.
        selection: ``seven`` takes all of them. ``six`` leaves out the neutral faces and the two lower intensities, and
            takes 60 of 100 subjects: those that the public code of Raimondo et al. draws.

    Raises:
        DatasetError: no image, an image without depth map, or an unknown expression.

    References:
        Yin et al., "A 3D facial expression database for facial behavior research", FGR 2006.
    """
    check_choice(selection, ("six", "seven"), name="selection")
    stills, levels = [], []
    for path, match in _matches(folder, BU3DFE_NAME, like="F0001_AN01WH_F2D.bmp"):
        if match["expression"] not in BU3DFE_EXPRESSIONS:
            raise DatasetError(
                f"'{path}' shows '{match['expression']}'", expected="one of " + ", ".join(BU3DFE_EXPRESSIONS)
            )
        depth = path.with_name(path.name.replace("_F2D.bmp", "_F3D_depth.png"))
        name = path.name.removesuffix("_F2D.bmp")
        stills.append(Still(name, match["subject"], BU3DFE_EXPRESSIONS[match["expression"]], path, _existing(depth)))
        levels.append(int(match["level"]))
    if selection == "seven":
        return stills
    chosen = _drawn_subjects(sorted({still.subject for still in stills}))
    return [
        still
        for still, level in zip(stills, levels, strict=True)
        if level >= 3 and still.expression != "neutral" and still.subject in chosen
    ]


def find_cald3r(folder: str | os.PathLike[str]) -> list[Still]:
    """The images of CalD3r or MenD3s in ``<expression>/RGB`` and ``<expression>/DEPTH``.

    Files are named ``gender_id_code_expression_Color.png`` and ``..._Depth.png``.

    Args:
        folder: Of one of the two data sets; subjects get its name in front, so that both can be put together.

    Raises:
        DatasetError: no image, or an image without depth map.

    References:
        Ulrich et al., "CalD3r and MenD3s: Spontaneous 3D facial expression databases", JVCIR 2024.
    """
    stills = []
    for path, match in _matches(folder, CALD3R_NAME, like="F_012_code_anger_Color.png"):
        depth = path.parent.with_name("DEPTH") / path.name.replace("_Color.png", "_Depth.png")
        origin = Path(folder).resolve().name
        name, subject = (f"{origin}-{text}" for text in (path.name.removesuffix("_Color.png"), match["subject"]))
        stills.append(Still(name, subject, path.parent.parent.name.lower(), path, _existing(depth)))
    return stills


def write_stills(folder: str | os.PathLike[str], stills: Iterable[Still]) -> Path:
    """Write ``manifest.csv`` and one HDF5 file per image, without events, into `folder`.

    Files that are there already are kept, so that an interrupted call can be repeated.

    Args:
        folder: Made if it is not there.
        stills: Of one or several data sets.

    Returns:
        The manifest, for `ManifestDataset.read`: frames ``rgb`` and ``depth``, a column ``expression``.

    Raises:
        DatasetError: an image cannot be read or is of another kind, or a name comes twice.

    Examples:
        >>> write_stills("bu3dfe6", find_bu3dfe("BU_3DFE", selection="six"))  # doctest: +SKIP
        PosixPath('bu3dfe6/manifest.csv')
    """
    target, rows, stills = Path(folder), [], list(stills)
    names = [still.name for still in stills]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"the image '{twice}' comes twice", fix="convert each data set once")
    for still in progress(stills, total=len(stills), desc="stills", unit="image"):
        path = target / "clips" / f"{still.name}.h5"
        if not path.is_file():
            write(path, _recording(still))
        rows.append((still.name, still.subject, still.expression, "still", f"clips/{path.name}", 0, EXPOSURE_US))
    with atomic_path(target / "manifest.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return target / "manifest.csv"


def _recording(still: Still) -> EventStream:
    rgb, depth = _read(still.rgb), _read(still.depth)
    if rgb.dtype != np.uint8 or rgb.ndim != 3:
        raise DatasetError(f"'{still.rgb}' is no colour image", expected="red, green and blue of 8 bits each")
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.integer) or depth.min() < 0 or depth.max() > 65_535:
        raise DatasetError(f"'{still.depth}' is no depth map", expected="one channel of whole numbers up to 65535")
    start = np.zeros(1, dtype=np.int64)
    frames = {
        "rgb": FrameStream(start, rgb[None, :, :, :3]),
        "depth": FrameStream(start, depth[None].astype(np.uint16)),
    }
    nothing = np.zeros(0, dtype=np.int64)
    return EventStream.from_arrays(nothing, nothing, nothing, nothing, rgb.shape[1], rgb.shape[0], frames=frames)


def _read(path: Path) -> np.ndarray:
    image = require("PIL.Image", extra="data")
    try:
        with image.open(path) as opened:
            return np.asarray(opened)
    except OSError as error:
        raise DatasetError(f"'{path}' cannot be read as an image", cause=str(error)) from error


def _matches(folder: str | os.PathLike[str], name: re.Pattern[str], *, like: str) -> list[tuple[Path, re.Match[str]]]:
    found = [(path, match) for path in sorted(Path(folder).rglob("*")) if (match := name.match(path.name))]
    if not found:
        raise DatasetError(f"no images in '{folder}'", expected=f"files named like {like}, in it or in folders below")
    return found


def _existing(depth: Path) -> Path:
    if not depth.is_file():
        raise DatasetError(
            f"an image without its depth map '{depth}'",
            expected="one 16 bit depth map per image",
            fix="render the meshes, or take away the images that have none",
        )
    return depth


def _drawn_subjects(subjects: Sequence[str]) -> set[str]:
    """60 per cent of them: those that scikit-learn's ``train_test_split(test_size=0.4, random_state=42)`` keeps."""
    n_left_out = -(-len(subjects) * 2 // 5)
    order = np.random.RandomState(42).permutation(len(subjects))  # the published draw needs this generator
    return {str(subjects[int(i)]) for i in order[n_left_out:]}
