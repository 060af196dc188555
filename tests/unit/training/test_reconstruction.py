"""Training of reconstruction networks: each step is the textbook's, and interruption changes nothing."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional

from snnfer.errors import CheckpointError, ConfigError, SnnferError
from snnfer.models import create_model
from snnfer.models.patchgan import PatchDiscriminator
from snnfer.training import (
    ReconstructionConfig,
    load_model,
    reconstruct_pairs,
    save_model,
    train_reconstruction,
)
from snnfer.training.reconstruction_module import AdversarialModule
from snnfer.training.trainer import SeededSampler, derived_seed, run_trainer

PIX2PIX = {"width": 4}
CVAE = {"widths": [4, 8], "latent": 4, "hidden": 16}


def train(pairs, folder, *, model="pix2pix", model_args=None, indices=range(24), seed=3, on_epoch=None, **config):
    recipe = {"epochs": 2, "batch_size": 8, "discriminator_layers": 3, "discriminator_width": 4} | config
    return train_reconstruction(
        pairs,
        model=model,
        model_args=(PIX2PIX if model == "pix2pix" else CVAE) if model_args is None else model_args,
        train=list(indices),
        config=ReconstructionConfig(**recipe),
        seed=seed,
        checkpoint_dir=folder,
        on_epoch=on_epoch,
    )


def weights(trained):
    return torch.cat([value.flatten().double() for value in trained.model.state_dict().values()])


def plain_pix2pix(pairs, indices, *, seed, batch_size, epochs, precision=None):
    """pix2pix as in a textbook: no Lightning, one loop."""
    torch.manual_seed(seed)
    generator = create_model("pix2pix", in_channels=2, out_channels=3, size=(32, 32), **PIX2PIX)
    discriminator = PatchDiscriminator(5, width=4, n_layers=3)
    of_g, of_d = (
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in (generator, discriminator)
    )

    def half():
        return torch.autocast("cpu", torch.bfloat16, cache_enabled=False) if precision else nullcontext()

    step = 0
    for epoch in range(epochs):
        sampler = SeededSampler(len(indices), seed=seed)
        sampler.set_epoch(epoch)
        order = [indices[i] for i in sampler]
        for start in range(0, len(order), batch_size):
            items = [pairs[i] for i in order[start : start + batch_size]]
            x, y = (torch.stack(values).float() for values in zip(*items, strict=True))
            y = y / 127.5 - 1
            torch.manual_seed(derived_seed(seed, step))
            step += 2  # Lightning counts the steps of both optimisers
            with half():
                fake = generator(x[None])[0]
            with half():
                real_logits, fake_logits = discriminator(x, y), discriminator(x, fake.detach())
                loss = (
                    functional.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
                    + functional.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
                ) / 2
            of_d.zero_grad()
            loss.backward()
            of_d.step()
            with half():
                logits = discriminator(x, fake)
                loss = functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
                loss = loss + 100 * (fake - y).abs().mean()
            of_g.zero_grad()
            loss.backward()
            of_g.step()
    return generator


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_weights_are_those_of_a_plain_loop(pairs, tmp_path, precision):
    trained = train(pairs, tmp_path, indices=range(20), epochs=2, precision=precision)
    half = precision != "32-true"
    expected = plain_pix2pix(pairs, range(20), seed=3, batch_size=8, epochs=2, precision=half)
    for name, value in expected.state_dict().items():
        found = trained.model.state_dict()[name]
        assert torch.allclose(found, value, rtol=0, atol=1e-6), name


def test_the_autoencoder_steps_as_a_plain_loop(pairs, tmp_path):
    trained = train(pairs, tmp_path, model="cvae", indices=range(8), epochs=1, learning_rate=1e-3, betas=(0.9, 0.999))
    torch.manual_seed(3)
    model = create_model("cvae", in_channels=2, out_channels=3, size=(32, 32), **CVAE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    sampler = SeededSampler(8, seed=3)
    x, y = (torch.stack(values).float() for values in zip(*[pairs[i] for i in sampler], strict=True))
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in pairs.input.normalisation)
    torch.manual_seed(derived_seed(3, 0))
    output, mu, log_variance = model.forward_training(((x - mean) / std)[None], y[None] / 255)
    divergence = -0.5 * (1 + log_variance - mu**2 - log_variance.exp()).sum()
    (((output - y / 255) ** 2).sum() + divergence).div(8).backward()
    optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.allclose(trained.model.state_dict()[name], value, atol=1e-6), name


def test_training_brings_the_images_nearer_to_their_targets(pairs, tmp_path):
    def distance(trained):
        both = list(reconstruct_pairs(trained, pairs, range(60, 72)))
        prediction, target = (torch.cat(images) for images in zip(*both, strict=True))
        assert prediction.shape == target.shape == (12, 3, 32, 32)
        assert 0 <= prediction.min() <= prediction.max() <= 1
        return float((prediction - target).abs().mean())

    losses = []
    short = distance(train(pairs, tmp_path / "a", epochs=1))
    longer = distance(
        train(pairs, tmp_path / "b", epochs=16, learning_rate=2e-3, on_epoch=lambda _, loss: losses.append(loss))
    )
    assert longer < 0.7 * short
    assert losses[-1] < 0.7 * losses[0]


def test_the_images_do_not_depend_on_the_batch_size_and_the_targets_are_the_frames(pairs, tmp_path):
    trained = train(pairs, tmp_path, epochs=1)
    (a, target), *_ = reconstruct_pairs(trained, pairs, [5, 2, 9], batch_size=3)
    b = torch.cat([image for image, _ in reconstruct_pairs(trained, pairs, [5, 2, 9], batch_size=1)])
    assert torch.allclose(a, b, atol=1e-5)
    assert torch.equal(target, torch.stack([pairs[i][1] for i in (5, 2, 9)]) / 255)


@pytest.mark.parametrize("options", [{}, {"adversarial": False}, {"flip": 0.5}, {"model": "cvae"}], ids=str)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(pairs, tmp_path, options):
    a, b, c = (weights(train(pairs, tmp_path / str(i), seed=s, epochs=1, **options)) for i, s in enumerate((3, 3, 4)))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_model_folder_gives_back_the_same_images(pairs, tmp_path):
    trained = train(pairs, tmp_path / "checkpoint", epochs=1)
    save_model(tmp_path / "model", trained)
    again = load_model(tmp_path / "model")
    (a, _), (b, _) = (next(iter(reconstruct_pairs(t, pairs, [0, 1]))) for t in (trained, again))
    assert torch.equal(a, b)
    assert (again.input, again.class_names) == (trained.input, ())
    assert "discriminator" not in " ".join(again.model.state_dict())


class Plain(torch.nn.Module):
    """A generator without batch normalisation and dropout: its gradients add up."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        return self.layer(x.flatten(0, 1)).tanh().unflatten(0, x.shape[:2])


