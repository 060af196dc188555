"""Training with less memory: the same network."""

import pytest
import torch

from snnfer.errors import ConfigError
from snnfer.training.classifier import train_network
from snnfer.training.config import TrainConfig


def train(clips, folder, *, model="au_snn", **recipe):
    config = TrainConfig(epochs=1, optimizer="sgd", learning_rate=0.1, threads=1, **recipe)
    args = {"au_snn": {"channels": 4, "hidden": 16}}.get(model, {})
    options = {"train": range(8), "config": config, "seed": 0, "checkpoint_dir": folder}
    return train_network(clips, model=model, model_args=args, **options)


def test_a_network_learns_the_same_in_parts(clips, tmp_path):
    whole, parts = (train(clips, tmp_path / str(n), checkpoint_every=n).model.state_dict() for n in (0, 3))
    for name, weights in whole.items():
        assert (parts[name] - weights).abs().max() <= 1e-5 * weights.abs().max().clamp_min(1e-3), name
    weights = [name for name in whole if name.endswith("conv.weight")]
    assert not all(torch.equal(parts[name], whole[name]) for name in weights)  # sums in another order


def test_a_network_without_spiking_convolutions_is_refused(clips, tmp_path):
    with pytest.raises(ConfigError, match="for a AUCNN3d.*leave train.checkpoint_every out"):
        train(clips, tmp_path, model="au_cnn3d", checkpoint_every=3)


def test_processes_and_parts_are_refused_together():
    with pytest.raises(ConfigError, match=r"checkpoint_every = 4 with several processes.*set train.checkpoint_every=0"):
        TrainConfig(checkpoint_every=4, devices=2)
    with pytest.raises(ConfigError, match=r"train.checkpoint_every = -1; expected 0 or more"):
        TrainConfig(checkpoint_every=-1)
