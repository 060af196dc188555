"""Divergence, centre and island losses: golden values, and what they do to a training."""

import pytest
import torch
from torch.nn import functional

from snnfer.errors import ConfigError
from snnfer.training import TrainConfig
from snnfer.training.centers import CenterBank
from snnfer.training.fitting import fit
from snnfer.training.losses import center_loss, island_loss, vich_kl
from snnfer.training.module import ClipClassifier


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_island_loss_of_equal_orthogonal_and_opposite_centres():
    assert float(island_loss(random(1, 5).expand(7, 5))) == pytest.approx(84, abs=1e-4)
    assert float(island_loss(3 * torch.eye(7, 9))) == pytest.approx(42, abs=1e-5)
    assert float(island_loss(torch.stack([random(5), -2 * random(5)]))) == pytest.approx(0, abs=1e-6)


def test_island_loss_sums_the_ordered_pairs():
    centers = random(4, 6)
    pairs = [(j, k) for j in range(4) for k in range(4) if j != k]
    expected = sum(functional.cosine_similarity(centers[j], centers[k], dim=0) + 1 for j, k in pairs)
    assert float(island_loss(centers)) == pytest.approx(float(expected), rel=1e-5)


def test_center_loss_is_the_mean_squared_distance():
    x, centers, labels = random(5, 3), random(2, 3, seed=1), torch.tensor([0, 1, 1, 0, 1])
    distances = [float(((x[n] - centers[labels[n]]) ** 2).sum()) for n in range(5)]
    assert float(center_loss(x, labels, centers)) == pytest.approx(sum(distances) / 5, rel=1e-6)
    assert float(center_loss(x, labels, centers, reduction="sum")) == pytest.approx(sum(distances), rel=1e-6)


def test_both_forms_of_the_divergence():
    scores, mu, log_variance = random(4, 7), random(4, 7, seed=1), random(4, 7, seed=2)
    torch.manual_seed(3)
    ours = vich_kl(scores, mu, log_variance, "softmax_prior")
    torch.manual_seed(3)
    theirs = functional.kl_div(scores.softmax(1).log(), torch.randn_like(mu).softmax(1), reduction="none").mean()
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mu, (log_variance / 2).exp()), normal(0.0, 1.0)).sum(1).mean()
    assert float(vich_kl(scores, mu, log_variance, "gaussian")) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("rescale", [False, True])
def test_centres_take_the_step_of_gradient_descent_on_the_weighted_loss(rescale):
    config = TrainConfig(center_weight=0.01, center_rescale=rescale)
    bank = CenterBank(3, 2, config=config, seed=5)
    assert torch.equal(bank.positions, random(3, 2, seed=5))
    x, labels, before = random(4, 2), torch.tensor([0, 0, 2, 0]), bank.positions.clone()
    bank.collect(x[:3], labels[:3], share=0.75)
    bank.collect(x[3:], labels[3:], share=0.25)
    bank.step(lambda gradient: gradient)
    # d/dc of the mean of (x - c)^2 is 2/N * the sum of (c - x) over the samples of the class
    sums = [sum((before[c] - x[n] for n in range(4) if labels[n] == c), start=torch.zeros(2)) for c in range(3)]
    gradient = 2 / 4 * torch.stack(sums)
    expected = before - 0.5 * (1.0 if rescale else 0.01) * gradient
    assert torch.allclose(bank.positions, expected, atol=1e-6)
    bank.step(lambda gradient: gradient)
    assert torch.allclose(bank.positions, expected, atol=1e-6)  # nothing collected, nothing moved


def test_the_island_loss_drives_centres_apart():
    bank = CenterBank(3, 8, config=TrainConfig(island_weight=1.0), seed=0)
    before = float(island_loss(bank.positions))
    for _ in range(200):
        bank.collect(random(2, 8), torch.tensor([0, 1]))
        bank.step(lambda gradient: gradient)
    # the least possible: three directions at 120 degrees, cosine -1/2
    assert float(island_loss(bank.positions)) == pytest.approx(3, abs=0.05)
    assert before > 4


class Clips(torch.utils.data.Dataset):
    """Ten random clips [2, 1, 4, 4] in three classes."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return random(2, 1, 4, 4, seed=index), index % 3, 2


class Detailed(torch.nn.Module):
    """Scores drawn from a learned distribution, embeddings, batch normalisation and dropout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = torch.nn.Sequential(torch.nn.Linear(16, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.2))
        self.mean, self.log_variance = torch.nn.Linear(6, 3), torch.nn.Linear(6, 3)

    def forward_with_details(self, x, *, lengths=None):
        embedding = self.encoder(x.mean(0).flatten(1))
        mu, log_variance = self.mean(embedding), self.log_variance(embedding)
        noise = torch.randn_like(mu) if self.training else 0.0
        scores = mu + (log_variance / 2).exp() * noise
        return scores, {"mu": mu, "log_variance": log_variance, "embedding": embedding}

    def forward(self, x, *, lengths=None):
        return self.forward_with_details(x, lengths=lengths)[0]


