"""Optimisers, schedules, clipping and class weights against torch's own and against a pencil."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from snnfer._config import config_hash
from snnfer.errors import ConfigError, DatasetError
from snnfer.training import TrainConfig
from snnfer.training.fitting import fit
from snnfer.training.losses import class_weights, cross_entropy
from snnfer.training.module import ClipClassifier
from snnfer.training.optimizers import sharpness_aware
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
    gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
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
    loss = cross_entropy(network(x), labels, weights, label_smoothing=setting.get("label_smoothing", 0.0))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    recipe = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "learning_rate": 1.0}
    after = trained(tmp_path, n=8, **recipe, **setting)
    for before, now, gradient in zip(network.parameters(), after.parameters(), gradients, strict=True):
        assert torch.allclose(before - now, gradient, atol=1e-6)


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


def test_a_sharpness_aware_step_on_a_quadratic_is_the_one_worked_out_by_hand():
    curvature = torch.tensor([1.0, 4.0])
    w, b = torch.nn.Parameter(torch.tensor([3.0])), torch.nn.Parameter(torch.tensor([1.0]))
    kept = torch.tensor([2.0])

    def closure():
        w.grad = b.grad = None
        kept.add_(1)
        loss = 0.5 * (curvature[0] * w.square() + curvature[1] * b.square()).sum()
        loss.backward()
        return loss.detach()

    loss = sharpness_aware(closure, [w, b], rho=0.5, buffers=[kept])
    # gradient (3, 4) of norm 5, so that the worst point is (3 + 0.3, 1 + 0.4): its gradient is (3.3, 4 * 1.4)
    assert float(loss) == pytest.approx(0.5 * (9 + 4))
    assert w.grad is not None
    assert b.grad is not None
    assert (float(w.grad), float(b.grad)) == pytest.approx((3.3, 5.6))
    assert (float(w.detach()), float(b.detach()), float(kept)) == (3.0, 1.0, 3.0)


@pytest.mark.parametrize("bad", [0.0, float("inf"), float("nan")])
def test_a_gradient_without_a_direction_is_left_as_it_is(bad):
    w, calls = torch.nn.Parameter(torch.ones(2)), []

    def closure():
        calls.append(1)
        w.grad = torch.tensor([0.0, bad])

    sharpness_aware(closure, [w], rho=0.1)
    assert len(calls) == 1
    assert torch.equal(w.detach(), torch.ones(2))


class Noisy(Network):
    """With dropout and batch normalisation: a second pass with other numbers would show."""

    def __init__(self):
        super().__init__()
        self.norm, self.dropout = torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5)

    def forward(self, x, lengths=None):
        return self.head(self.dropout(self.norm(self.encoder(x.mean(0).flatten(1)))))


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_training_is_sharpness_aware_over_both_groups_with_the_same_random_numbers(tmp_path, clip):
    network, rho = Noisy().train(), 0.3
    _, x, labels = whole_batch()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))  # of the sampler; dropout goes by place

    def gradients(weights):
        torch.manual_seed(0)  # of step 0
        scores = torch.func.functional_call(network, dict(weights), (x[:, order],))
        return torch.autograd.grad(functional.cross_entropy(scores, labels[order]), list(weights.values()))

    start = dict(network.named_parameters())
    first = gradients(start)
    statistics = network.norm.running_mean.clone()  # type: ignore[union-attr]
    norm = torch.cat([g.flatten() for g in first]).norm()
    second = gradients({name: w + rho * g / norm for (name, w), g in zip(start.items(), first, strict=True)})
    size = torch.cat([g.flatten() for g in second]).norm()
    scale = min(1.0, clip / float(size)) if clip else 1.0
    recipe = {"optimizer": "sgd", "learning_rate": 1.0, "encoder_learning_rate": 0.1, "gradient_clip": clip}
    model = trained(tmp_path, model=Noisy(), epochs=1, batch_size=12, sam_rho=rho, **recipe)
    after = model.state_dict()
    for (name, before), gradient in zip(start.items(), second, strict=True):
        rate = 0.1 if name.startswith("encoder") else 1.0
        assert torch.allclose(before - after[name], scale * rate * gradient, atol=1e-5)
    assert torch.allclose(after["norm.running_mean"], statistics, atol=1e-6)  # of the first pass alone
    assert int(after["norm.num_batches_tracked"]) == 1


def test_accumulated_batches_cannot_be_sharpness_aware():
    with pytest.raises(ConfigError, match=r"train.sam_rho = 0.05 with train.accumulate = 2; .*train.batch_size"):
        TrainConfig(sam_rho=0.05, accumulate=2)


def test_settings_at_their_defaults_do_not_change_the_hash_of_a_recipe():
    before = {"epochs": 100, "batch_size": 8, "learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "cosine"}
    before |= {"loss": "mse", "max_shift_px": 0, "max_shift_steps": 0, "selection": "last_epoch"}
    before |= {"n_validation_subjects": 1, "threads": 0}
    assert config_hash(TrainConfig()) == config_hash(before)
