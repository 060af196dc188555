"""Recordings described by a manifest: a CSV file with one row per clip.

The least a manifest needs is ``subject,au,sensor,path,t_start_us,t_end_us``; paths are relative to the manifest. Where
whole expressions are the classes, the column ``expression`` takes the place of ``au``. SynthAU writes the same file
with more columns, so one reader serves both.
"""

import functools
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from snnfer import events
from snnfer._files import hash_file, hash_value
from snnfer._optional import require
from snnfer.datasets.action_units import ACTION_UNITS
from snnfer.errors import DatasetError
from snnfer.events import EventStream

REQUIRED_COLUMNS = ("subject", "au", "sensor", "path", "t_start_us", "t_end_us")
EXPRESSION = "expression"
"""Column with the name of an expression, in place of ``au``."""
BOX_COLUMNS = ("box_x", "box_y", "box_w", "box_h")
TIME_COLUMNS = ("onset_us", "apex_us", "offset_us")

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Clip:
    """One labelled piece of a recording.

    Attributes:
        clip: Name, unique in its data set.
        subject: Who is seen.
        au: FACS code of the acted Action Unit; None where whole expressions are the classes.
        sensor: Sensor name, as the manifest gives it.
        path: Event file.
        t_start_us: First microsecond of the clip, in the time of the recording.
        t_end_us: First microsecond after the clip.
        box: Square face box ``(x, y, width, height)`` in sensor pixels, where known.
        frames_path: File with the frames, where they are not in `path`.
        onset_us, offset_us: When the movement begins and has ended, where known.
        expression: Name of the shown expression, where expressions are the classes.
        apex_us: When the movement is strongest, where known.
    """

    clip: str
    subject: str
    au: int | None
    sensor: str
    path: Path
    t_start_us: int
    t_end_us: int
    box: Box | None = None
    frames_path: Path | None = None
    onset_us: int | None = None
    offset_us: int | None = None
    expression: str = ""
    apex_us: int | None = None

    @property
    def class_name(self) -> str:
        """Name of its class, such as ``AU12`` or ``happy``."""
        return self.expression if self.au is None else f"AU{self.au}"

    @property
    def duration_us(self) -> int:
        """Length in microseconds."""
        return self.t_end_us - self.t_start_us


