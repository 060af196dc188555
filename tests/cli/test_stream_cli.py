"""``snnfer stream`` as a user types it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from snnfer import create_model, events
from snnfer.cli.main import main
from snnfer.datasets import ClipInput
from snnfer.events import EventStream
from snnfer.training import save_model

BOX = ["--box", "2,1,24,24"]


@pytest.fixture
def model_dir(tmp_path, make_trained):
    trained = make_trained()
    with torch.no_grad():  # neurons that fire even more
        for linear in (trained.model.layers.fc1.linear, trained.model.layers.fc2.linear):
            linear.weight.mul_(5)
    save_model(tmp_path / "model", trained)
    return str(tmp_path / "model")


def recording_of(*, duration_us=400_000, n=8000, seed=0):
    rng = np.random.default_rng(seed)
    t = np.concatenate([[0], np.sort(rng.integers(0, duration_us, n)), [duration_us]])
    x, y = rng.integers(0, 32, (2, n + 2))
    return EventStream.from_arrays(t, x, y, rng.integers(0, 2, n + 2), 32, 32)


@pytest.fixture
def recording(tmp_path):
    """400 ms at 32 x 32: 13 windows of 30 ms."""
    events.write(tmp_path / "clip.h5", recording_of())
    return str(tmp_path / "clip.h5")


def json_lines(capsys):
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return lines[:-1], lines[-1]["summary"]


def test_one_line_per_window_and_a_summary(recording, model_dir, capsys):
    assert main(["stream", recording, "--model", model_dir, *BOX]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if " s  " in line]
    assert len(lines) == 13
    assert lines[1].split()[:3] == ["0.030", "-", "0.060"]
    assert all(" ms  AU" in line for line in lines)
    assert "13 windows of 30 ms" in out
    assert "whole stream: AU" in out
    for name in ("p50", "p90", "p99", "max"):
        assert f"  {name}" in out
    assert "late, after" not in out


@pytest.mark.parametrize("suffix", ["h5", "aedat4", "raw", "dat", "es", "csv"])
def test_every_format_gives_what_predict_gives(tmp_path, model_dir, suffix, capsys):
    pytest.importorskip("faery")
    path = str(tmp_path / f"clip.{suffix}")
    events.write(path, recording_of())
    options = ["--time-unit", "us"] if suffix == "csv" else []
    assert main(["stream", path, "--model", model_dir, *BOX, "--json", *options]) == 0
    windows, summary = json_lines(capsys)
    whole = ["--window-ms", "5000", "--hop-ms", "5000", "--csv", str(tmp_path / "s.csv")]
    assert main(["predict", model_dir, path, *BOX, *whole, *options]) == 0
    with (tmp_path / "s.csv").open() as file:
        (row,) = csv.DictReader(file)
    names = ("AU2", "AU12", "AU45")
    expected = [float(row[name]) for name in names]
    mean = np.mean([[window["scores"][name] for name in names] for window in windows], axis=0)
    assert [int(row["t_start_us"]), int(row["t_end_us"])] == [windows[0]["t_start_us"], windows[-1]["t_end_us"]]
    assert max(expected) > 0
    np.testing.assert_allclose(mean, expected, atol=2e-6)
    np.testing.assert_allclose([summary["scores"][name] for name in names], expected, atol=2e-6)
    assert summary["n_windows"] == len(windows) == 13


def test_the_size_of_the_sensor_can_be_given(tmp_path, model_dir, capsys):
    path = tmp_path / "clip.txt"
    stream = recording_of(n=500)
    np.savetxt(path, np.stack([stream.events[name] for name in "txyp"], 1), fmt="%d")
    command = ["stream", str(path), "--model", model_dir, *BOX, "--time-unit", "us"]
    assert main(command) == 2
    assert "--width and --height" in capsys.readouterr().err
    assert main([*command, "--width", "32", "--height", "32"]) == 0


def test_json_lines_hold_all_scores_and_every_nth_window_is_printed(recording, model_dir, capsys):
    assert main(["stream", recording, "--model", model_dir, *BOX, "--json", "--every", "5"]) == 0
    windows, summary = json_lines(capsys)
    assert [window["t_start_us"] for window in windows] == [0, 150_000, 300_000]
    assert set(windows[0]) == {"t_start_us", "t_end_us", "n_events", "latency_ms", "delay_ms", "late", "scores"}
    assert set(windows[0]["scores"]) == {"AU2", "AU12", "AU45"}
    assert summary["n_windows"] == 13
    assert summary["n_late"] is None
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"] <= summary["latency_ms"]["max"]


def test_in_real_time_it_takes_as_long_as_the_recording(recording, model_dir, capsys):
    start = time.perf_counter()
    assert main(["stream", recording, "--model", model_dir, *BOX, "--json", "--realtime"]) == 0
    assert time.perf_counter() - start > 0.39
    windows, summary = json_lines(capsys)
    assert summary["n_late"] == sum(window["late"] for window in windows)
    assert all(window["delay_ms"] >= window["latency_ms"] for window in windows)
    assert main(["stream", recording, "--model", model_dir, *BOX, "--realtime"]) == 0
    assert "late, after the end of the next window:" in capsys.readouterr().out


def test_an_interruption_prints_the_summary(tmp_path, model_dir):
    events.write(tmp_path / "long.h5", recording_of(duration_us=60_000_000, n=50_000))
    command = [sys.executable, "-m", "snnfer.cli.main", "stream", str(tmp_path / "long.h5"), "--model", model_dir]
    process = subprocess.Popen(
        [*command, *BOX, "--realtime"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
    )
    assert process.stdout is not None
    for _ in range(4):
        assert " ms  AU" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "windows of 30 ms before the interruption" in out
    assert "p99" in out
    assert "Traceback" not in err


def test_without_a_face_it_stops_or_takes_the_whole_sensor(recording, model_dir, capsys):
    pytest.importorskip("onnxruntime")
    assert main(["stream", recording, "--model", model_dir]) == 2
    assert "no face" in capsys.readouterr().err
    assert main(["stream", recording, "--model", model_dir, "--no-face", "whole", "--json"]) == 0
    captured = capsys.readouterr()
    assert "scoring the whole sensor image" in captured.err
    assert len(captured.out.splitlines()) == 14


def test_the_face_is_looked_for_at_the_beginning(recording, model_dir, monkeypatch, capsys):
    import snnfer.cli.stream as command

    def find(stream, no_face):
        print(f"looked at {stream.duration_us} us")
        return (0, 0, 32, 32)

    monkeypatch.setattr(command, "find_box", find)
    assert main(["stream", recording, "--model", model_dir, "--search-ms", "100", "--json"]) == 0
    captured = capsys.readouterr()
    looked = int(captured.err.split()[2])
    assert 99_000 < looked < 100_000
    assert len(captured.out.splitlines()) == 14


def test_models_of_whole_clips_are_refused(recording, tmp_path, make_trained, capsys):
    model = create_model("au_cnn3d", n_classes=3, size=(16, 16), channels=(2, 2, 2, 2), hidden=4).eval()
    save_model(tmp_path / "cnn", make_trained(model=model))
    assert main(["stream", recording, "--model", str(tmp_path / "cnn"), *BOX]) == 2
    assert "'au_cnn3d' reads whole clips" in capsys.readouterr().err
    frames = make_trained(input=ClipInput("gray", n_steps=8, size=(16, 16)))
    save_model(tmp_path / "gray", frames)
    assert main(["stream", recording, "--model", str(tmp_path / "gray"), *BOX]) == 2
    assert "reads frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--every", "0"], "--every 0"),
        (["--threads", "-1"], "--threads -1"),
        (["--box", "1,2,3"], "four whole numbers"),
        (["--box", "1,2,3,0"], "width and height above 0"),
        (["--model", "nowhere"], "no model in 'nowhere'"),
    ],
)
def test_bad_options_are_one_sentence(recording, model_dir, options, message, capsys):
    assert main(["stream", recording, "--model", model_dir, *BOX, *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_missing_or_too_short_recording_is_one_sentence(tmp_path, model_dir, capsys):
    assert main(["stream", str(tmp_path / "none.h5"), "--model", model_dir, *BOX]) == 2
    assert "no file" in capsys.readouterr().err
    events.write(tmp_path / "short.h5", recording_of(duration_us=10_000, n=50))
    assert main(["stream", str(tmp_path / "short.h5"), "--model", model_dir, *BOX]) == 2
    assert "too short to stream" in capsys.readouterr().err


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom snnfer.cli.main import main\n"
        "try:\n    main(['stream', '--help'])\nexcept SystemExit:\n    pass\nassert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
