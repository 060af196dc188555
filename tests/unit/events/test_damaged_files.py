"""Damaged, cut, misnamed and foreign files: one clear error, or the readable part with a warning."""

import warnings

import numpy as np
import pytest

import snnfer.events as ev
from snnfer.errors import EventFileError

STREAM = ev.EventStream.from_arrays(
    np.arange(1000) * 37, np.arange(1000) % 40, np.arange(1000) % 30, np.arange(1000) % 2, 40, 30
)


@pytest.mark.parametrize(
    ("share", "n_events"), [(0.02, 2000), (0.3, 25_627), (0.5, 40_444), (0.9, 70_414), (1.0, 78_830)]
)
def test_cut_aedat4_gives_the_packets_before_the_cut(samples, tmp_path, share, n_events):
    whole = samples / "events" / "davis346_frames_imu.aedat4"
    data = whole.read_bytes()
    path = tmp_path / "cut.aedat4"
    path.write_bytes(data[: min(int(len(data) * share), len(data) - 7)])
    with pytest.raises(EventFileError, match=rf"{n_events:,} events can be read, then .*--allow-truncated"):
        ev.read(path)
    lost = r"no event is missing" if share == 1 else r"the last [\d.]+ % of the file \([\d,]+ of [\d,]+ bytes\) cannot"
    with pytest.warns(ev.EventFileWarning, match=lost):
        stream = ev.read(path, allow_truncated=True)
    assert len(stream) == n_events
    reference = ev.read(whole)
    assert np.array_equal(stream.events, reference.events[:n_events])
    n_frames = len(stream.frames["gray"])
    assert np.array_equal(stream.frames["gray"].images, reference.frames["gray"].images[:n_frames])


