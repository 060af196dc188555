"""Which format a file has: decided by its content; the suffix only settles what content cannot."""

import warnings
from collections.abc import Callable
from pathlib import Path

from snnfer.errors import EventFileError
from snnfer.events.formats import aedat4, es, hdf5_layouts, nmnist, prophesee, rosbag, text
from snnfer.events.formats.source import EventFileWarning, ReadOptions, Source

SUFFIXES = {
    "aedat4": (".aedat4",),
    "raw": (".raw",),
    "dat": (".dat",),
    "es": (".es",),
    "hdf5": (".h5", ".hdf5", ".hdf"),
    "rosbag": (".bag",),
    "text": (".txt", ".csv", ".tsv"),
    "nmnist": (".bin",),
}
MAGICS = {aedat4.MAGIC: "aedat4", es.MAGIC: "es", hdf5_layouts.MAGIC: "hdf5", rosbag.MAGIC: "rosbag"}
SOURCES: dict[str, Callable[[Path, ReadOptions], Source]] = {
    "aedat4": aedat4.Aedat4Source,
    "raw": prophesee.RawSource,
    "dat": prophesee.DatSource,
    "es": es.EsSource,
    "hdf5": hdf5_layouts.Hdf5Source,
    "rosbag": rosbag.RosbagSource,
    "text": text.TextSource,
    "nmnist": nmnist.NmnistSource,
}


def open_source(path: Path, options: ReadOptions) -> Source:
    """Open a file with the reader that fits its content; a suffix that says otherwise gives a warning."""
    if path.is_dir():
        raise EventFileError(f"'{path}' is a folder", expected="an event file", fix="name a file in it")
    if not path.is_file():
        raise EventFileError(f"no file '{path}'", fix="check the path")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise EventFileError(f"'{path}' is empty", cause="an interrupted copy or recording")
    kind = identify(head, path)
    if path.suffix.lower() not in SUFFIXES[kind]:
        warnings.warn(
            f"'{path}' is named {path.suffix or 'without suffix'}, but its content is {kind}; it is read as {kind}",
            EventFileWarning,
            stacklevel=4,
        )
    return SOURCES[kind](path, options)


def identify(head: bytes, path: Path) -> str:
    """Key into `SOURCES`; `EventFileError` if neither the content nor the suffix fits a known format."""
    for magic, kind in MAGICS.items():
        if head.startswith(magic):
            return kind
    if head.startswith(b"#!AER-DAT"):
        version = head[9:12].decode("ascii", "replace")
        raise EventFileError(
            f"'{path}' is AEDAT {version}", expected="AEDAT 4", fix="convert it with iniVation's dv or jAER software"
        )
    fields = prophesee.parse_header(head).fields
    if fields:
        is_raw = bool({"evt", "format", "plugin_name", "integrator_name"} & fields.keys())
        is_dat = "data" in fields or ("version" in fields and not is_raw)
        if is_raw or is_dat:
            return "raw" if is_raw else "dat"
    if _is_text(head):
        return "text"
    if path.suffix.lower() in SUFFIXES["nmnist"]:
        return "nmnist"
    expected = next((kind for kind, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes), None)
    raise EventFileError(
        f"'{path}' is not an event file that snnfer knows (it begins with {head[:8]!r})",
        expected=f"{expected} content behind the suffix {path.suffix}"
        if expected
        else "AEDAT4, RAW (EVT2, EVT2.1, EVT3), DAT, ES, HDF5, CSV or text, N-MNIST .bin, or a ROS 1 bag",
        cause="a damaged file, or another format under this name",
    )


def _is_text(head: bytes) -> bool:
    """Printable, and a line without '#' begins with a number or a column name."""
    if any(byte < 9 or byte > 126 or 13 < byte < 32 for byte in head):
        return False
    lines = [line for line in head.decode("ascii").splitlines() if line.strip() and not line.startswith("#")]
    first = lines[0].replace(",", " ").split()[0].lower() if lines else ""
    return (
        first in text.COLUMN_NAMES
        or first.lstrip("+-").replace(".", "", 1).replace("e", "", 1).isdigit()
        or (not lines and head.startswith(text.MAGIC.encode()))
    )
