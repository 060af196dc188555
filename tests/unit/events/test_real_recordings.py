"""Every sample recording: counts agreed by several readers, and each event against independent decoders."""

import numpy as np
import pytest

import snnfer.events as ev

# name: options, format, width, height, n_events, duration in seconds
RECORDINGS = {
    "dvxplorer_face.aedat4": ({}, "AEDAT4", 320, 240, 323_963, 1.460),
    "davis346_frames_imu.aedat4": ({}, "AEDAT4", 346, 260, 78_830, 2.360),
    "evk4_evt3.raw": ({}, "RAW EVT3", 1280, 720, 1_218_618, 10.768),
    "evk4_same_recording.dat": ({}, "DAT", 1280, 720, 1_218_618, 10.768),
    "gen3_evt2.raw": ({"width": 640, "height": 480}, "RAW EVT2", 640, 480, 521_252, 0.096),
    "atis.es": ({}, "ES dvs", 320, 240, 473_225, 0.999),
    "ncars_old_header.dat": ({"width": 304, "height": 240}, "DAT", 304, 240, 2_009, 0.100),
    "nmnist.bin": ({}, "N-MNIST", 34, 34, 4_325, 0.311),
    "davis240_txyp.txt": ({"width": 240, "height": 180, "time_unit": "s"}, "text", 240, 180, 50_000, 0.170),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_counts_sizes_durations(samples, name):
    options, kind, width, height, n_events, duration_s = RECORDINGS[name]
    stream = ev.read(samples / "events" / name, **options)
    assert (stream.width, stream.height, len(stream)) == (width, height, n_events)
    assert stream.duration_us / 1e6 == pytest.approx(duration_s, abs=0.0006)
    summary = ev.summarise(samples / "events" / name, **options)
    assert (summary.format, summary.n_events, summary.duration_us) == (kind, n_events, stream.duration_us)
    assert summary.on_share == pytest.approx(stream.events["p"].mean())
    windows = np.bincount((stream.events["t"] - stream.t_start_us) // 10_000)
    assert summary.peak_rate_hz == pytest.approx(windows.max() * 100)


@pytest.mark.parametrize("name", RECORDINGS)
def test_chunks_join_to_the_whole(samples, name):
    options = RECORDINGS[name][0]
    path = samples / "events" / name
    with ev.open(path, **options) as reader:
        chunks = list(reader.chunks(n_events=9_999))
    assert all(len(chunk) == 9_999 for chunk in chunks[:-1])
    assert np.array_equal(np.concatenate(chunks), ev.read(path, **options).events)


def test_raw_and_dat_of_one_recording_agree(samples):
    raw = ev.read(samples / "events" / "evk4_evt3.raw").events
    dat = ev.read(samples / "events" / "evk4_same_recording.dat").events
    for name in ("x", "y", "p"):
        assert np.array_equal(raw[name], dat[name])
    assert np.array_equal(np.diff(raw["t"]), np.diff(dat["t"]))


@pytest.mark.parametrize("name", ["dvxplorer_face.aedat4", "davis346_frames_imu.aedat4"])
def test_aedat4_against_aedat(samples, name):
    aedat = pytest.importorskip("aedat")
    path = samples / "events" / name
    packets = [packet["events"] for packet in aedat.Decoder(path) if "events" in packet]
    expected, ours = np.concatenate(packets), ev.read(path).events
    for name, theirs in (("t", "t"), ("x", "x"), ("y", "y"), ("p", expected.dtype.names[3])):
        assert np.array_equal(ours[name], expected[theirs])


def test_aedat4_frames_against_aedat(samples):
    aedat = pytest.importorskip("aedat")
    path = samples / "events" / "davis346_frames_imu.aedat4"
    frames = [packet["frame"] for packet in aedat.Decoder(path) if "frame" in packet]
    ours = ev.read(path).frames["gray"]
    assert ours.images.shape == (59, 260, 346)
    assert np.array_equal(ours.images, np.stack([frame["pixels"] for frame in frames]))
    assert ours.t_us.tolist() == [frame["t"] for frame in frames]
    assert ev.summarise(path).n_frames == {"gray": 59}


def test_evt3_against_evt3(samples):
    evt3 = pytest.importorskip("evt3")
    path = samples / "events" / "evk4_evt3.raw"
    expected, ours = evt3.decode_file(str(path)).to_dict(), ev.read(path).events
    for name, theirs in zip(("t", "x", "y", "p"), ("timestamp", "x", "y", "polarity"), strict=True):
        assert np.array_equal(ours[name], np.asarray(expected[theirs]))


@pytest.mark.parametrize(
    "name", ["gen3_evt2.raw", "evk4_evt3.raw", "ncars_old_header.dat", "davis346_frames_imu.aedat4"]
)
def test_against_eventcv(samples, name):
    eventcv = pytest.importorskip("eventcv")
    options = RECORDINGS[name][0]
    size = {"sensor_size": (options["width"], options["height"])} if options else {}
    expected = eventcv.load(str(samples / "events" / name), **size)
    ours = ev.read(samples / "events" / name, **options).events
    columns = dict(zip("xytp", expected.numpy().T, strict=True))
    assert len(columns["t"]) == len(ours)
    for column in "xyp":
        assert np.array_equal(ours[column], columns[column] > 0 if column == "p" else columns[column])
    assert np.array_equal(np.diff(ours["t"]), np.diff(columns["t"].astype(np.int64)))


def test_es_points_up_in_the_file_and_down_here(samples):
    path = samples / "events" / "atis.es"
    data = path.read_bytes()
    ours = ev.read(path).events[0]
    dt_p, x, y = data[20], int.from_bytes(data[21:23], "little"), int.from_bytes(data[23:25], "little")
    assert (ours["t"], ours["x"], ours["y"], ours["p"]) == (dt_p >> 1, x, 239 - y, dt_p & 1)


def test_nmnist_against_a_loop(samples):
    path = samples / "events" / "nmnist.bin"
    data = path.read_bytes()
    expected = [
        (((data[i + 2] & 127) << 16) | (data[i + 3] << 8) | data[i + 4], data[i], data[i + 1], data[i + 2] >> 7)
        for i in range(0, len(data), 5)
    ]
    assert ev.read(path).events.tolist() == expected


def test_text_against_python_floats(samples):
    path = samples / "events" / "davis240_txyp.txt"
    rows = [line.split() for line in path.read_text().splitlines()]
    expected = [(round(float(t) * 1e6), int(x), int(y), int(p)) for t, x, y, p in rows]
    assert ev.read(path, width=240, height=180, time_unit="s").events.tolist() == expected


def test_ros_bag_of_event_packets(samples):
    pytest.importorskip("rosbags")
    stream = ev.read(samples / "events" / "ros1_eventpacket_evt3.bag")
    assert (len(stream), stream.width, stream.height) == (343_474, 640, 480)
