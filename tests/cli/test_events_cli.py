"""``snnfer events``: what users see, for good input and for every kind of bad input."""

import json
import time

import numpy as np
import pytest

import snnfer.events as ev
from snnfer.cli.main import main
from snnfer.representations import REPRESENTATIONS, TIE

STREAM = ev.EventStream.from_arrays(
    1000 + np.arange(1000) * 200, np.arange(1000) % 40, np.arange(1000) // 25 % 30, np.arange(1000) % 4 == 0, 40, 30
)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "clip.raw"
    ev.write(path, STREAM)
    return path


def run(capsys, *arguments):
    code = main(["events", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_info(capsys, recording):
    code, out, err = run(capsys, "info", recording)
    assert (code, err) == (0, "")
    rows = {line[:10].strip(): line[11:] for line in out.splitlines()}
    assert rows == {
        "file": str(recording),
        "format": "RAW EVT3",
        "sensor": "40 x 30 pixels",
        "events": "1,000",
        "polarity": "25.0% ON, 75.0% OFF",
        "start": "1000 us",
        "duration": "0.199800 s",
        "mean rate": "5,005 events/s",
        "peak rate": "5,000 events/s (busiest 10 ms)",
        "frames": "none",
    }


def test_info_as_json(capsys, recording):
    code, out, _ = run(capsys, "info", recording, "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["n_events"], facts["duration_us"], facts["on_share"], facts["n_frames"]) == (1000, 199_800, 0.25, {})


def test_info_of_an_empty_recording(capsys, tmp_path):
    ev.write(tmp_path / "none.dat", STREAM.slice_time(0, 1))
    code, out, _ = run(capsys, "info", tmp_path / "none.dat")
    assert code == 0
    assert "events     0\npolarity   -\n" in out


def test_convert(capsys, recording, tmp_path):
    code, out, err = run(capsys, "convert", recording, tmp_path / "clip.aedat4")
    assert (code, out, err) == (0, f"1,000 events written to {tmp_path / 'clip.aedat4'}\n", "")
    assert np.array_equal(ev.read(tmp_path / "clip.aedat4").events, STREAM.events)
    assert run(capsys, "convert", tmp_path / "clip.aedat4", tmp_path / "b.raw", "--encoding", "evt2")[0] == 0
    assert ev.summarise(tmp_path / "b.raw").format == "RAW EVT2"


def test_convert_never_replaces_the_recording_itself(capsys, recording, tmp_path):
    before = recording.read_bytes()
    (tmp_path / "link.raw").symlink_to(recording)
    for target in (recording, tmp_path / "link.raw"):
        code, _, error = run(capsys, "convert", recording, target, "--encoding", "evt2")
        assert code == 2
        assert f"'{target}' is the file to convert itself" in error
    assert recording.read_bytes() == before


def test_view_writes_films_and_sheets(capsys, recording, tmp_path):
    import av
    from PIL import Image

    for name, n_pictures in (("a.mp4", 5), ("a.gif", 5), ("a.png", 5)):
        code, out, _ = run(capsys, "view", recording, "--out", tmp_path / name)
        assert (code, out) == (0, f"{n_pictures} pictures of 1,000 events written to {tmp_path / name}\n")
    with av.open(str(tmp_path / "a.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert film.streams.video[0].average_rate == 25
    assert len(frames) == 5
    assert frames[0].shape == (30 * 8 + 24, 40 * 8, 3)
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.info["duration"]) == (5, 40)
    with Image.open(tmp_path / "a.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    on, off = (np.abs(pixels - colour).sum(axis=2) < 30 for colour in ((0xD5, 0x5E, 0), (0, 0x72, 0xB2)))
    assert on.sum() > 100
    assert off.sum() > on.sum()  # 75 % OFF


def test_view_of_a_part(capsys, recording, tmp_path):
    code, out, _ = run(capsys, "view", recording, "--out", tmp_path / "a.gif", "--start", 0.1, "--end", 0.15)
    expected = len(STREAM.slice_time(101_000, 151_000))
    assert (code, out.split(" written")[0]) == (0, f"2 pictures of {expected} events")


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_view_shows_every_representation(capsys, recording, tmp_path, name):
    from PIL import Image

    code, out, err = run(capsys, "view", recording, "--representation", name, "--out", tmp_path / "a.png")
    assert (code, err) == (0, "")
    assert out.startswith("5 pictures of 1,000 events")
    with Image.open(tmp_path / "a.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    first = pixels[6 : 6 + 240, 6 : 6 + 320]
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 1  # not one flat colour


def test_help_of_view_names_every_representation(capsys):
    with pytest.raises(SystemExit):
        main(["events", "view", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in REPRESENTATIONS)


def test_view_of_tie_is_the_image_itself(capsys, recording, tmp_path):
    """Each pixel of the sensor is a block of 8 x 8 in the picture's red, green and blue; --start keeps time zero."""
    from PIL import Image

    settings = ("--representation", "tie", "--set", "measure=t", "--set", "window_us=60000")
    assert run(capsys, "view", recording, *settings, "--start", 0.1, "--out", tmp_path / "a.png")[0] == 0
    with Image.open(tmp_path / "a.png") as sheet:
        shown = np.asarray(sheet.convert("RGB"))[6 : 6 + 240 : 8, 6 : 6 + 320 : 8]
    part = STREAM.slice_time(101_000, 161_000)
    tie = TIE(60_000, measure="t")
    expected = tie(part, t_start_us=part.t_start_us, t_origin_us=1000)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(shown, expected)


def test_view_with_impossible_settings(capsys, recording, tmp_path):
    for given, message in (
        (("--representation", "ti"), "unknown representation 'ti'"),
        (("--representation", "tie", "--set", "measur=t0"), "did you mean 'measure'?"),
        (("--representation", "tie", "--set", "kernel=t2"), "t2"),
        (("--representation", "tie", "--set", "weights=nowhere.pth"), "no file 'nowhere.pth'"),
        (("--representation", "tie", "--set", "measure"), "expected key=value"),
        (("--window-ms", "0"), "a window of 0 us"),
    ):
        code, _, error = run(capsys, "view", recording, *given, "--out", tmp_path / "a.png")
        assert code == 2, given
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "a.png").exists()


def write_noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(3000))


def cut_raw(path):
    ev.write(path, STREAM)
    path.write_bytes(path.read_bytes()[:-1])


def write_raw_without_geometry(path):
    ev.write(path, STREAM)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(line for line in lines if b"geometry" not in line and b"format" not in line))


BAD = {
    "missing": ("a.raw", lambda path: None, "no file '"),
    "empty": ("a.raw", lambda path: path.write_bytes(b""), "is empty"),
    "truncated": ("a.raw", cut_raw, "999 events can be read, then"),
    "random bytes": ("a.aedat4", write_noise, "is not an event file that snnfer knows"),
    "another suffix": ("a.jpg", write_noise, "is not an event file that snnfer knows"),
    "no geometry": ("a.raw", write_raw_without_geometry, "--width and --height"),
    "outside": (
        "a.txt",
        lambda path: path.write_text("40 30\n1 50 2 0\n"),
        "1 of 1 events lie outside the sensor of 40x30",
    ),
    "unsorted": ("a.txt", lambda path: path.write_text("40 30\n5 1 2 0\n1 1 2 0\n"), "event times go backwards"),
}


@pytest.mark.parametrize("command", ["info", "view", "convert"])
@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(capsys, tmp_path, command, kind):
    name, write, message = BAD[kind]
    source, out = tmp_path / name, tmp_path / "out"
    out.mkdir()
    write(source)
    target = {"info": [], "view": ["--out", out / "x.mp4"], "convert": [out / "x.h5"]}[command]
    unit = ["--time-unit", "us"] if name.endswith(".txt") else []
    code, printed, error = run(capsys, command, source, *target, *unit)
    assert code == 2
    assert printed == ""
    assert error.startswith("snnfer: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert list(out.iterdir()) == []


def test_text_without_unit(capsys, tmp_path):
    (tmp_path / "a.txt").write_text("40 30\n1 5 2 0\n")
    code, _, error = run(capsys, "info", tmp_path / "a.txt")
    assert code == 2
    assert "--time-unit s on the command line" in error


def test_unsorted_times_are_sorted_on_request(capsys, tmp_path):
    order = np.random.default_rng(0).permutation(len(STREAM))
    rows = np.stack([STREAM.events[name].astype(int) for name in ("t", "x", "y", "p")], axis=1)
    source, target = tmp_path / "a.txt", tmp_path / "b.h5"
    np.savetxt(source, rows[order], fmt="%d", header="40 30", comments="")
    for command in (["info", source], ["view", source, "--out", tmp_path / "a.png"], ["convert", source, target]):
        code, _, error = run(capsys, *command, "--time-unit", "us")
        assert (code, error.count("--sort on the command line")) == (2, 1)
        assert run(capsys, *command, "--time-unit", "us", "--sort")[::2] == (0, "")
    assert np.array_equal(ev.read(target).events, STREAM.events)
    assert ev.summarise(source, time_unit="us", sort=True).duration_us == STREAM.duration_us


def test_what_can_be_saved_of_a_cut_file(capsys, tmp_path):
    cut_raw(tmp_path / "a.raw")
    code, out, error = run(capsys, "convert", tmp_path / "a.raw", tmp_path / "b.h5", "--allow-truncated")
    assert (code, out) == (0, f"999 events written to {tmp_path / 'b.h5'}\n")
    assert error.startswith("snnfer: warning: ")
    assert "the last word has 1 of 2 bytes" in error


def test_wrong_suffix_warns_and_goes_on(capsys, recording, tmp_path):
    recording.rename(tmp_path / "clip.es")
    code, out, error = run(capsys, "info", tmp_path / "clip.es")
    assert (code, "RAW EVT3" in out) == (0, True)
    assert "is named .es, but its content is raw" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.avi"], "expected a suffix of .mp4 .gif .png"),
        (["--out", "a.gif", "--fps", "30"], "use 10, 20, 25 or 50, or write .mp4"),
        (["--out", "a.mp4", "--fps", "0"], "fps = 0; expected a value above 0"),
        (["--out", "a.mp4", "--window-ms", "0"], "a window of 0 us"),
        (["--out", "a.mp4", "--start", "7"], "--start 7; expected a range inside the recording, 0 to 0.200 s"),
        (["--out", "a.mp4", "--start", "0.1", "--end", "0.05"], "--start 0.1 --end 0.05"),
        (["--out", "a.mp4", "--start", "0.00005", "--end", "0.0001"], "a recording without events"),
    ],
)
def test_impossible_views(capsys, recording, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(capsys, "view", recording, *arguments)
    assert code == 2
    assert message in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.raw"]


def test_help_is_quick_and_names_everything(capsys):
    start = time.perf_counter()
    with pytest.raises(SystemExit) as stop:
        main(["events", "--help"])
    assert stop.value.code == 0
    assert time.perf_counter() - start < 1
    out = capsys.readouterr().out
    assert all(name in out for name in ("info", "view", "convert"))


def test_folders_and_impossible_sizes_are_named(tmp_path, capsys):
    ev.write(tmp_path / "a.h5", STREAM)
    (tmp_path / "out.h5").mkdir()
    assert main(["events", "convert", str(tmp_path / "a.h5"), str(tmp_path / "out.h5")]) == 2
    assert "out.h5' is a folder" in capsys.readouterr().err
    assert main(["events", "info", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert main(["events", "info", str(tmp_path / "a.h5"), "--width", "0", "--height", "-4"]) == 2
    assert "width and height of 1 or more" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "out.h5"]