@pytest.mark.parametrize("n", [16, 13])
def test_accumulated_batches_are_one_large_batch(pairs, tmp_path, n):
    results = []
    for folder, sizes in (("one", {"batch_size": 8}), ("two", {"batch_size": 4, "accumulate": 2})):
        config = ReconstructionConfig(
            epochs=2, discriminator_layers=3, discriminator_width=4, learning_rate=1e-3, **sizes
        )
        torch.manual_seed(1)
        module = AdversarialModule(Plain(), config, n_channels=5, mean=(0.0, 0.0), std=(1.0, 1.0), seed=0)
        module.discriminator.eval()  # its batch normalisation too
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(pairs, range(n)),
            batch_size=config.batch_size * config.accumulate,
            sampler=SeededSampler(n, seed=0),
        )
        run_trainer(module, loader, config=config, folder=tmp_path / folder)
        results.append(module.state_dict())
    assert all(torch.allclose(results[0][name], results[1][name], atol=1e-5) for name in results[0])


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset
from snnfer.datasets.windows import WindowPairs
from test_reconstruction import train
torch.set_num_threads(1)
data, cache = ManifestDataset.read(sys.argv[2]), ArrayCache(sys.argv[3])
inputs = [ClipInput(modality, n_steps=10, size=(32, 32)) for modality in ("events", "rgb")]
pairs = WindowPairs(*[ClipTensors(data, each, cache, show_progress=False) for each in inputs])
train(pairs, Path(sys.argv[4]), model=sys.argv[5], epochs=20)
"""


@pytest.mark.parametrize("model", ["pix2pix", "cvae"])
def test_killed_and_resumed_it_ends_with_the_same_weights(pairs, toy_manifest, tmp_path, model):
    here = os.path.dirname(__file__)
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", SCRIPT, here, str(toy_manifest), str(tmp_path / "cache"), str(folder), model]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (folder / "last.safetensors").is_file():
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        done = []
        resumed = train(pairs, folder, model=model, epochs=20, on_epoch=lambda epoch, _: done.append(epoch))
        whole = train(pairs, tmp_path / "whole", model=model, epochs=20)
    finally:
        torch.set_num_threads(threads)
    assert 1 < done[0] <= done[-1] == 20
    assert torch.equal(weights(resumed), weights(whole))


def test_the_checkpoint_of_another_architecture_is_refused(pairs, tmp_path):
    train(pairs, tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match=r"has '.*' of shape .*; expected '.*' of shape .*another architecture"):
        train(pairs, tmp_path, model_args={"width": 8})
    with pytest.raises(CheckpointError, match="expected no 'discriminator"):
        train(pairs, tmp_path, adversarial=False)


def test_a_loss_that_is_no_number_stops_with_the_learning_rate(pairs, tmp_path):
    with pytest.raises(SnnferError, match=r"training loss is (nan|inf) .*learning rate 1e\+20 is too high"):
        train(pairs, tmp_path, model="cvae", learning_rate=1e20, epochs=5)


def test_what_cannot_be_trained_is_refused(pairs, tmp_path):
    with pytest.raises(ConfigError, match="'au_snn' classifies"):
        train(pairs, tmp_path, model="au_snn")
    with pytest.raises(ConfigError, match="no pair to train on"):
        train(pairs, tmp_path, indices=[])


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"betas": (0.5, 1.0)}, {"l1_weight": -1.0}, {"flip": 1.5}, {"accumulate": 0}, {"kl_weight": -1}],
)
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ReconstructionConfig(**wrong)


def test_a_flip_mirrors_input_and_target_together(pairs, tmp_path):
    class Mirrored(torch.utils.data.Dataset):
        input, n_target_channels = pairs.input, pairs.n_target_channels

        def __len__(self):
            return len(pairs)

        def __getitem__(self, index):
            x, y = pairs[index]
            return x.flip(-1), y.flip(-1)

    # without dropout, whose random numbers the flips would displace
    options = {"adversarial": False, "model_args": {"width": 4, "dropout": 0.0}, "epochs": 1}
    flipped = train(pairs, tmp_path / "a", flip=1.0, **options)
    mirrored = train(Mirrored(), tmp_path / "b", **options)
    assert torch.equal(weights(flipped), weights(mirrored))
