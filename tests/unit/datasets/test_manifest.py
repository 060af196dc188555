"""Manifests: what is read, and one clear sentence for each way a manifest can be wrong."""

import numpy as np
import pytest

from snnfer.datasets import ManifestDataset
from snnfer.errors import DatasetError
from snnfer.events import EventStream, write

HEADER = "subject,au,sensor,path,t_start_us,t_end_us"


@pytest.fixture
def folder(tmp_path):
    """Two recordings of 100 events each, 1 ms apart."""
    t = np.arange(100) * 1000
    for name in ("a", "b"):
        write(tmp_path / f"{name}.h5", EventStream.from_arrays(t, t // 1000 % 16, t * 0, t // 1000 % 2, 16, 12))
    return tmp_path


def read(folder, *rows, header=HEADER, **options):
    (folder / "manifest.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return ManifestDataset.read(folder, **options)


GOOD = (
    "s1,12,davis346,a.h5,0,50000",
    "s1,AU2,davis346,a.h5,50000,100000",
    "s2,2,davis346,b.h5,0,50000",
    "s2,12,davis346,b.h5,0,99000",
)


def test_labels_and_subjects_are_known_without_reading_events(folder):
    data = read(folder, *GOOD)
    assert data.subjects == ("s1", "s2")
    assert data.class_names == ("AU2", "AU12")
    assert data.labels == (1, 0, 0, 1)


def test_expressions_can_be_the_classes(folder):
    rows = [row.replace(",12,", ",surprise,").replace(",AU2,", ",Anger,").replace(",2,", ",Anger,") for row in GOOD]
    data = read(folder, *rows, header=HEADER.replace("au", "expression"))
    assert data.class_names == ("Anger", "surprise")
    assert data.labels == (1, 0, 0, 1)
    assert data.clips[0].clip == "s1-surprise-a-0"
    assert data.clips[0].au is None
    other = [row.replace("surprise", "joy") for row in rows]
    assert read(folder, *other, header=HEADER.replace("au", "expression")).fingerprint() != data.fingerprint()


def test_a_clip_holds_exactly_the_events_of_its_interval(folder):
    data = read(folder, *GOOD)
    assert [len(data.load(clip)) for clip in data.clips] == [50, 50, 50, 99]
    assert data.load(data.clips[1]).events["t"].min() == 50_000


def test_windows_line_ends_spaces_and_a_byte_order_mark_are_read(folder):
    text = "\ufeff" + HEADER.replace(",", ", ") + "\r\n" + "\r\n".join(GOOD) + "\r\n"
    (folder / "manifest.csv").write_bytes(text.encode("utf-8"))
    assert len(ManifestDataset.read(folder / "manifest.csv").clips) == 4


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (("s1,12,d,a.h5,0,50000",), {"header": HEADER.replace("au,", "")}, "lacks the column 'au'"),
        (("s1,,d,a.h5,0,50000",), {"header": HEADER.replace("au", "expression")}, "line 2 has no expression"),
        (("s1;12;d;a.h5;0;50000",), {"header": HEADER.replace(",", ";")}, "another separator"),
        ((), {}, "no clips"),
        (("s1,99,d,a.h5,0,50000",), {}, "line 2 has the unknown Action Unit '99'"),
        (("s1,12,d,c.h5,0,50000",), {}, "names the event file 'c.h5', which is not there"),
        (("s1,12,d,a.h5,0,0",), {}, "t_end_us = 0"),
        (("s1,12,d,a.h5,0.5,100",), {}, "t_start_us = '0.5'; expected a whole number"),
        ((",12,d,a.h5,0,100",), {}, "has no subject"),
        ((*GOOD, "s3,12,d,a.h5,0,100"), {}, "'s3'.* has only 1 clip.*min_clips_per_subject=1"),
        ((GOOD[0], GOOD[0]), {}, "twice"),
    ],
)
def test_each_mistake_is_one_clear_sentence(folder, rows, options, message):
    with pytest.raises(DatasetError, match=message):
        read(folder, *rows, **options)


def test_a_missing_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(DatasetError, match="no manifest.*snnfer synth"):
        ManifestDataset.read(tmp_path)


def test_one_clip_per_subject_can_be_allowed(folder):
    assert len(read(folder, GOOD[0], min_clips_per_subject=1).clips) == 1


def test_the_fingerprint_follows_events_and_labels(folder):
    first = read(folder, *GOOD).fingerprint()
    assert read(folder, *GOOD).fingerprint() == first
    assert read(folder, *GOOD[:3], "s2,4,davis346,b.h5,0,99000").fingerprint() != first
    write(folder / "b.h5", EventStream.from_arrays([0, 5], [1, 2], [0, 0], [0, 1], 16, 12))
    assert read(folder, *GOOD).fingerprint() != first
