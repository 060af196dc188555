"""``snnfer convert``: from a trained folder to a spiking one that other commands read."""

import json

import numpy as np
import pytest
import torch

from snnfer import load_model
from snnfer.cli import main as cli
from snnfer.cli._export_input import load_exported, load_images
from snnfer.datasets import ManifestDataset
from snnfer.representations import TIE


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNNFER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def trained(module_toy_manifest, tmp_path_factory):
    """A small evtransfer, trained for one epoch on two of three people."""
    folder = tmp_path_factory.mktemp("model") / "evtransfer"
    settings = ["data.size=[16,16]", "data.crop=none", "model.width=4", "model.hidden=8", "train.epochs=1"]
    command = ["train", str(module_toy_manifest), "--model", "evtransfer", "--out", str(folder), "--hold-out", "cleo"]
    assert cli.main([*command, *(part for setting in settings for part in ("--set", setting))]) == 0
    return folder


def test_convert_writes_a_folder_a_picture_and_a_report(trained, module_toy_manifest, tmp_path, capsys):
    out, picture, report = tmp_path / "snn", tmp_path / "curve.png", tmp_path / "report.json"
    command = ["convert", str(trained), "--calibration", str(module_toy_manifest), "--steps", "6", "--out", str(out)]
    assert cli.main([*command, "--plot", str(picture), "--json", str(report)]) == 0
    text = capsys.readouterr().out
    assert "measured on cleo, who were not trained on" in text
    assert "of anna, ben" in text
    assert picture.stat().st_size > 5000
    values = json.loads(report.read_text())
    assert [row["n_steps"] for row in values["curve"]] == [1, 2, 4, 6]
    snn, ann = load_model(out), load_model(trained)
    assert snn.class_names == ann.class_names
    assert (snn.mean, snn.std) == (ann.mean, ann.std)
    assert snn.training["conversion"]["curve"] == values["curve"]
    x = torch.randn(2, 3, 3, 16, 16)
    assert snn.model.n_steps == 6
    assert snn.model(x).shape == ann.model(x).shape
    snn.model.n_steps = 256
    torch.testing.assert_close(snn.model(x), ann.model(x), rtol=0.2, atol=0.1)
    recording = next(module_toy_manifest.glob("cleo*.h5"))
    scores = {}
    for folder in (out, trained):  # probabilities of the same windows
        csv = tmp_path / f"{folder.name}.csv"
        assert cli.main(["predict", str(folder), str(recording), "--box", "0,0,32,32", "--csv", str(csv)]) == 0
        scores[folder] = np.loadtxt(csv, delimiter=",", skiprows=1)
        np.testing.assert_allclose(scores[folder][:, 2:].sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(scores[out][:, :2], scores[trained][:, :2])
    assert cli.main(["profile", str(out), "--data", str(module_toy_manifest), "--clips", "1"]) == 0
    assert "spikes" in capsys.readouterr().out


def test_images_are_the_windows_that_training_takes(module_toy_manifest, tmp_path):
    folder = tmp_path / "evtransfer"
    settings = ["data.size=[16,16]", "data.crop=none", "model.width=4", "model.hidden=8", "train.epochs=1",
                "windows.min_events=200", "windows.stride=2", "windows.within=clip"]  # fmt: skip
    command = ["train", str(module_toy_manifest), "--model", "evtransfer", "--out", str(folder), "--hold-out", "cleo"]
    assert cli.main([*command, *(part for setting in settings for part in ("--set", setting))]) == 0
    exported = load_exported(str(folder))
    found = load_images(exported, str(module_toy_manifest))
    data = ManifestDataset.read(module_toy_manifest).select(["cleo"])
    wanted, all_windows = [], 0
    for clip, label in zip(data.clips, data.labels, strict=True):
        stream, step = data.load(clip), exported.trained.input.window_us
        tie = TIE(step, size=(16, 16), n_steps=1)
        start, n_valid = exported.trained.input.interval(clip)
        t = stream.events["t"]
        starts = [start + k * step for k in range(n_valid)]
        full = [at for at in starts if ((t >= at) & (t < at + step)).sum() >= 200][::2]
        wanted += [
            (tie(stream, t_start_us=at, t_end_us=at + step, t_origin_us=clip.t_start_us)[0], label) for at in full
        ]
        all_windows += n_valid
    assert 0 < len(wanted) < all_windows / 2
    assert found.labels.tolist() == [label for _, label in wanted]
    torch.testing.assert_close(found.x, torch.stack([(x - 127.5) / 127.5 for x, _ in wanted]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "--steps 0; expected a number above 0"),
        (["--plot", "curve.gif"], "a picture named 'curve.gif'"),
        (["--tolerance", "3"], "--tolerance 3.0"),
        (["--percentile", "0"], "percentile = 0.0"),
    ],
)
def test_bad_arguments_end_with_code_2(trained, module_toy_manifest, tmp_path, capsys, arguments, message):
    command = ["convert", str(trained), "--calibration", str(module_toy_manifest), "--out", str(tmp_path / "snn")]
    assert cli.main([*command, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "snn").exists()


def test_untrained_models_and_spiking_ones_are_refused(module_toy_manifest, tmp_path, capsys):
    command = ["--calibration", str(module_toy_manifest), "--out", str(tmp_path / "snn")]
    assert cli.main(["convert", "evtransfer", *command]) == 2
    assert "the untrained model 'evtransfer'" in capsys.readouterr().err
