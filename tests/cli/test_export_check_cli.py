"""``snnfer export check``, and the clips that exports calibrate and test with."""

import json
from dataclasses import replace

import pytest
import torch

from snnfer import create_model
from snnfer.cli import main as cli
from snnfer.cli._export_input import load_calibration, load_clips, load_exported
from snnfer.datasets import ClipInput
from snnfer.errors import ConfigError, DatasetError, ProtocolError
from snnfer.training import TrainedModel, save_model

NAMES = ("AU2", "AU12", "AU45")


@pytest.fixture(autouse=True)
def only_export(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("export",))
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model_dir(tmp_path):
    """A model folder as training on anna and ben would leave it."""
    torch.manual_seed(0)
    model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=16, votes=2)
    clip_input = ClipInput(n_steps=10, size=(16, 16), representation="binary_frames")
    training = {"data": "toy", "train_subjects": ["anna", "ben"], "crop": "none"}
    trained = TrainedModel(model.eval(), clip_input, NAMES, (0.0, 0.0), (1.0, 1.0), training)
    save_model(tmp_path / "model", trained)
    return str(tmp_path / "model")


def test_check_of_a_name_and_of_a_folder(model_dir, tmp_path, capsys):
    assert cli.main(["export", "check", "au_snn"]) == 0
    out = capsys.readouterr().out
    assert "layers.fc1.linear does not fit: a neuron has 8,192 input axons" in out
    assert "lava: exportable after folding" in out
    assert cli.main(["export", "check", model_dir, "--json", str(tmp_path / "check.json")]) == 0
    values = json.loads((tmp_path / "check.json").read_text())
    assert values["exportable"] == {"lava": True, "nir": True}
    assert values["loihi1"]["fits"]
    assert capsys.readouterr().out.splitlines()[-2] == "input: spikes"


@pytest.mark.parametrize("override", ["channels=x", "channels=-3", "channels=1.5", "size=64"])
def test_values_that_no_model_can_be_built_with(override, capsys):
    assert cli.main(["export", "check", "au_snn", "--set", override]) == 2
    error = capsys.readouterr().err
    assert f"'au_snn' cannot be built with {override}" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "mean", "line"),
    [
        ({"representation": "count_frames"}, 0.0, "input: event counts, 8 bits in graded spikes: Loihi 2"),
        ({"modality": "rgb"}, 0.5, "input: the model reads values shifted by"),
    ],
)
def test_check_says_what_the_input_means(changes, mean, line, model_dir, tmp_path, capsys):
    trained = load_exported(model_dir).trained
    other = replace(trained, input=replace(trained.input, **changes), mean=(mean, mean))
    save_model(tmp_path / "other", other)
    assert cli.main(["export", "check", str(tmp_path / "other")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(line)


def test_check_of_a_network_that_no_chip_has(capsys):
    assert cli.main(["export", "check", "au_cnn3d"]) == 0
    out = capsys.readouterr().out
    assert "sees later steps" in out
    assert out.rstrip().endswith("NIR: not exportable")
    assert cli.main(["export", "check", "au_snn", "--set", "channels=16", "--set", "blocks=3"]) == 0
    assert "does not fit" not in capsys.readouterr().out


def test_bad_input_is_one_sentence(model_dir, capsys):
    for arguments, message in (
        (["au_snm"], "unknown model 'au_snm'"),
        (["./nowhere"], "no model in './nowhere'"),
        ([model_dir, "--set", "channels=8"], "--set with a model folder"),
        (["au_snn", "--set", "chanels=8"], "unknown argument 'chanels'"),
    ):
        assert cli.main(["export", "check", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error


def test_clips_of_others_test_and_clips_of_training_subjects_calibrate(model_dir, toy_manifest):
    exported = load_exported(model_dir)
    clips = load_clips(exported, str(toy_manifest))
    assert clips.subjects == ("cleo",)
    assert clips.x.shape == (10, 6, 2, 16, 16)
    assert sorted(clips.x.unique().tolist()) == [0.0, 1.0]
    assert clips.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert clips.lengths.tolist() == [10] * 6
    calibration = load_calibration(exported, str(toy_manifest), n_clips=4)
    assert calibration.subjects == ("anna", "ben")
    assert not set(calibration.names) & set(clips.names)
    assert load_clips(exported, str(toy_manifest), n_clips=2).names == (clips.names[0], clips.names[-1])


def test_labels_are_the_classes_of_the_model(model_dir, toy_manifest):
    exported = load_exported(model_dir)
    reordered = replace(exported, trained=replace(exported.trained, class_names=("AU45", "AU2", "AU12")))
    assert load_clips(reordered, str(toy_manifest)).labels.tolist() == [1, 1, 2, 2, 0, 0]
    fewer = replace(exported, trained=replace(exported.trained, class_names=("AU2", "AU12")))
    with pytest.raises(DatasetError, match="class 'AU45'; expected classes of the model: AU2, AU12"):
        load_clips(fewer, str(toy_manifest))


def test_clips_that_would_deceive_are_refused(model_dir, toy_manifest):
    exported = load_exported(model_dir)

    def trained_on(**training: object):
        return replace(exported, trained=replace(exported.trained, training={"crop": "none", **training}))

    everyone = trained_on(data="toy", train_subjects=["anna", "ben", "cleo"])
    with pytest.raises(ProtocolError, match="no clip of a subject that the model was not trained on; .*--hold-out"):
        load_clips(everyone, str(toy_manifest))
    elsewhere = trained_on(data="other", train_subjects=["anna"])  # the same name, another person
    with pytest.raises(ProtocolError, match="no clip of a subject that the model was trained on"):
        load_calibration(elsewhere, str(toy_manifest))
    assert load_clips(elsewhere, str(toy_manifest)).subjects == ("anna", "ben", "cleo")
    with pytest.raises(ConfigError, match="untrained model 'au_snn'"):
        load_clips(load_exported("au_snn"), str(toy_manifest))
    with pytest.raises(ConfigError, match="0 clips; expected a number above 0"):
        load_clips(exported, str(toy_manifest), n_clips=0)