def test_lost_share_is_right(samples, tmp_path):
    data = (samples / "events" / "davis346_frames_imu.aedat4").read_bytes()
    (tmp_path / "cut.aedat4").write_bytes(data[: len(data) // 2])
    with pytest.raises(EventFileError, match=r"the last 5[01]\.\d % of the file"):
        ev.read(tmp_path / "cut.aedat4")


def test_corrupt_aedat4(samples, tmp_path):
    data = bytearray((samples / "events" / "dvxplorer_face.aedat4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = np.random.default_rng(0).bytes(64)
    (tmp_path / "bad.aedat4").write_bytes(data)
    with pytest.raises(EventFileError, match="cut or damaged"):
        ev.read(tmp_path / "bad.aedat4")


@pytest.mark.parametrize(
    ("suffix", "options"), [(".raw", {"encoding": "evt2"}), (".raw", {}), (".dat", {}), (".es", {})]
)
@pytest.mark.parametrize("n_cut", [1, 2, 3])
def test_partial_last_word(tmp_path, suffix, options, n_cut):
    path = tmp_path / f"a{suffix}"
    ev.write(path, STREAM, **options)
    data = path.read_bytes()
    path.write_bytes(data[:-n_cut])
    if suffix == ".raw" and not options and n_cut == 2:
        assert len(ev.read(path)) == 999  # a whole 16-bit word is gone: nothing betrays the cut
        return
    n_left = 999
    with pytest.raises(EventFileError, match=rf"{n_left} events can be read, then the last"):
        ev.read(path)
    with pytest.warns(ev.EventFileWarning, match=f"{n_left} events read"):
        assert np.array_equal(ev.read(path, allow_truncated=True).events, STREAM.events[:n_left])


def test_cut_nmnist(samples, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes((samples / "events" / "nmnist.bin").read_bytes()[:-2])
    with pytest.raises(EventFileError, match=r"4,324 events can be read, then the last event has 3 of 5 bytes"):
        ev.read(path)


@pytest.mark.parametrize("suffix", [".h5", ".aedat4"])
def test_cut_to_half(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    ev.write(path, STREAM)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(EventFileError, match=r"cut|damaged|cannot be opened"):
        ev.read(path)


@pytest.mark.parametrize("suffix", [".aedat4", ".raw", ".dat", ".es", ".h5", ".txt", ".csv", ".bag", ""])
def test_random_bytes(tmp_path, suffix):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(np.random.default_rng(3).bytes(4000))
    with pytest.raises(EventFileError, match=r"is not an event file that snnfer knows \(it begins with b"):
        ev.read(path)


def test_random_bytes_called_bin(tmp_path):
    (tmp_path / "noise.bin").write_bytes(np.random.default_rng(3).bytes(4000))
    with pytest.raises(EventFileError, match="events lie outside the sensor of 34x34, the first is event 0"):
        ev.read(tmp_path / "noise.bin")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"#!AER-DAT3.1\r\n", r"is AEDAT 3\.1; expected AEDAT 4"),
        (b"#!AER-DAT4.0\r\n", "has a damaged AEDAT4 header"),
        (b"#!AER-DAT4.0\r\n\xff\x00\x00\x00", "has a damaged AEDAT4 header"),
        (b"Event Stream", "cannot be decoded"),
        (b"% evt 4.0\n% geometry 10x10\n% end\n", "names no encoding snnfer knows"),
        (b"% evt 3.0\n", "does not say its sensor size"),
        (b"% Version 2\n% Data file containing X events\n", "does not say its sensor size"),
        (b"hello world\n", "not an event file"),
        (b"%PDF-1.7\nhello", "not an event file"),
    ],
)
def test_odd_content(tmp_path, content, message):
    path = tmp_path / "a.xyz"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ev.EventFileWarning)  # the suffix .xyz fits none of them
        with pytest.raises(EventFileError, match=message):
            ev.read(path)


def test_missing_file_and_folder(tmp_path):
    for path, message in ((tmp_path / "none.raw", "no file"), (tmp_path, "is a folder")):
        with pytest.raises(EventFileError, match=message):
            ev.read(path)


@pytest.mark.parametrize("suffix", [".h5", ".aedat4", ".raw", ".dat", ".es", ".csv"])
def test_wrong_suffix_is_read_by_content_with_a_warning(tmp_path, suffix):
    ev.write(tmp_path / f"a{suffix}", STREAM)
    wrong = tmp_path / ("a.raw" if suffix != ".raw" else "a.dat")
    (tmp_path / f"a{suffix}").rename(wrong)
    with pytest.warns(ev.EventFileWarning, match=f"is named {wrong.suffix}, but its content is"):
        assert np.array_equal(ev.read(wrong).events, STREAM.events)


def test_size_contradictions(tmp_path):
    ev.write(tmp_path / "a.raw", STREAM)
    with pytest.raises(EventFileError, match="says its sensor is 40x30, but 50x30 was asked for"):
        ev.read(tmp_path / "a.raw", width=50, height=30)
    with pytest.raises(EventFileError, match="only one of width and height"):
        ev.read(tmp_path / "a.raw", width=40)


def test_raw_without_geometry_names_the_options(samples):
    path = samples / "events" / "gen3_evt2.raw"
    with pytest.raises(EventFileError, match="does not say its sensor size.*--width and --height"):
        ev.read(path)
    with pytest.raises(
        EventFileError, match=r"[\d,]+ of 521,252 events lie outside the sensor of 300x200, the first is"
    ):
        ev.read(path, width=300, height=200)


def test_unsorted_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("5 0 0 1\n3 1 0 1\n5 2 0 0\n")
    options = {"width": 4, "height": 1, "time_unit": "us"}
    with pytest.raises(EventFileError, match=r"a\.txt'.*go backwards.*sort=True"):
        ev.read(path, **options)
    assert ev.read(path, **options, sort=True).events["x"].tolist() == [1, 0, 2]
    with ev.open(path, **options) as reader, pytest.raises(EventFileError, match=r"at event 1 \(5 us, then 3 us\)"):
        list(reader.chunks(n_events=1))


@pytest.mark.parametrize("suffix", [".raw", ".dat", ".aedat4", ".h5", ".es", ".csv"])
def test_any_damage_is_an_event_file_error_or_harmless(tmp_path, suffix):
    """Cut, overwrite or remove bytes anywhere: nothing but events or our own error may come out."""
    rng = np.random.default_rng(0)
    ev.write(tmp_path / f"a{suffix}", STREAM)
    data, path = (tmp_path / f"a{suffix}").read_bytes(), tmp_path / f"damaged{suffix}"
    refusals = []
    for k in range(60):
        damaged, place = bytearray(data), int(rng.integers(0, len(data) if k % 2 else min(len(data), 400)))
        length = int(rng.integers(1, 100))
        damaged[place : place + length] = (b"", rng.bytes(length), rng.bytes(1))[k % 3] if k % 5 else b"\xff" * length
        path.write_bytes(damaged[:place] if k % 7 == 0 else damaged)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ev.EventFileWarning)
                ev.read(path, allow_truncated=True)
        except EventFileError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert all(str(path) in refusal for refusal in refusals)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".bag", ".h5"])
def test_a_cut_bag_or_hdf5_file_says_what_to_do(samples, tmp_path, suffix, share):
    path = tmp_path / f"cut{suffix}"
    if suffix == ".bag":
        data = (samples / "events" / "ros1_eventpacket_evt3.bag").read_bytes()
    else:
        ev.write(path, STREAM)
        data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share) + 20])
    with pytest.raises(EventFileError, match=r"cannot be (read|opened) as .*; fix: copy .* again") as error:
        ev.read(path)
    assert "('" not in str(error.value)
