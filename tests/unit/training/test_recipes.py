"""Recipes of classifiers: transferred and frozen encoders, schedules, augmentation, precision, accumulation."""

import numpy as np
import pytest
import torch

from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset
from snnfer.datasets.windows import WindowSamples
from snnfer.errors import CheckpointError, ConfigError, SnnferError
from snnfer.training import TrainConfig, train_network
from snnfer.training.augmentation import random_flip, random_rotation, rotate
from snnfer.training.classifier import train_classifier
from snnfer.training.fitting import fit
from snnfer.training.schedules import learning_rate


@pytest.fixture
def windows(toy_manifest, tmp_path):
    """Windows of the toy recordings, 32 x 32."""
    data = ManifestDataset.read(toy_manifest)
    reader = ClipInput(n_steps=10, size=(32, 32))
    return WindowSamples(ClipTensors(data, reader, ArrayCache(tmp_path / "cache"), show_progress=False))


def train(samples, folder, *, model="evtransfer", model_args=None, indices=range(24), seed=1, prepare=None, **config):
    recipe = {"epochs": 2, "batch_size": 8, "loss": "cross_entropy", "schedule": "constant"} | config
    return train_network(
        samples,
        model=model,
        model_args={"width": 4, "hidden": 8} if model_args is None else model_args,
        train=list(indices),
        config=TrainConfig(**recipe),
        seed=seed,
        checkpoint_dir=folder,
        prepare=prepare,
    )


def started_from(samples, folder, **options):
    """A trained model and the state it had before training."""
    before = {}
    options["prepare"] = lambda model: before.update({k: v.clone() for k, v in model.state_dict().items()})
    return train(samples, folder, **options).model.state_dict(), before


def test_by_indices_or_by_subjects_it_is_the_same_training(windows, tmp_path):
    subjects = ("anna", "cleo")
    options = {"model": "evtransfer", "model_args": {"width": 4}, "config": TrainConfig(epochs=1), "seed": 2}
    a = train_network(windows, train=windows.indices(subjects), checkpoint_dir=tmp_path / "a", **options)
    b = train_classifier(windows, train_subjects=subjects, checkpoint_dir=tmp_path / "b", **options)
    states = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    assert all(torch.equal(x, y) for x, y in states)
    assert b.training["train_subjects"] == list(subjects)


@pytest.mark.parametrize("freeze_norm", [True, False])
def test_a_frozen_encoder_keeps_every_bit(windows, tmp_path, freeze_norm):
    after, before = started_from(windows, tmp_path, encoder_learning_rate=0.0, freeze_norm=freeze_norm)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    statistics = {name for name in after if name.startswith("encoder") and ("running" in name or "tracked" in name)}
    assert statistics
    assert changed & {name for name in after if name.startswith("encoder")} == (set() if freeze_norm else statistics)
    assert {name for name in after if name.startswith("classifier")} <= changed


def test_the_encoder_learns_at_its_own_rate(windows, tmp_path):
    rates = {"learning_rate": 1e-3, "encoder_learning_rate": 1e-5}
    after, before = started_from(windows, tmp_path, indices=range(8), epochs=1, **rates)
    moved = {name: (after[name] - before[name]).abs().max() for name in after if after[name].is_floating_point()}
    # the first step of Adam moves every weight with a gradient by its rate
    assert float(moved["classifier.3.weight"]) == pytest.approx(1e-3, rel=0.01)
    assert float(moved["encoder.blocks.1.conv.weight"]) == pytest.approx(1e-5, rel=0.05)


def test_the_rate_of_the_encoder_follows_the_schedule(windows, tmp_path):
    decay = {"schedule": "exponential", "gamma": 1e-6, "step_every": 1, "encoder_learning_rate": 1e-4}
    one, _ = started_from(windows, tmp_path / "one", epochs=1, freeze_norm=True, **decay)
    two, _ = started_from(windows, tmp_path / "two", epochs=2, freeze_norm=True, **decay)
    assert all(torch.allclose(one[name], two[name], atol=1e-8) for name in one if name.startswith("encoder"))