@dataclass(frozen=True)
class ManifestDataset:
    """Clips of a manifest, with their labels known before any event is read.

    Args:
        name: Shown in reports.
        clips: In manifest order.
        class_names: In class order: Action Units by their codes, expressions by their names.
        root: Folder that relative paths start from.
        description: What `dataset.json` beside the manifest says, if there is one.

    Examples:
        >>> data = ManifestDataset.read("recordings/manifest.csv")  # doctest: +SKIP
        >>> data.class_names[:2], data.subjects  # doctest: +SKIP
        (('AU2', 'AU4'), ('s00', 's01', 's02'))
    """

    name: str
    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    root: Path
    description: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, min_clips_per_subject: int = 2) -> "ManifestDataset":
        """Read a manifest (a CSV file, or the folder that holds ``manifest.csv``) and check every row.

        Args:
            path: The manifest or its folder.
            min_clips_per_subject: A subject with fewer clips is refused: a per-subject score from one clip is 0 or 1.

        Raises:
            DatasetError: the manifest is missing or damaged, lacks a column, names an unknown AU or a missing file,
                repeats a clip, or has a subject with too few clips.
        """
        manifest = Path(path)
        if manifest.is_dir():
            manifest = manifest / "manifest.csv"
        rows = _read_rows(manifest)
        clips = tuple(_clip(row, number, manifest) for number, row in enumerate(rows, start=2))
        _check_clips(clips, manifest, min_clips_per_subject)
        description = _read_description(manifest.parent)
        return cls(
            name=str(description.get("name", manifest.parent.name)),
            clips=clips,
            class_names=tuple(dict.fromkeys(clip.class_name for clip in sorted(clips, key=_class_order))),
            root=manifest.parent,
            description=description,
        )

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects, sorted."""
        return tuple(sorted({clip.subject for clip in self.clips}))

    @property
    def labels(self) -> tuple[int, ...]:
        """Class index of each clip."""
        index = {name: i for i, name in enumerate(self.class_names)}
        return tuple(index[clip.class_name] for clip in self.clips)

    def fingerprint(self) -> str:
        """Hash of every event file, frame file and label: two data sets with the same one give the same tensors."""
        return hash_value([[*_identity(clip), _hash_once(clip.path)] for clip in self.clips])

    def select(self, subjects: Sequence[str]) -> "ManifestDataset":
        """The same data set with the clips of `subjects` only; the classes stay those of the whole."""
        wanted = set(subjects)
        unknown = wanted - set(self.subjects)
        if unknown:
            raise DatasetError(
                f"unknown subject '{min(unknown)}' in data set '{self.name}'",
                expected="one of " + ", ".join(self.subjects),
            )
        clips = tuple(clip for clip in self.clips if clip.subject in wanted)
        return ManifestDataset(self.name, clips, self.class_names, self.root, self.description)

    def evenly(self, n: int) -> "ManifestDataset":
        """The same data set with `n` of its clips, taken evenly; all where it has no more."""
        places = np.linspace(0, len(self.clips) - 1, min(n, len(self.clips))).round().astype(np.int64)
        return replace(self, clips=tuple(self.clips[i] for i in places))

    def load(self, clip: Clip, *, frames: bool = False) -> EventStream:
        """Events of one clip (and its frames, if asked for), in the time of the recording."""
        source = clip.frames_path if frames and clip.frames_path else clip.path
        return events.read(source).slice_time(clip.t_start_us, clip.t_end_us)


def content_key(clip: Clip) -> list[Any]:
    """What the tensors of a clip depend on: file content, times and box."""
    frames = _hash_once(clip.frames_path) if clip.frames_path and clip.frames_path != clip.path else ""
    return [_hash_once(clip.path), frames, clip.t_start_us, clip.t_end_us, list(clip.box or ())]


def _read_rows(manifest: Path) -> list[dict[str, str]]:
    pandas = require("pandas", extra="data")
    if not manifest.is_file():
        raise DatasetError(
            f"no manifest at '{manifest}'",
            expected="a CSV file, or a folder with manifest.csv, with the columns " + ",".join(REQUIRED_COLUMNS),
            fix="check the path, or make a data set with 'snnfer synth --out DIR'",
        )
    try:
        table = pandas.read_csv(manifest, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DatasetError(f"'{manifest}' is not a readable CSV file", cause=" ".join(str(error).split())) from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in REQUIRED_COLUMNS if column not in table.columns]
    if "au" in missing and EXPRESSION in table.columns:
        missing.remove("au")
    if missing:
        raise DatasetError(
            f"'{manifest}' lacks the column '{missing[0]}'",
            expected="the columns " + ",".join(REQUIRED_COLUMNS) + f" ('{EXPRESSION}' in place of 'au' will do)",
            cause="another separator than a comma" if len(table.columns) == 1 else "",
            fix=f"add the missing: {', '.join(missing)}",
        )
    if table.empty:
        raise DatasetError(f"'{manifest}' has a header but no clips")
    return table.to_dict("records")


def _clip(row: Mapping[str, str], number: int, manifest: Path) -> Clip:
    where = f"'{manifest}' line {number}"
    path = manifest.parent / row["path"]
    if not row["path"] or not path.is_file():
        raise DatasetError(f"{where} names the event file '{row['path']}', which is not there", fix="correct the path")
    frames = row.get("frames_path", "")
    if frames and not (manifest.parent / frames).is_file():
        raise DatasetError(f"{where} names the frame file '{frames}', which is not there", fix="correct the path")
    start, end = (_integer(row[name], name, where) for name in ("t_start_us", "t_end_us"))
    if end <= start:
        raise DatasetError(f"{where} has t_end_us = {end} and t_start_us = {start}", expected="an end after the start")
    au = _action_unit(row["au"], where) if "au" in row else None
    expression = "" if au is not None else row[EXPRESSION].strip()
    if au is None and not expression:
        raise DatasetError(f"{where} has no expression", fix="every clip needs the name of its expression")
    if not row["subject"]:
        raise DatasetError(f"{where} has no subject", fix="every clip needs the name of who is seen")
    box = (
        tuple(_integer(row[name], name, where) for name in BOX_COLUMNS)
        if all(row.get(c) for c in BOX_COLUMNS)
        else None
    )
    return Clip(
        clip=row.get("clip") or f"{row['subject']}-{expression or f'AU{au}'}-{Path(row['path']).stem}-{start}",
        subject=row["subject"],
        au=au,
        sensor=row["sensor"],
        path=path,
        t_start_us=start,
        t_end_us=end,
        box=box,  # type: ignore[arg-type]
        frames_path=manifest.parent / frames if frames else None,
        expression=expression,
        **{name: _integer(row[name], name, where) for name in TIME_COLUMNS if row.get(name)},
    )


def _class_order(clip: Clip) -> tuple[int, str]:
    return clip.au or 0, clip.expression


def _action_unit(text: str, where: str) -> int:
    code = text.strip().upper().removeprefix("AU").strip()
    if not code.isdigit() or int(code) not in ACTION_UNITS:
        raise DatasetError(
            f"{where} has the unknown Action Unit '{text}'",
            expected="a FACS code such as 12 or AU12, one of " + ", ".join(map(str, ACTION_UNITS)),
        )
    return int(code)


def _integer(text: str, name: str, where: str) -> int:
    try:
        value = float(text)
        if value != int(value):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise DatasetError(f"{where} has {name} = '{text}'", expected="a whole number") from error
    return int(value)


def _check_clips(clips: Sequence[Clip], manifest: Path, min_clips_per_subject: int) -> None:
    repeated = [name for name, count in Counter(clip.clip for clip in clips).items() if count > 1]
    if repeated:
        raise DatasetError(f"'{manifest}' has the clip '{repeated[0]}' twice", fix="remove one, or add a 'clip' column")
    for subject, count in sorted(Counter(clip.subject for clip in clips).items()):
        if count < min_clips_per_subject:
            raise DatasetError(
                f"subject '{subject}' in '{manifest}' has only {count} clip",
                expected=f"at least {min_clips_per_subject} clips per subject",
                cause="a misspelt subject name, which leave-one-subject-out would treat as another person",
                fix="correct the name, add clips, or set data.min_clips_per_subject=1",
            )


def _read_description(root: Path) -> dict[str, Any]:
    path = root / "dataset.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"'{path}' is not valid JSON", cause=str(error)) from error


def _identity(clip: Clip) -> list[Any]:
    return [clip.clip, clip.subject, clip.au or clip.expression, clip.t_start_us, clip.t_end_us, list(clip.box or ())]


def _hash_once(path: Path) -> str:
    """Content hash, computed once per process while size and modification time stay the same."""
    status = path.stat()
    return _hash_unchanged(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=65536)
def _hash_unchanged(path: Path, size: int, mtime_ns: int) -> str:
    return hash_file(path)
