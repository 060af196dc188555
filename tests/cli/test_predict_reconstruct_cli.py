"""``snnfer predict`` with networks of single windows, and ``--reconstruct``, as a user types them."""

import csv
import shutil
from typing import Any

import numpy as np
import pytest
import torch

from snnfer import events
from snnfer.cli.main import main
from snnfer.datasets import ClipInput
from snnfer.events import EventStream
from snnfer.events.hdf5 import write_hdf5
from snnfer.models import create_model, encoder_from
from snnfer.plot.activity import event_frame_image
from snnfer.representations import CountFrames
from snnfer.training import TrainedModel, save_model

av = pytest.importorskip("av")
EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
SMALL = {"size": [32, 32], "width": 4}
WHOLE = ["--no-face", "whole"]


def trained(name, **kwargs) -> Any:
    """An untrained network for TIE images of 32 x 32."""
    torch.manual_seed(0)
    model: Any = create_model(name, **SMALL, **kwargs).eval()
    given = ClipInput(window_us=33_333, n_steps=3, size=(32, 32), representation="tie")
    is_generator = name == "pix2pix"
    return TrainedModel(model, given, () if is_generator else EXPRESSIONS, (127.5,) * 3, (127.5,) * 3, {})


def save_both(folder, name):
    """A classifier with its generator, untrained."""
    generator = trained("pix2pix")
    classifier = trained(name, hidden=8)
    classifier.model.load_encoder(encoder_from(generator.model))
    save_model(folder, classifier)
    save_model(folder / "generator", generator)
    return folder


@pytest.fixture
def model_dir(tmp_path):
    return save_both(tmp_path / "model", "evtransfer_lstm")


@pytest.fixture
def recording(tmp_path):
    """300 ms at 32 x 32 with events in the windows 0 to 2 and 5 to 8, none in 3 and 4."""
    rng = np.random.default_rng(0)
    t = np.sort(np.concatenate([rng.integers(0, 99_000, 900), rng.integers(168_000, 299_999, 1200), [0, 300_500]]))
    x, y = rng.integers(0, 32, (2, len(t)))
    write_hdf5(tmp_path / "clip.h5", EventStream.from_arrays(t, x, y, rng.integers(0, 2, len(t)), 32, 32))
    return tmp_path / "clip.h5"


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(stream)]


def read_rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["evtransfer", "evtransfer_lstm"])
def test_every_window_with_events_gets_its_probabilities(name, recording, tmp_path, capsys):
    """Against the network called directly: an LSTM sees up to three windows, from rest after a gap."""
    model_dir = save_both(tmp_path / "model", name)
    table = tmp_path / "s.csv"
    assert main(["predict", str(model_dir), str(recording), "--box", "0,0,32,32", "--csv", str(table)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " - " in line]
    rows = read_rows(table)
    busy = [0, 1, 2, 5, 6, 7, 8]
    assert [int(row["t_start_us"]) for row in rows] == [33_333 * k for k in busy]
    assert [int(row["t_end_us"]) for row in rows] == [33_333 * (k + 1) for k in busy]
    assert len(lines) == len(busy)

    from snnfer.training import load_model

    network: Any = load_model(model_dir)
    stream = events.read(recording)
    x = network.normalise(
        torch.cat(
            [
                ClipInput(window_us=33_333, n_steps=1, size=(32, 32), representation="tie")(
                    stream, t_start_us=33_333 * k, n_valid=1, box=(0, 0, 32, 32), t_origin_us=0
                )
                for k in busy
            ]
        )[:, None]
    )
    with torch.no_grad():
        expected = torch.cat([network.model.forward_steps(part).softmax(2)[:, 0] for part in (x[:3], x[3:])])
    scores = np.array([[float(row[name]) for name in EXPRESSIONS] for row in rows])
    np.testing.assert_allclose(scores, expected.numpy(), atol=2e-6)
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)


def test_spans_of_windows_average(model_dir, recording, tmp_path):
    options = ["--box", "0,0,32,32", "--window-ms", "99", "--hop-ms", "66", "--csv", str(tmp_path / "s.csv")]
    assert main(["predict", str(model_dir), str(recording), *options]) == 0
    rows = read_rows(tmp_path / "s.csv")
    assert [int(row["t_start_us"]) for row in rows] == [66_000 * k for k in range(5)]
    assert sum(float(rows[0][name]) for name in EXPRESSIONS) == pytest.approx(1, abs=1e-5)


