"""What is written is read back exactly, by us and by others, or refused; a failed write leaves nothing."""

import numpy as np
import pytest

import snnfer.events as ev
from snnfer.errors import EventFileError, SnnferError

EPOCH_US = 1_605_116_853_975_736
TARGETS = [
    (".h5", {}),
    (".aedat4", {}),
    (".raw", {"encoding": "evt3"}),
    (".raw", {"encoding": "evt2"}),
    (".dat", {}),
    (".es", {}),
    (".csv", {}),
]
IDS = ["h5", "aedat4", "evt3", "evt2", "dat", "es", "csv"]


def random_stream(n, *, span_us, start_us=0, width=346, height=260, seed=0):
    rng = np.random.default_rng(seed)
    return ev.EventStream.from_arrays(
        start_us + np.sort(rng.integers(0, span_us, n)),
        rng.integers(0, width, n),
        rng.integers(0, height, n),
        rng.integers(0, 2, n),
        width,
        height,
    )


CASES = {
    "none": random_stream(0, span_us=1),
    "one": random_stream(1, span_us=1),
    "short": random_stream(5000, span_us=1_000_000),
    "equal times": random_stream(5000, span_us=20),
    "beyond 2^31 us": random_stream(500, span_us=900_000_000, start_us=3_000_000_000),
    "epoch": random_stream(5000, span_us=40_000_000, start_us=EPOCH_US),
    "long silences": random_stream(40, span_us=3_600_000_000, start_us=12),
    "2048 pixels": random_stream(5000, span_us=1_000_000, width=2048, height=2048),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("suffix", "options"), TARGETS, ids=IDS)
def test_write_then_read(tmp_path, suffix, options, case):
    stream, path = CASES[case], tmp_path / f"clip{suffix}"
    moved_us = 0
    if suffix == ".es" and stream.t_start_us > 60_000_000:
        moved_us = stream.t_start_us
        with pytest.warns(ev.EventFileWarning, match=f"{moved_us} us were subtracted"):
            ev.write(path, stream, **options)
    else:
        ev.write(path, stream, **options)
    back = ev.read(path)
    assert (back.width, back.height) == (stream.width, stream.height)
    for name in ("x", "y", "p"):
        assert np.array_equal(back.events[name], stream.events[name])
    assert np.array_equal(back.events["t"] + moved_us, stream.events["t"])


@pytest.mark.parametrize(("suffix", "options"), TARGETS, ids=IDS)
@pytest.mark.parametrize("source", IDS)
def test_convert_between_all_formats(tmp_path, source, suffix, options):
    stream = CASES["short"]
    first, second = tmp_path / f"a{TARGETS[IDS.index(source)][0]}", tmp_path / f"b{suffix}"
    ev.write(first, stream, **TARGETS[IDS.index(source)][1])
    assert ev.convert(first, second, **options) == len(stream)
    assert np.array_equal(ev.read(second).events, stream.events)


def test_evt3_against_evt3(tmp_path):
    evt3 = pytest.importorskip("evt3")
    stream = CASES["long silences"]
    ev.write(tmp_path / "a.raw", stream)
    theirs = evt3.decode_file(str(tmp_path / "a.raw")).to_dict()
    assert np.array_equal(np.asarray(theirs["timestamp"]).astype(np.int64) + stream.t_start_us, stream.events["t"])
    for name, other in (("x", "x"), ("y", "y"), ("p", "polarity")):
        assert np.array_equal(np.asarray(theirs[other]), stream.events[name])


def test_aedat4_against_aedat(tmp_path):
    aedat = pytest.importorskip("aedat")
    ev.write(tmp_path / "a.aedat4", CASES["epoch"])
    theirs = np.concatenate([packet["events"] for packet in aedat.Decoder(tmp_path / "a.aedat4")])
    assert np.array_equal(theirs["t"], CASES["epoch"].events["t"])
    assert np.array_equal(theirs["y"], CASES["epoch"].events["y"])


@pytest.mark.parametrize(
    ("suffix", "stream", "message"),
    [
        (".dat", random_stream(9, span_us=2 * 3_600_000_000), "71.58 minutes cannot be written as DAT"),
        (".raw", random_stream(9, span_us=9, width=2049), "2049x260 cannot be written as RAW; expected at most 2048"),
        (".dat", random_stream(9, span_us=9, width=20_000), "cannot be written as DAT"),
        (".aedat4", random_stream(9, span_us=9, width=40_000), "cannot be written as AEDAT4"),
        (".raw", random_stream(9, span_us=9, start_us=-50), "negative time"),
        (".xyz", random_stream(9, span_us=9), r"names no format to write; expected a suffix of .h5"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, suffix, stream, message):
    with pytest.raises(EventFileError, match=message):
        ev.write(tmp_path / f"a{suffix}", stream)
    assert list(tmp_path.iterdir()) == []


def test_unknown_encoding(tmp_path):
    with pytest.raises(SnnferError, match="encoding = 'evt4'; expected one of evt2, evt3"):
        ev.write(tmp_path / "a.raw", CASES["one"], encoding="evt4")  # type: ignore[arg-type]


def test_a_failed_conversion_keeps_the_old_target(tmp_path):
    source, target = tmp_path / "a.raw", tmp_path / "b.h5"
    ev.write(source, CASES["short"])
    source.write_bytes(source.read_bytes()[:-1])
    target.write_bytes(b"old")
    with pytest.raises(EventFileError, match="cut or damaged"):
        ev.convert(source, target)
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.raw", "b.h5"]


def test_frames_travel_in_hdf5_and_are_named_elsewhere(tmp_path):
    frames = {
        "gray": ev.FrameStream([0, 5], np.arange(2 * 260 * 346, dtype=np.uint64).reshape(2, 260, 346).astype(np.uint8)),
        "rgb": ev.FrameStream([3], np.full((1, 260, 346, 3), 7, np.uint8)),
        "depth": ev.FrameStream(np.empty(0), np.empty((0, 260, 346), np.uint16)),
    }
    stream = ev.EventStream(CASES["short"].events, 346, 260, frames, {"lux": 120.0})
    ev.write(tmp_path / "a.h5", stream)
    back = ev.read(tmp_path / "a.h5")
    assert back.metadata == {"lux": 120.0}
    for name, expected in frames.items():
        assert np.array_equal(back.frames[name].images, expected.images)
        assert back.frames[name].images.dtype == expected.images.dtype
        assert np.array_equal(back.frames[name].t_us, expected.t_us)
    with pytest.warns(ev.EventFileWarning, match="hold no frames: depth, gray, rgb left out"):
        ev.convert(tmp_path / "a.h5", tmp_path / "b.dat")
