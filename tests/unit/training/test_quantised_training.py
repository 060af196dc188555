"""Quantisation-aware training: when it starts, what it changes, resumed, distributed, and what is saved."""

import numpy as np
import pytest
import torch

from snnfer.converters.from_model import to_graph
from snnfer.converters.loihi import quantise, run_twin
from snnfer.converters.loihi.fake_quantise import FakeQuantiser
from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset
from snnfer.errors import ConfigError, ConversionError
from snnfer.training import TrainConfig, load_model, save_model
from snnfer.training.classifier import train_classifier

MODEL = {"channels": 4, "hidden": 16, "dropout": 0.0}


@pytest.fixture
def clips(toy_manifest, tmp_path):
    reader = ClipInput(n_steps=6, window_us=50_000, size=(16, 16), representation="binary_frames")
    return ClipTensors(ManifestDataset.read(toy_manifest), reader, ArrayCache(tmp_path / "cache"), show_progress=False)


def train(clips, folder, *, model="au_snn", model_args=None, on_epoch=None, prepare=None, validation=(), **config):
    recipe = {"epochs": 5, "batch_size": 4, "quantize": "loihi"} | config
    return train_classifier(
        clips, model=model, model_args=MODEL if model_args is None else model_args, train_subjects=("anna", "ben"),
        validation_subjects=validation, config=TrainConfig(**recipe), seed=0, checkpoint_dir=folder,
        on_epoch=on_epoch, prepare=prepare,
    )  # fmt: skip


def state(trained):
    return {name: value.clone() for name, value in trained.model.state_dict().items()}


@pytest.mark.parametrize(
    ("epochs", "share", "first"), [(100, 0.2, 80), (40, 0.2, 32), (5, 0.2, 4), (1, 0.2, 0), (3, 1.0, 0), (10, 0.25, 7)]
)
def test_the_last_epochs_are_quantised(epochs, share, first):
    recipe = {"epochs": epochs, "quantized_share": share}
    assert TrainConfig(**recipe, quantize="loihi").first_quantized_epoch == first
    assert TrainConfig(**recipe).first_quantized_epoch == epochs


def test_float_at_first_then_integers_with_fixed_statistics(clips, tmp_path, monkeypatch):
    """Epochs 1 to 4 are those of ordinary training, bit for bit; from the fifth on the integers compute."""
    calls, losses = [], {"none": [], "loihi": []}
    original = FakeQuantiser.__call__
    monkeypatch.setattr(FakeQuantiser, "__call__", lambda self, *a, **k: calls.append(1) or original(self, *a, **k))
    options = {"schedule": "constant"}
    plain, quantised = (
        train(clips, tmp_path / kind, quantize=kind, on_epoch=lambda _, loss, k=kind: losses[k].append(loss), **options)
        for kind in ("none", "loihi")
    )
    assert len(calls) == 3  # batches of 4 of 12 clips, in one epoch of five
    assert losses["none"][:4] == losses["loihi"][:4]
    assert losses["none"][4] != losses["loihi"][4]
    four = state(train(clips, tmp_path / "four", quantize="none", epochs=4, **options))
    after = state(quantised)
    statistics = {name for name in after if "running" in name or "tracked" in name}
    assert statistics
    assert all(torch.equal(after[name], four[name]) for name in statistics)
    assert not all(torch.equal(state(plain)[name], four[name]) for name in statistics)
    assert quantised.training["quantize"] == "loihi"
    assert "quantize" not in plain.training


def test_one_step_of_sgd_by_hand(clips, tmp_path):
    """w - rate * gradient of the loss at the rounded parameters, from the trained network to start from."""
    start = train(clips, tmp_path / "float", quantize="none", learning_rate=1e-2)
    trained = train(
        clips, tmp_path / "fine", prepare=lambda network: network.load_state_dict(start.model.state_dict()), epochs=1,
        batch_size=12, quantized_share=1.0, optimizer="sgd", momentum=0.0, learning_rate=0.1,
    )  # fmt: skip
    model = start.model.eval()
    batch = [clips[i] for i in clips.indices(("anna", "ben"))]
    x, labels = torch.stack([item[0] for item in batch], 1).float(), torch.tensor([item[1] for item in batch])
    before = state(start)
    model.zero_grad()
    model.load_state_dict(before | {k: v.detach() for k, v in FakeQuantiser(model).parameters().items()})
    torch.nn.functional.mse_loss(model(x), torch.nn.functional.one_hot(labels, 3).float()).backward()
    moved = 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        expected = before[name] - 0.1 * parameter.grad
        moved += int(not torch.equal(expected, before[name]))
        torch.testing.assert_close(trained.model.get_parameter(name).detach(), expected, atol=1e-6, rtol=1e-4)
    assert moved == len(list(model.parameters()))