class Still(Detailed):
    """Without batch normalisation, dropout and drawn scores."""

    def __init__(self):
        super().__init__()
        self.encoder = self.encoder[:1]

    def forward_with_details(self, x, *, lengths=None):
        _, details = super().forward_with_details(x)
        return details["mu"] + 0 * details["log_variance"], details  # every weight has a gradient


OPTIONS = {"n_classes": 3, "mean": (0.0,), "std": (1.0,), "seed": 0}


def trained(folder, *, model=None, on_epoch=None, **config):
    recipe = {"epochs": 3, "batch_size": 4, "loss": "cross_entropy", "schedule": "constant"} | config
    model = Detailed() if model is None else model
    options = {"train": range(10), "checkpoint_dir": folder, "on_epoch": on_epoch} | OPTIONS
    return fit(model, Clips(), config=TrainConfig(**recipe), **options).state_dict()


@pytest.mark.parametrize(
    "setting",
    [
        {"kl": "softmax_prior"},
        {"kl": "gaussian"},
        {"kl": "gaussian", "kl_weight": 0.1},
        {"center_weight": 0.1},
        {"center_weight": 0.1, "island_weight": 0.1},
        {"center_weight": 0.1, "center_rescale": True},
        {"center_weight": 0.1, "center_learning_rate": 0.1},
    ],
)
def test_each_term_changes_the_network_and_leaves_nothing_in_it(tmp_path, setting):
    plain, changed = trained(tmp_path / "a", epochs=2), trained(tmp_path / "b", epochs=2, **setting)
    assert plain.keys() == changed.keys()
    assert not torch.equal(plain["encoder.0.weight"], changed["encoder.0.weight"])


def test_the_reported_loss_is_the_sum_of_the_weighted_terms(tmp_path, monkeypatch):
    logged = {}
    monkeypatch.setattr(ClipClassifier, "log_dict", lambda self, terms, **_: logged.update(terms))
    module = ClipClassifier(
        Detailed(),
        recipe := TrainConfig(
            loss="cross_entropy", kl="gaussian", kl_weight=0.5, center_weight=0.1, island_weight=0.01
        ),
        centers=CenterBank(3, 6, config=recipe, seed=0),
        **OPTIONS,
    )
    monkeypatch.setattr(ClipClassifier, "global_step", 0)
    x, labels, lengths = (
        torch.stack([Clips()[i][0] for i in range(4)], 1),
        torch.tensor([0, 1, 2, 0]),
        torch.full((4,), 2),
    )
    loss = module.training_step((x, labels, lengths), 0).detach()
    again = Detailed()
    torch.manual_seed(0)
    with torch.no_grad():
        scores, details = again.forward_with_details(x)
    spread = details["log_variance"].exp()
    divergence = (details["mu"] ** 2 + spread - 1 - details["log_variance"]).sum() / 2 / 4
    centers = random(3, 6)
    expected = {
        "train_kl": 0.5 * divergence,
        "train_center": 0.1 * ((details["embedding"] - centers[labels]) ** 2).sum() / 4,
        "train_island": 0.01 * island_loss(centers),
    }
    for name, value in expected.items():
        assert float(logged[name].detach()) == pytest.approx(float(value), rel=1e-5)
    total = functional.cross_entropy(scores, labels) + sum(expected.values())
    assert float(loss) == pytest.approx(float(total), rel=1e-5) == pytest.approx(float(logged["train_loss"].detach()))


def test_centres_of_accumulated_batches_are_those_of_one_large_batch(tmp_path, monkeypatch):
    banks = []
    start = CenterBank.__init__
    monkeypatch.setattr(CenterBank, "__init__", lambda self, *a, **k: [banks.append(self), start(self, *a, **k)][1])

    recipe = {"center_weight": 1.0, "island_weight": 0.1, "optimizer": "sgd", "learning_rate": 0.1}
    whole = trained(tmp_path / "a", model=Still(), batch_size=8, **recipe)
    parts = trained(tmp_path / "b", model=Still(), batch_size=4, accumulate=2, **recipe)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)
    assert torch.allclose(banks[0].positions, banks[1].positions, atol=1e-6)
    assert not torch.allclose(banks[0].positions, random(3, 6), atol=1e-2)


