"""Generation of a whole data set: clips in parallel, resumable, the same bytes for the same parameters."""

import csv
import functools
import itertools
import json
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from snnfer._config import to_dict
from snnfer._files import atomic_path, hash_value, write_json
from snnfer._optional import require
from snnfer._progress import progress
from snnfer.errors import ConfigError, DatasetError
from snnfer.synth.config import SynthConfig

GENERATOR_VERSION = 3
"""Raised whenever the same parameters give other data."""

MANIFEST_COLUMNS = (
    "clip",
    "subject",
    "au",
    "repetition",
    "sensor",
    "path",
    "t_start_us",
    "t_end_us",
    "onset_us",
    "apex_us",
    "offset_us",
    "intensity",
    "lux",
    "box_x",
    "box_y",
    "box_w",
    "box_h",
    "frames_path",
    "labels_path",
    "seed",
)


def generate(out_dir: str | os.PathLike[str], config: SynthConfig, *, jobs: int = 1) -> Path:
    """Generate a data set; clips that are already complete are kept.

    The folder then holds ``dataset.json`` (version, parameters, fingerprint), ``manifest.csv`` (one row per clip; times
    from the start of the clip: onset, first moment of full intensity, end of the movement) and ``clips/`` with the
    events and frames of each clip (``.h5``, or ``.aedat4`` and ``.h5``) and its labels (``.npz``). On one platform,
    the same parameters give the same bytes whatever the number of jobs.

    Args:
        out_dir: Folder to write; created if missing.
        config: What to generate.
        jobs: Processes to use.

    Returns:
        The folder.

    Raises:
        ConfigError: `jobs` is below 1.
        DatasetError: the folder holds a data set with other parameters.
        MissingExtraError: the ``synth`` extra is not installed.

    Examples:
        >>> folder = generate("data/tiny", SynthConfig.preset("tiny"))  # doctest: +SKIP
    """
    if jobs < 1:
        raise ConfigError(f"jobs = {jobs}", expected="at least 1 process")
    for module in ("numba", "scipy", "h5py"):
        require(module, extra="synth")
    folder = Path(out_dir)
    _claim_folder(folder, config)
    names = list(_clip_keys(config))
    missing = [key for key in names if not _is_complete(folder, key, config)]
    with progress(total=len(names), initial=len(names) - len(missing), desc="clips", unit="clip") as bar:
        for _ in _make_clips(folder, config, missing, jobs):
            bar.update()
    _write_manifest(folder, config)
    return folder


def describe(config: SynthConfig) -> dict[str, Any]:
    """Content of ``dataset.json``."""
    parameters = to_dict(config)
    identity = {"name": "SynthAU", "generator_version": GENERATOR_VERSION, "parameters": parameters}
    return {**identity, "fingerprint": hash_value(identity)}


def _claim_folder(folder: Path, config: SynthConfig) -> None:
    """Write ``dataset.json``, or check that the one that is there says the same."""
    path, description = folder / "dataset.json", describe(config)
    if not path.exists():
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise DatasetError(
                f"the folder '{folder}' is not empty and holds no synthetic data set",
                expected="a new or empty folder, or one to resume",
                fix="choose another folder",
            )
        write_json(path, description)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = {}
    if found != description:
        raise DatasetError(
            f"the folder '{folder}' holds a data set with other {_difference(found, description)}",
            expected=f"the data set with fingerprint {description['fingerprint']}",
            fix="choose another folder, or remove this one",
        )


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    if found.get("generator_version") != wanted["generator_version"]:
        return "generator version"
    parameters = found.get("parameters", {})
    changed = [name for name, value in wanted["parameters"].items() if parameters.get(name) != value]
    return "parameters (" + ", ".join(changed or ["unknown"]) + ")"


def _clip_keys(config: SynthConfig) -> Iterator[tuple[int, int, int]]:
    return itertools.product(range(config.n_subjects), config.aus, range(config.n_repetitions))


