import dataclasses
import json
import shutil

import numpy as np
import pytest

from snnfer import events
from snnfer._files import hash_file
from snnfer.datasets import ManifestDataset
from snnfer.errors import ConfigError, DatasetError
from snnfer.synth import PRESETS, SynthConfig, contact_sheet, generate
from snnfer.synth.generator import MANIFEST_COLUMNS


def hashes(folder) -> dict[str, str]:
    return {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_folder_holds_what_the_manifest_says(small_dataset, small_config):
    assert set(hashes(small_dataset)) == {
        "dataset.json",
        "manifest.csv",
        *(f"clips/s{s:02d}_au{au}_r0.{end}" for s in range(2) for au in (12, 45) for end in ("h5", "npz")),
    }
    header = (small_dataset / "manifest.csv").read_text().splitlines()[0]
    assert header == ",".join(MANIFEST_COLUMNS)
    data = ManifestDataset.read(small_dataset)
    assert (data.name, data.subjects, data.class_names) == ("SynthAU", ("s00", "s01"), ("AU12", "AU45"))
    clip = data.clips[0]
    stream = data.load(clip, frames=True)
    assert (stream.width, stream.height) == (small_config.width, small_config.height)
    assert set(stream.frames) == {"gray", "rgb", "depth"}
    assert len(stream) > 50
    assert stream.metadata["clip"] == "s00_au12_r0"
    with np.load(small_dataset / "clips" / "s00_au12_r0.npz") as labels:
        assert labels["n_events"] == len(stream)
        assert 0 <= labels["n_noise_events"] < len(stream)


def test_same_bytes_whatever_the_number_of_jobs(small_dataset, small_config, tmp_path):
    parallel = generate(tmp_path / "parallel", small_config, jobs=2)
    assert hashes(parallel) == hashes(small_dataset)


def test_interrupted_generation_goes_on(small_dataset, small_config, tmp_path):
    folder = tmp_path / "resumed"
    shutil.copytree(small_dataset, folder)
    (folder / "manifest.csv").unlink()
    (folder / "clips" / "s01_au12_r0.npz").unlink()
    (folder / "clips" / "s01_au45_r0.npz").write_bytes(b"half")
    untouched = (folder / "clips" / "s00_au12_r0.h5").stat().st_mtime_ns
    generate(folder, small_config)
    assert hashes(folder) == hashes(small_dataset)
    assert (folder / "clips" / "s00_au12_r0.h5").stat().st_mtime_ns == untouched


def test_a_seed_is_another_data_set(small_dataset, small_config, tmp_path):
    config = dataclasses.replace(small_config, seed=4, n_subjects=1, aus=(45,))
    other = generate(tmp_path / "other", config)
    assert hash_file(other / "clips" / "s00_au45_r0.h5") != hash_file(small_dataset / "clips" / "s00_au45_r0.h5")
    fingerprints = [json.loads((f / "dataset.json").read_text())["fingerprint"] for f in (other, small_dataset)]
    assert fingerprints[0] != fingerprints[1]


def test_folder_with_other_parameters_is_refused(small_dataset, small_config, tmp_path):
    before = hashes(small_dataset)
    with pytest.raises(DatasetError, match=r"other parameters \(lux\).*fix:"):
        generate(small_dataset, dataclasses.replace(small_config, lux=5.0))
    assert hashes(small_dataset) == before
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(DatasetError, match="not empty"):
        generate(tmp_path, small_config)
    with pytest.raises(ConfigError, match="jobs = 0"):
        generate(tmp_path / "new", small_config, jobs=0)


def test_other_generator_version_is_refused(small_dataset, small_config, tmp_path):
    description = json.loads((small_dataset / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps({**description, "generator_version": 0}))
    with pytest.raises(DatasetError, match="other generator version"):
        generate(tmp_path, small_config)


def test_aedat4_holds_the_same_events(small_dataset, small_config, tmp_path):
    config = dataclasses.replace(small_config, n_subjects=1, aus=(45,), events_format="aedat4")
    folder = generate(tmp_path / "aedat4", config)
    written = events.read(folder / "clips" / "s00_au45_r0.aedat4")
    reference = events.read(small_dataset / "clips" / "s00_au45_r0.h5")
    for name in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(written.events[name], reference.events[name])
    frames = events.read(folder / "clips" / "s00_au45_r0.h5")
    np.testing.assert_array_equal(frames.frames["rgb"].images, reference.frames["rgb"].images)
    again = generate(tmp_path / "again", config)
    assert hashes(again) == hashes(folder)


def test_contact_sheet_shows_every_clip(small_dataset, tmp_path):
    sheet = contact_sheet(small_dataset, subject="s01", columns=2, crop=False)
    assert sheet.shape == (60, 2 * 3 * 80, 3)
    assert sheet.dtype == np.uint8
    tiles = sheet.reshape(60, 6, 80, 3)
    white = (tiles == 255).all(-1).mean((0, 2))
    assert (white[[2, 5]] > 0.3).all()  # event tiles are mostly empty
    assert contact_sheet(small_dataset).shape[2] == 3
    with pytest.raises(DatasetError, match="no clips of subject"):
        contact_sheet(small_dataset, subject="nobody")
    with pytest.raises(DatasetError, match="no manifest"):
        contact_sheet(tmp_path)


def test_presets_and_checks():
    assert SynthConfig.preset("paper") == SynthConfig()
    assert {name: (c.n_subjects, c.n_repetitions) for name, c in PRESETS.items()} == {
        "tiny": (3, 1),
        "small": (5, 1),
        "paper": (7, 1),
        "large": (60, 3),
    }
    assert SynthConfig.preset("small").focal == pytest.approx(380.0)
    for changes, message in (
        ({"width": 8}, "width = 8"),
        ({"aus": (12, 99)}, "different codes"),
        ({"aus": ()}, "different codes"),
        ({"difficulty": "brutal"}, "one of easy"),
        ({"lux": 0.0}, "lux = 0"),
        ({"events_format": "csv"}, "hdf5, aedat4"),
    ):
        with pytest.raises(ConfigError, match=message):
            SynthConfig(**changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tiny, small"):
        SynthConfig.preset("huge")