def test_the_exponential_schedule_is_torchs_stepped_every_few_epochs():
    config = TrainConfig(epochs=30, learning_rate=0.2, schedule="exponential", gamma=0.5, step_every=10)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    for epoch in range(30):
        assert learning_rate(config, epoch) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        if epoch % 10 == 9:
            schedule.step()
    assert (TrainConfig().gamma, TrainConfig().step_every) == (0.1, 10)


@pytest.mark.parametrize("setting", [{"freeze_norm": True}, {"encoder_learning_rate": 0.0}])
def test_a_recipe_for_an_encoder_needs_one(windows, tmp_path, setting):
    with pytest.raises(ConfigError, match=f"train.{next(iter(setting))} is set for a model without an encoder"):
        train(windows, tmp_path, model="au_cnn3d", model_args={}, **setting)


class Linear(torch.nn.Module):
    """No batch normalisation, no dropout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(2 * 32 * 32, 3)

    def forward(self, x, lengths=None):
        return self.head(x.mean(0).flatten(1))


@pytest.mark.parametrize("n", [16, 11])
def test_accumulated_batches_are_one_large_batch(windows, tmp_path, n):
    def weights(folder, **sizes):
        config = TrainConfig(epochs=2, loss="cross_entropy", learning_rate=1e-3, **sizes)
        options = {"n_classes": 3, "mean": (0.0, 0.0), "std": (1.0, 1.0), "seed": 0}
        model = fit(Linear(), windows, train=range(n), config=config, checkpoint_dir=tmp_path / folder, **options)
        return model.head.weight.detach()

    whole = weights("whole", batch_size=8)
    assert torch.allclose(weights("parts", batch_size=4, accumulate=2), whole, atol=1e-6)
    assert not torch.allclose(weights("small", batch_size=4), whole, atol=1e-6)


@pytest.mark.parametrize("model", ["evtransfer", "au_snn", "au_cnn3d"])
def test_half_precision_gives_nearly_the_same_float32_weights(windows, tmp_path, model):
    args = {"evtransfer": {"width": 4, "hidden": 8, "dropout": 0.0}, "au_snn": {"channels": 4, "hidden": 16}}
    options = {"model": model, "model_args": args.get(model, {}), "epochs": 1, "indices": range(8)}
    samples = windows if model == "evtransfer" else windows.clips
    full, half = (train(samples, tmp_path / p, precision=p, **options).model for p in ("32-true", "bf16-mixed"))
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    for a, b in zip(full.parameters(), half.parameters(), strict=True):
        assert (a - b).abs().max() <= 2.1e-3  # one step of Adam moves each weight by at most its rate, 1e-3
    differing = [not torch.equal(a, b) for a, b in zip(full.parameters(), half.parameters(), strict=True)]
    assert any(differing)


def test_what_the_machine_cannot_do_is_refused(windows, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=r"16-mixed without a GPU; .*set train.precision=bf16-mixed"):
        train(windows, tmp_path, precision="16-mixed")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="train.devices = 3; expected at most 2"):
        train(windows, tmp_path, devices=3)


def test_a_loss_that_is_no_number_stops_with_the_learning_rate(windows, tmp_path):
    with pytest.raises(SnnferError, match=r"training loss is (nan|inf) .*learning rate 1e\+30 is too high"):
        train(windows, tmp_path, learning_rate=1e30, epochs=5)


def test_the_checkpoint_of_another_architecture_is_refused(windows, tmp_path):
    train(windows, tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match="another architecture was trained into this folder"):
        train(windows, tmp_path, model_args={"width": 8})


def test_rotation_is_counter_clockwise_about_the_centre():
    x = torch.arange(2 * 3 * 2 * 5 * 5).view(2, 3, 2, 5, 5)
    turned = rotate(x, torch.tensor([90.0, 180.0, 0.0]))
    expected = torch.stack([torch.rot90(x[:, 0], 1, (-2, -1)), torch.rot90(x[:, 1], 2, (-2, -1)), x[:, 2]], dim=1)
    assert torch.allclose(turned, expected.float(), atol=1e-3)


def test_rotation_keeps_right_angles_in_images_that_are_not_square():
    x = torch.zeros(1, 1, 1, 21, 41)
    x[..., 10, 25] = 1  # 5 px right of the centre
    turned = rotate(x, torch.tensor([90.0]))
    assert torch.allclose(turned[0, 0, 0, 5, 20], torch.tensor(1.0), atol=1e-4)  # 5 px above it


def test_random_rotations_differ_between_samples_alone_and_stay_within_their_limit():
    torch.manual_seed(0)
    x = torch.zeros(3, 50, 1, 65, 65)
    x[..., 32, 56] = 1  # 24 px right of the centre
    turned = random_rotation(x, max_deg=15)
    assert torch.equal(turned[0], turned[2])
    weight = turned[0, :, 0]
    rows = (weight * torch.arange(65).view(1, -1, 1)).sum((1, 2)) / weight.sum((1, 2)) - 32
    angles = np.degrees(np.arcsin(-rows.numpy() / 24))
    assert np.abs(angles).max() < 15.5
    assert angles.min() < -10
    assert angles.max() > 10
    assert random_rotation(x, max_deg=0) is x


def test_flips_are_the_same_for_all_steps_and_images_and_as_frequent_as_asked():
    torch.manual_seed(0)
    x, y = torch.rand(3, 1000, 1, 2, 3), torch.rand(1, 1000, 2, 2, 3)
    fx, fy = random_flip(x, y, probability=0.3)
    chosen = torch.tensor([torch.equal(fx[:, n], x[:, n].flip(-1)) for n in range(1000)])
    assert 250 < int(chosen.sum()) < 350
    assert torch.equal(fy[:, chosen], y[:, chosen].flip(-1))
    assert torch.equal(fx[:, ~chosen], x[:, ~chosen])
    assert torch.equal(fy[:, ~chosen], y[:, ~chosen])


@pytest.mark.parametrize("setting", [{"flip": 1.0}, {"rotation_deg": 20.0}])
def test_augmentation_changes_training(windows, tmp_path, setting):
    plain, _ = started_from(windows, tmp_path / "a", epochs=1)
    changed, _ = started_from(windows, tmp_path / "b", epochs=1, **setting)
    assert not torch.equal(plain["classifier.0.weight"], changed["classifier.0.weight"])


@pytest.mark.parametrize(
    "wrong", [{"gamma": 0}, {"step_every": 0}, {"flip": 2}, {"rotation_deg": -1}, {"devices": 0}, {"accumulate": 0}]
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainConfig(**wrong)


@pytest.mark.slow  # starts Python six times
@pytest.mark.parametrize("model", ["evtransfer", "pix2pix", "cvae"])
def test_two_processes_give_what_one_gives(windows, pairs, tmp_path, model):
    from snnfer.training import ReconstructionConfig, train_reconstruction

    def run(folder, **sizes):
        losses = []
        options = {"train": range(16), "checkpoint_dir": tmp_path / folder, "seed": 0}
        options["on_epoch"] = lambda epoch, loss: losses.append((epoch, loss))
        if model == "evtransfer":
            recipe = TrainConfig(epochs=2, freeze_norm=True, learning_rate=1e-4, **sizes)
            args = {"width": 4, "dropout": 0.0}
            trained = train_network(windows, model=model, model_args=args, config=recipe, **options)
        else:
            recipe = ReconstructionConfig(epochs=2, discriminator_layers=3, discriminator_width=4, **sizes)
            args = {"width": 4, "dropout": 0.0} if model == "pix2pix" else {"widths": [4], "latent": 2, "hidden": 8}
            trained = train_reconstruction(pairs, model=model, model_args=args, config=recipe, **options)
        assert [epoch for epoch, _ in losses] == [1, 2]
        return trained.model.state_dict(), losses[0][1]

    (one, loss), (two, other) = run("one", batch_size=8), run("two", batch_size=4, devices=2)
    # Adam magnifies rounding (pix2pix), and the code that is drawn (cvae) differs between the processes
    limit = 1e-6 if model == "evtransfer" else 2e-3
    assert all(torch.allclose(one[name].float(), two[name].float(), atol=limit) for name in one if "norm" not in name)
    assert other == pytest.approx(loss, rel=1e-4 if model == "evtransfer" else 0.1)


@pytest.mark.slow
def test_an_error_in_another_process_is_the_same_sentence(windows, tmp_path):
    with pytest.raises(SnnferError, match=r"learning rate 1e\+30 is too high"):
        train(windows, tmp_path, learning_rate=1e30, epochs=5, devices=2)