def _paths(folder: Path, name: str, config: SynthConfig) -> tuple[Path, Path, Path]:
    """Files of a clip: events, frames (the same file unless AEDAT4), labels."""
    frames = folder / "clips" / f"{name}.h5"
    events = frames.with_suffix(".aedat4") if config.events_format == "aedat4" else frames
    return events, frames, frames.with_suffix(".npz")


def _is_complete(folder: Path, key: tuple[int, int, int], config: SynthConfig) -> bool:
    from snnfer.synth.recording import Clip

    paths = _paths(folder, Clip(*key).name, config)
    return all(path.exists() for path in paths) and zipfile.is_zipfile(paths[-1])


def _make_clips(folder: Path, config: SynthConfig, keys: list[tuple[int, int, int]], jobs: int) -> Iterator[None]:
    if not keys:
        return
    if jobs == 1 or len(keys) == 1:
        for key in keys:
            yield make_clip(folder, config, key)
        return
    yield make_clip(folder, config, keys[0])  # compiles, so that the other processes find compiled code
    with ProcessPoolExecutor(min(jobs, len(keys) - 1), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(make_clip, folder, config, key) for key in keys[1:]]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def make_clip(folder: Path, config: SynthConfig, key: tuple[int, int, int]) -> None:
    """Record one clip and write its files, the labels last: a clip with labels is complete."""
    from snnfer import events
    from snnfer.events.stream import EventStream
    from snnfer.synth.recording import Clip, record_clip

    clip = Clip(*key)
    recording = record_clip(_session(clip.subject, config), clip, config)
    events_path, frames_path, labels_path = _paths(folder, clip.name, config)
    stream, row = recording.stream, _manifest_row(clip, recording, config)
    metadata = {"clip": clip.name, "subject": row["subject"], "au": clip.au, "lux": row["lux"]}
    if events_path != frames_path:
        events.write(events_path, EventStream(stream.events, stream.width, stream.height))
        stream = EventStream(stream.events[:0], stream.width, stream.height, frames=stream.frames)
    events.write_hdf5(frames_path, EventStream(stream.events, stream.width, stream.height, stream.frames, metadata))
    counts = {"n_events": np.array(len(recording.stream)), "n_noise_events": np.array(recording.noise_count)}
    labels = {**recording.labels, **counts, "row": np.array(json.dumps(row))}
    with atomic_path(labels_path) as temporary:
        np.savez_compressed(temporary, **labels)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=2)
def _session(subject: int, config: SynthConfig):
    from snnfer.synth.renderer import View
    from snnfer.synth.scene import build_session

    view = View(config.width, config.height, config.focal)
    return build_session(subject, view, seed=config.seed, lux=config.lux)


def _manifest_row(clip, recording, config: SynthConfig) -> dict[str, Any]:
    events_path, frames_path, labels_path = _paths(Path(), clip.name, config)
    acted = recording.script.acted
    seconds = {"t_end_us": recording.script.duration_s, "onset_us": acted.onset_s}
    seconds |= {"apex_us": acted.apex_start_s, "offset_us": acted.offset_s}
    return {
        "clip": clip.name,
        "subject": f"s{clip.subject:02d}",
        "au": clip.au,
        "repetition": clip.repetition,
        "sensor": "synth",
        "path": events_path.as_posix(),
        "t_start_us": 0,
        **{name: int(value * 1e6) for name, value in seconds.items()},
        "intensity": round(acted.amplitude, 4),
        "lux": round(recording.lux, 2),
        **dict(zip(("box_x", "box_y", "box_w", "box_h"), recording.box, strict=True)),
        "frames_path": frames_path.as_posix(),
        "labels_path": labels_path.as_posix(),
        "seed": config.seed,
    }


def _write_manifest(folder: Path, config: SynthConfig) -> None:
    from snnfer.synth.recording import Clip

    with atomic_path(folder / "manifest.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, MANIFEST_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for key in _clip_keys(config):
            with np.load(_paths(folder, Clip(*key).name, config)[2]) as labels:
                writer.writerow(json.loads(str(labels["row"])))