def test_the_saved_folder_is_an_ordinary_one_with_the_integers_that_were_trained(clips, tmp_path):
    trained = train(clips, tmp_path / "run", quantized_share=0.5)
    save_model(tmp_path / "model", trained)
    loaded = load_model(tmp_path / "model").model
    assert set(loaded.state_dict()) == set(train(clips, tmp_path / "n", quantize="none", epochs=1).model.state_dict())
    integer = quantise(to_graph(loaded))
    rounded = FakeQuantiser(trained.model).parameters()
    for layer in integer.layers:
        if layer.kind == "dense":
            weight = rounded[f"{layer.name}.weight"].detach().double() * layer.scale
            np.testing.assert_allclose(weight.numpy(), layer.weight, atol=1e-3)
    x = torch.stack([clips[i][0] for i in range(6)], 1)
    scores = FakeQuantiser(trained.model)(x.float())
    torch.testing.assert_close(run_twin(integer, x).scores().float(), scores.detach(), atol=0.05, rtol=0)


class Stop(Exception):
    pass


def test_resumed_within_the_integers_it_ends_with_the_same_bits(clips, tmp_path):
    def stop(epoch, loss):
        if epoch == 4:
            raise Stop

    whole = train(clips, tmp_path / "whole", quantized_share=0.6)
    with pytest.raises(Stop):
        train(clips, tmp_path / "parts", quantized_share=0.6, on_epoch=stop)
    resumed = []
    parts = train(clips, tmp_path / "parts", quantized_share=0.6, on_epoch=lambda epoch, _: resumed.append(epoch))
    assert resumed[0] > 2
    assert all(torch.equal(state(whole)[name], value) for name, value in state(parts).items())


def test_the_best_epoch_is_that_of_the_integers(clips, tmp_path, monkeypatch):
    seen = []
    original = FakeQuantiser.__call__
    monkeypatch.setattr(
        FakeQuantiser, "__call__", lambda self, *a, **k: seen.append(self.model.training) or original(self, *a, **k)
    )
    train(clips, tmp_path, epochs=2, selection="inner_subjects", validation=("cleo",))
    assert seen == [False] * 2 + [True] * 3 + [False] * 2


def test_with_sharpness_aware_steps_and_accumulation(clips, tmp_path):
    trained = train(clips, tmp_path / "sam", sam_rho=0.05, quantized_share=1.0, epochs=1)
    assert all(torch.isfinite(value).all() for value in state(trained).values())
    one = train(clips, tmp_path / "one", quantized_share=1.0, epochs=1, batch_size=12)
    two = train(clips, tmp_path / "two", quantized_share=1.0, epochs=1, batch_size=6, accumulate=2)
    assert all(torch.allclose(state(one)[name], value, atol=1e-4) for name, value in state(two).items())


@pytest.mark.slow  # starts Python twice
def test_two_processes_give_what_one_gives(clips, tmp_path):
    recipe = {"epochs": 2, "quantized_share": 1.0, "optimizer": "sgd", "learning_rate": 0.1}
    one = train(clips, tmp_path / "one", batch_size=4, **recipe)
    two = train(clips, tmp_path / "two", batch_size=2, devices=2, **recipe)
    assert all(torch.allclose(state(one)[name], value, atol=1e-5) for name, value in state(two).items())


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"quantize": "loihi", "precision": "bf16-mixed"}, "half precision would round"),
        ({"quantized_share": 0.0}, "quantized_share = 0.0"),
        ({"quantized_share": 1.5}, "quantized_share = 1.5"),
    ],
)
def test_impossible_recipes(recipe, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**recipe)


@pytest.mark.parametrize(
    ("model", "args", "error"), [("au_cnn3d", {}, ConversionError), ("spiking_fer", {}, ConversionError)]
)
def test_networks_that_no_chip_can_have_are_refused_before_training(clips, tmp_path, model, args, error):
    started = []
    with pytest.raises(error):
        train(clips, tmp_path / "run", model=model, model_args=args, on_epoch=lambda *_: started.append(1))
    assert not started
    assert not (tmp_path / "run").exists()