def test_the_film_shows_events_reconstruction_and_scores(model_dir, recording, tmp_path, capsys):
    film, table = tmp_path / "out.mp4", tmp_path / "s.csv"
    options = ["--box", "0,0,32,32", "--reconstruct", str(film), "--csv", str(table)]
    assert main(["predict", str(model_dir), str(recording), *options]) == 0
    assert f"film: {film} (9 windows)" in capsys.readouterr().out
    assert len(read_rows(table)) == 7
    frames = decode(film)
    assert len(frames) == 9
    side, top = 32 * 11, 20
    assert frames[0].shape[1] == 2 * side
    panels = [(frame[top : top + side, :side], frame[top : top + side, side:]) for frame in frames]
    for k in (3, 4):  # nothing on the left, black with words on the right
        assert panels[k][0].mean() > 250
        assert np.median(panels[k][1]) < 5
        assert panels[k][1].max() > 150
    counts = CountFrames(33_333, n_steps=1)(events.read(recording), t_start_us=0, t_end_us=33_333)[0].numpy()
    expected = event_frame_image(counts, full_count=max(1.0, np.quantile(counts[counts > 0], 0.95)))
    shown = panels[0][0].reshape(32, 11, 32, 11, 3)[:, 3:8, :, 3:8].mean((1, 3))
    assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.8
    assert all(40 < panels[k][1].mean() < 215 for k in (0, 1, 2, 5, 6, 7, 8))  # an untrained network: grey


def test_the_reconstruction_in_the_film_is_the_network_s(recording, tmp_path):
    network = trained("pix2pix")
    with torch.no_grad():
        network.model.output.bias.copy_(torch.tensor([1.0, -1.0, 0.0]))  # tanh: reddish for every input
    save_model(tmp_path / "generator", network)
    film = tmp_path / "out.gif"
    options = ["--box", "0,0,32,32", "--reconstruct", str(film)]
    assert main(["predict", str(tmp_path / "generator"), str(recording), *options]) == 2  # 30 pictures per second
    film = film.with_suffix(".mp4")
    assert main(["predict", str(tmp_path / "generator"), str(recording), *options[:-1], str(film)]) == 0
    frame = decode(film)[0]
    assert frame.shape[0] == 20 + 32 * 11 + 20 + 6  # no bars without classes
    colour = frame[20 : 20 + 352, 352:].mean((0, 1))
    assert np.abs(colour - 255 * (np.tanh([1.0, -1.0, 0.0]) + 1) / 2).max() < 20


def test_real_recording(model_dir, samples, tmp_path, capsys):
    film = tmp_path / "out.mp4"
    recording = samples / "events" / "dvxplorer_face.aedat4"
    assert main(["predict", str(model_dir), str(recording), *WHOLE, "--reconstruct", str(film), "--top", "2"]) == 0
    stream = events.read(recording)
    assert len(decode(film)) == stream.duration_us // 33_333
    assert "film:" in capsys.readouterr().out


def test_wrong_uses_are_one_sentence(model_dir, recording, tmp_path, capsys):
    def refuse(*arguments, model=model_dir):
        film = tmp_path / "out.mp4"
        command = ["predict", str(model), str(recording), "--box", "0,0,32,32", *arguments]
        assert main(command) == 2
        assert not film.exists()
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    film = ["--reconstruct", str(tmp_path / "out.mp4")]
    assert "a suffix of .mp4 .gif" in refuse("--reconstruct", "out.avi")
    assert "--window-ms with --reconstruct" in refuse(*film, "--window-ms", "99")
    assert "the windows of the model set the speed; fix: write .mp4" in refuse("--reconstruct", "out.gif")
    generator = model_dir / "generator"
    assert "reconstructs and has no classes" in refuse(model=generator)
    assert "--csv for a model that has no classes" in refuse(*film, "--csv", str(tmp_path / "s.csv"), model=generator)
    bad = tmp_path / "bad"
    shutil.copytree(model_dir, bad)
    shutil.rmtree(bad / "generator")
    assert "classifies and holds no generator" in refuse(*film, model=bad)
    save_model(bad / "generator", trained("evtransfer"))
    assert "is a classifier; expected a model that reconstructs" in refuse(*film, model=bad)


def test_a_recording_without_events_in_the_box(model_dir, recording, capsys):
    assert main(["predict", str(model_dir), str(recording), "--box", "100,100,32,32"]) == 2
    assert "no window with events in the face box" in capsys.readouterr().err


def test_generator_and_classifier_must_share_their_windows(model_dir, recording, tmp_path, capsys):
    from dataclasses import replace

    other = trained("pix2pix")
    save_model(model_dir / "generator", replace(other, input=replace(other.input, window_us=10_000)))
    film = ["--reconstruct", str(tmp_path / "out.mp4")]
    assert main(["predict", str(model_dir), str(recording), *film]) == 2
    assert "expected the 33333 us of its classifier" in capsys.readouterr().err


def test_a_network_of_whole_clips_has_no_film(recording, tmp_path, capsys):
    torch.manual_seed(0)
    model = create_model("au_cnn3d", n_classes=2, size=[32, 32], channels=[2, 2, 2, 2], hidden=4).eval()
    save_model(
        tmp_path / "m", TrainedModel(model, ClipInput(window_us=33_333), ("AU1", "AU2"), (0.0,) * 2, (1.0,) * 2, {})
    )
    save_model(tmp_path / "m" / "generator", trained("pix2pix"))
    film = ["--reconstruct", str(tmp_path / "out.mp4")]
    assert main(["predict", str(tmp_path / "m"), str(recording), *film]) == 2
    assert "model 'au_cnn3d' reads whole clips" in capsys.readouterr().err
