"""Optimisers, schedules, clipping and class weights against torch's own and against a pencil."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from snnfer.errors import ConfigError, DatasetError
from snnfer.training import TrainConfig
from snnfer.training.fitting import fit
from snnfer.training.losses import class_weights, cross_entropy
from snnfer.training.module import ClipClassifier
from snnfer.training.schedules import one_cycle_rate


class Clips(torch.utils.data.Dataset):
    """Twelve clips [1, 2, 3, 3] of random numbers in three unequally frequent classes."""

    labels = (0, 0, 1, 0, 2, 0, 1, 0, 0, 0, 1, 0)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        x = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(index))
        return x, self.labels[index], 1


class Network(torch.nn.Module):
    """A linear classifier behind a linear encoder."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.head = torch.nn.Linear(18, 4), torch.nn.Linear(4, 3)

    def forward(self, x, lengths=None):
        return self.head(self.encoder(x.mean(0).flatten(1)))


def trained(folder, *, n=12, model=None, **config):
    recipe = {"epochs": 2, "batch_size": 4, "loss": "cross_entropy", "schedule": "constant"} | config
    options = {"n_classes": 3, "mean": (0.0, 0.0), "std": (1.0, 1.0), "seed": 0, "class_names": ("sad", "glad", "mad")}
    return fit(
        Network() if model is None else model,
        Clips(),
        train=range(n),
        config=TrainConfig(**recipe),
        checkpoint_dir=folder,
        **options,
    )


def whole_batch(n=12):
    """Network, input and labels of a training step on all clips at once."""
    x, labels, _ = zip(*(Clips()[i] for i in range(n)), strict=True)
    return Network(), torch.stack(x, dim=1), torch.tensor(labels)


@pytest.mark.parametrize(
    ("setting", "make"),
    [
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1)),
        ({"optimizer": "adamw"}, lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
        ({"optimizer": "sgd"}, lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=0.1, momentum=0.9)),
        ({"optimizer": "sgd", "momentum": 0.0}, lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=0.1)),
    ],
)
def test_each_optimiser_is_torchs(tmp_path, setting, make):
    network, x, labels = whole_batch()
    optimizer = make(network.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(network(x), labels).backward()
        optimizer.step()
    ours = trained(tmp_path, epochs=3, batch_size=12, learning_rate=0.01, weight_decay=0.1, **setting)
    for a, b in zip(ours.parameters(), network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)  # the batch is summed in another order


@pytest.mark.parametrize("n_steps", [1, 2, 3, 4, 10, 37, 1000])
def test_one_cycle_is_torchs(n_steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.5, total_steps=n_steps, final_div_factor=0.5 / 25 / 1e-3, cycle_momentum=False
    )
    for step in range(n_steps):
        ours = one_cycle_rate(step, n_steps=n_steps, maximum=0.5, minimum=1e-3)
        assert ours == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        if step + 1 < n_steps:
            optimizer.step()
            schedule.step()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_cycle_goes_by_steps_through_the_whole_training_in_both_groups(tmp_path, monkeypatch, accumulate):
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *a, **k: [rates.append([g["lr"] for g in self.param_groups]), step(self, *a, **k)][1],
    )
    recipe = {"schedule": "onecycle", "learning_rate": 1e-2, "encoder_learning_rate": 1e-3, "epochs": 4}
    trained(tmp_path, batch_size=4, accumulate=accumulate, **recipe)  # 3 batches an epoch
    n_steps = 12 if accumulate == 1 else 8
    for group, maximum in enumerate((1e-2, 1e-3)):
        expected = [one_cycle_rate(s, n_steps=n_steps, maximum=maximum) for s in range(n_steps)]
        assert [pair[group] for pair in rates] == pytest.approx(expected, rel=1e-12)
        assert rates[-1][group] == pytest.approx(1e-6)


def test_clipping_limits_the_norm_of_all_gradients_together(tmp_path):
    network, x, labels = whole_batch()
    functional.cross_entropy(network(x), labels).backward()
    gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
    limit = 0.1 * float(gradient.norm())
    recipe = {"epochs": 1, "batch_size": 12, "optimizer": "sgd", "learning_rate": 1.0}
    moved = {}
    for clip in (0.0, limit, 10 * limit * 1.01):
        after = trained(tmp_path / f"{clip:.3f}", gradient_clip=clip, **recipe)
        pairs = zip(Network().parameters(), after.parameters(), strict=True)
        moved[clip] = torch.cat([(a - b).detach().flatten() for a, b in pairs])
    assert torch.allclose(moved[0.0], gradient, atol=1e-6)
    assert torch.allclose(moved[limit], 0.1 * gradient, atol=1e-6)
    assert torch.allclose(moved[10 * limit * 1.01], gradient, atol=1e-6)