@pytest.mark.slow  # starts Python twice
def test_two_processes_train_sharply_with_centres_as_one_does(tmp_path):
    recipe = {"center_weight": 1.0, "island_weight": 0.1, "center_learning_rate": 0.2, "sam_rho": 0.1}
    recipe |= {"optimizer": "sgd", "learning_rate": 0.1, "gradient_clip": 2.0, "schedule": "onecycle"}
    one = trained(tmp_path / "one", model=Still(), batch_size=5, **recipe)
    blunt = trained(tmp_path / "blunt", model=Still(), batch_size=5, **(recipe | {"sam_rho": 0.0}))
    assert not torch.allclose(one["encoder.0.weight"], blunt["encoder.0.weight"], atol=1e-4)
    both = trained(tmp_path / "both", model=Still(), batch_size=5, devices=2, **recipe)
    whole = trained(tmp_path / "whole", model=Still(), batch_size=10, **recipe)
    assert all(torch.allclose(both[name], whole[name], atol=1e-5) for name in whole)


def test_the_best_epoch_of_a_training_with_centres_is_kept(tmp_path):
    recipe = {"epochs": 3, "batch_size": 4, "loss": "cross_entropy", "center_weight": 0.1, "kl": "gaussian"}
    config = TrainConfig(selection="inner_subjects", **recipe)
    options = {"train": range(7), "validation": [7, 8, 9], "checkpoint_dir": tmp_path} | OPTIONS
    model = fit(Detailed(), Clips(), config=config, **options)
    assert model.state_dict().keys() == Detailed().state_dict().keys()


class Stop(Exception):
    pass


EVERYTHING = {
    "optimizer": "adamw",
    "schedule": "onecycle",
    "encoder_learning_rate": 1e-4,
    "weight_decay": 1e-4,
    "gradient_clip": 1.0,
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "center_weight": 0.1,
    "island_weight": 0.01,
    "kl": "softmax_prior",
    "precision": "bf16-mixed",
}


@pytest.mark.parametrize("steps", [{"accumulate": 2}, {"sam_rho": 0.05}, {"sam_rho": 0.05, "optimizer": "sgd"}])
def test_an_interrupted_training_with_everything_ends_with_the_same_bits(tmp_path, steps):
    def interrupt(epoch, loss):
        if epoch == 2:
            raise Stop

    recipe = EVERYTHING | steps | {"epochs": 4}
    whole = trained(tmp_path / "whole", **recipe)
    with pytest.raises(Stop):
        trained(tmp_path / "parts", on_epoch=interrupt, **recipe)
    resumed = []
    parts = trained(tmp_path / "parts", on_epoch=lambda epoch, loss: resumed.append(epoch), **recipe)
    assert resumed[0] > 1
    assert resumed[-1] == 4
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


class OnlyEmbedding(Detailed):
    def forward_with_details(self, x, *, lengths=None):
        scores, details = super().forward_with_details(x)
        return scores, {"embedding": details["embedding"]}


@pytest.mark.parametrize(
    ("model", "setting", "sentence"),
    [
        (torch.nn.Flatten(), {"kl": "gaussian"}, "train.kl = gaussian for the model Flatten, .* nothing but scores"),
        (torch.nn.Flatten(), {"center_weight": 0.1}, "center_weight = 0.1 .* a model that gives 'embedding'"),
        (torch.nn.Flatten(), {"island_weight": 0.1}, "leave train.island_weight out, or train rgbd_fer"),
        (OnlyEmbedding(), {"kl": "softmax_prior"}, "gives 'embedding' beside its scores; .*'mu' and 'log_variance'"),
    ],
)
def test_a_model_that_lacks_what_the_recipe_needs_is_refused_in_one_sentence(tmp_path, model, setting, sentence):
    with pytest.raises(ConfigError, match=sentence):
        trained(tmp_path, model=model, **setting)


def test_a_model_is_called_as_the_user_calls_it(tmp_path):
    model = torch.nn.Flatten()
    model.config = {"name": "au_snn"}
    with pytest.raises(ConfigError, match="train.kl = gaussian for the model au_snn, which gives nothing but scores"):
        trained(tmp_path, model=model, kl="gaussian")


def test_asking_for_details_leaves_the_network_as_it_was(tmp_path):
    """One class per batch is enough: the size of the embedding comes from a clip in evaluation mode."""
    from snnfer.training.details import probe_details

    model = Detailed().train()
    model.encoder[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    details = probe_details(model, TrainConfig(island_weight=1.0), Clips()[0], mean=(0.0,), std=(1.0,))
    assert details["embedding"].shape == (1, 6)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert (model.training, model.encoder[1].training, model.encoder[2].training) == (True, False, True)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kl_weight": -1.0}, "train.kl_weight = -1"),
        ({"center_learning_rate": 0.0}, "train.center_learning_rate = 0"),
        ({"center_rescale": True}, "train.center_rescale without train.center_weight"),
    ],
)
def test_impossible_weights_are_refused(wrong, sentence):
    with pytest.raises(ConfigError, match=sentence):
        TrainConfig(**wrong)