def test_balanced_weights_are_those_of_scikit_learn():
    compute = pytest.importorskip("sklearn.utils.class_weight").compute_class_weight
    labels = np.random.default_rng(0).choice(4, 50, p=[0.6, 0.2, 0.1, 0.1])
    expected = compute("balanced", classes=np.arange(4), y=labels)
    assert np.allclose(class_weights(labels.tolist(), 4).numpy(), expected, rtol=1e-6)


def test_weighted_cross_entropy_is_torchs_without_its_division_by_the_weights():
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(6, 3, generator=generator), torch.tensor([0, 2, 1, 1, 0, 2])
    weights = torch.tensor([0.5, 2.0, 1.5])
    torchs = functional.cross_entropy(scores, labels, weights, label_smoothing=0.0)
    expected = torchs * weights[labels].sum() / 6
    assert float(cross_entropy(scores, labels, weights)) == pytest.approx(float(expected), rel=1e-6)
    smooth = (1 - 0.1) * functional.one_hot(labels, 3) + 0.1 / 3  # by hand: soft labels
    by_hand = -(smooth * weights * scores.log_softmax(1)).sum(1).mean()
    assert float(cross_entropy(scores, labels, weights, label_smoothing=0.1)) == pytest.approx(float(by_hand), rel=1e-6)
    unweighted = -(smooth * scores.log_softmax(1)).sum(1).mean()
    assert float(cross_entropy(scores, labels, label_smoothing=0.1)) == pytest.approx(float(unweighted), rel=1e-6)


@pytest.mark.parametrize("setting", [{"class_weights": "balanced"}, {"label_smoothing": 0.2}])
def test_weights_and_smoothing_reach_the_gradient_of_the_training_samples(tmp_path, setting):
    network, x, labels = whole_batch(n=8)  # classes 5, 2 and 1 times
    weights = torch.tensor([8 / 15, 8 / 6, 8 / 3]) if "class_weights" in setting else None
    cross_entropy(network(x), labels, weights, label_smoothing=setting.get("label_smoothing", 0.0)).backward()
    recipe = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "learning_rate": 1.0}
    after = trained(tmp_path, n=8, **recipe, **setting)
    for before, now in zip(network.parameters(), after.parameters(), strict=True):
        assert torch.allclose(before - now, before.grad, atol=1e-6)


def test_weighted_batches_that_are_accumulated_are_one_large_batch(tmp_path):
    recipe = {"class_weights": "balanced", "optimizer": "sgd", "learning_rate": 0.1}
    whole, parts = (
        trained(tmp_path / str(size), batch_size=size, accumulate=12 // size, **recipe).state_dict() for size in (12, 4)
    )
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)


def test_a_class_without_a_training_sample_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"class 'mad' has no training sample; .*train.class_weights=none"):
        trained(tmp_path, n=4, class_weights="balanced")
    with pytest.raises(DatasetError, match="class '3' has no training sample"):
        class_weights([0, 1, 2], 4)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"momentum": 1.5}, "train.momentum = 1.5"),
        ({"gradient_clip": -1.0}, "train.gradient_clip = -1"),
        ({"label_smoothing": 2.0, "loss": "cross_entropy"}, "train.label_smoothing = 2"),
        ({"label_smoothing": 0.1}, "train.label_smoothing = 0.1 with train.loss = mse; .*cross_entropy"),
        ({"class_weights": "balanced"}, "train.class_weights = balanced with train.loss = mse; .*cross_entropy"),
        ({"schedule": "onecycle", "learning_rate": 1e-7}, "min_learning_rate = 1e-06 above the largest rate 1e-07"),
        ({"schedule": "onecycle", "encoder_learning_rate": 1e-7}, "min_learning_rate = 1e-06 above .* 1e-07"),
    ],
)
def test_settings_that_exclude_each_other_are_one_sentence(wrong, sentence):
    with pytest.raises(ConfigError, match=sentence):
        TrainConfig(**wrong)


def test_class_weights_are_no_part_of_the_checkpoint():
    options = {"n_classes": 3, "mean": (0.0,), "std": (1.0,), "seed": 0}
    plain, weighted = (
        ClipClassifier(Network(), TrainConfig(), class_weights=w, **options) for w in (None, torch.ones(3))
    )
    assert plain.state_dict().keys() == weighted.state_dict().keys()
