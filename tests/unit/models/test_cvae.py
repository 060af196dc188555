"""The conditional variational autoencoder: composition, latent code, sizes, gradients."""

import math

import pytest
import torch

from snnfer.errors import ShapeError, SnnferError
from snnfer.models import CVAE, create_model, kl_to_prior, list_models

SMALL = {"size": [12, 16], "widths": [4, 8], "latent": 3, "hidden": 16}


def make_model(**kwargs):
    torch.manual_seed(0)
    model = create_model("cvae", **{**SMALL, **kwargs})
    assert isinstance(model, CVAE)
    return model


def make_pair(model, *, n_steps=2, n_samples=3):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n_steps, n_samples, model.in_channels, *model.size, generator=generator)
    return x, torch.rand(n_steps, n_samples, model.out_channels, *model.size, generator=generator)


def test_it_is_a_reconstruction_model():
    assert "cvae" in list_models(task="reconstruction")
    assert "cvae" not in list_models(task="classification")


def test_the_paper_preset_layer_by_layer():
    with torch.device("meta"):
        model = create_model("cvae")
    assert isinstance(model, CVAE)
    counts = [sum(p.numel() for p in layer.parameters()) for layer in model.modules() if not list(layer.children())]
    convolutions = [2 * 16 * 9 + 16, 16 * 32 * 9 + 32]
    latent = [32 * 65 * 87 * 32 + 32] * 2
    fully_connected = [(32 + 260 * 346) * 1024 + 1024, 1024 * 180_960 + 180_960]
    assert [n for n in counts if n] == [*convolutions, *latent, *fully_connected, 32 * 16 * 9 + 16, 16 * 9 + 1]
    assert sum(counts) == 289_228_049
    x = torch.zeros(1, 2, 1, 260, 346, device="meta")
    assert model.forward_training(x, x)[0].shape == x.shape


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (12, 16), (13, 17), (14, 19), (65, 87), (66, 86)])
@pytest.mark.parametrize("widths", [[4], [4, 8], [2, 3, 4]])
def test_any_size_comes_back_exactly(size, widths):
    if min(size) < 2 ** len(widths):
        pytest.skip("too small for three halvings")
    model = make_model(size=list(size), widths=widths)
    x, _ = make_pair(model)
    assert model(x).shape == x.shape


def test_channels_of_events_and_frames_are_independent():
    model = make_model(in_channels=2, out_channels=3)
    x, y = make_pair(model)
    frames, mu, log_variance = model.forward_training(x, y)
    assert frames.shape == y.shape == (2, 3, 3, 12, 16)
    assert mu.shape == log_variance.shape == (2, 3, 3)
    assert ((frames > 0) & (frames < 1)).all()


def test_without_a_generator_events_decide_alone():
    model = make_model()
    x, y = make_pair(model)
    expected = model.decoder(torch.cat([torch.zeros(2, 3, 3), x.flatten(2)], 2).flatten(0, 1)).reshape(x.shape)
    for _ in range(2):
        assert torch.equal(model.reconstruct(x), expected)
        assert torch.equal(model(x), expected)
    assert torch.equal(model.train()(x), expected)
    assert not torch.allclose(model(1 - x), expected)
    assert not torch.allclose(model.reconstruct_posterior(x, y), expected)


def test_with_a_generator_the_latent_code_is_a_sample_of_the_prior():
    model = make_model()
    x, _ = make_pair(model)
    draw = lambda seed: model.reconstruct(x, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    z = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(draw(5), model.decoder(torch.cat([z, x.flatten(2)], 2).flatten(0, 1)).reshape(x.shape))


def test_the_posterior_depends_on_the_frame_and_the_events():
    model = make_model()
    x, y = make_pair(model)
    _, mu, log_variance = model.forward_training(x, y)
    for other in (model.forward_training(x, 1 - y), model.forward_training(1 - x, y)):
        assert not torch.allclose(other[1], mu)
        assert not torch.allclose(other[2], log_variance)


def test_latent_samples_have_the_mean_and_variance_of_the_posterior():
    """4,000 equal images: mean and variance of z within five standard errors of the posterior's."""
    model = make_model()
    with torch.no_grad():
        model.mu.bias.copy_(torch.tensor([-1.0, 0.5, 2.0]))
        model.log_variance.bias.copy_(torch.tensor([-3.0, 0.0, 1.0]))
    seen = []
    model.decoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, :3]))
    x, y = (image[:1, :1].expand(1, 4000, -1, -1, -1) for image in make_pair(model))
    with torch.no_grad():
        _, mu, log_variance = model.forward_training(x, y, generator=torch.Generator().manual_seed(0))
    (z,) = seen
    variance = log_variance[0, 0].exp()
    assert ((z.mean(0) - mu[0, 0]).abs() < 5 * (variance / 4000).sqrt()).all()
    assert ((z.var(0) - variance).abs() < 5 * variance * math.sqrt(2 / 3999)).all()


def test_kl_equals_torch_distributions_and_monte_carlo():
    generator = torch.Generator().manual_seed(0)
    mu, log_variance = torch.randn(2, 4, 5, 3, generator=generator, dtype=torch.float64)
    posterior = torch.distributions.Normal(mu, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    expected = torch.distributions.kl_divergence(posterior, prior).sum(-1)
    kl = kl_to_prior(mu, log_variance)
    assert kl.shape == (4, 5)
    torch.testing.assert_close(kl, expected, rtol=1e-12, atol=1e-12)
    z = mu + (log_variance / 2).exp() * torch.randn(20_000, *mu.shape, generator=generator, dtype=torch.float64)
    ratio = (posterior.log_prob(z) - prior.log_prob(z)).sum(-1)
    assert ((ratio.mean(0) - kl).abs() < 5 * ratio.std(0) / math.sqrt(20_000)).all()
    assert kl_to_prior(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0


def test_the_loss_reaches_every_parameter():
    model = make_model()
    x, y = make_pair(model)
    frames, mu, log_variance = model.forward_training(x, y, generator=torch.Generator().manual_seed(0))
    ((frames - y).square().sum() + kl_to_prior(mu, log_variance).sum()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


def test_it_learns_to_reconstruct_frames_from_events():
    """Frames that are a function of the events: 60 steps on 16 images bring the error from events alone far down."""
    model = make_model()
    x, _ = make_pair(model, n_steps=1, n_samples=16)
    y = (x > 0.5).float().mean((3, 4), keepdim=True) * 2 - 0.5 + 0 * x
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = (model(x) - y).square().mean().item()
    for _ in range(60):
        frames, mu, log_variance = model.forward_training(x, y, generator=torch.Generator().manual_seed(0))
        loss = (frames - y).square().sum((2, 3, 4)).mean() + kl_to_prior(mu, log_variance).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(x) - y).square().mean().item() < 0.2 * before


def test_wrong_input_is_one_sentence():
    model = make_model()
    x, y = make_pair(model)
    with pytest.raises(ShapeError, match=r"the input has 12 x 15 pixels .*expected 12 x 16 pixels"):
        model(x[..., 1:])
    with pytest.raises(ShapeError, match=r"frames of shape \[2, 3, 3, 12, 16\] .*expected frames of shape \[2, 3, 1, "):
        model.forward_training(x, y.expand(-1, -1, 3, -1, -1))
    with pytest.raises(ShapeError, match=r"frames of shape \[1, 3, 1, 12, 16\]"):
        model.reconstruct_posterior(x, y[:1])
    with pytest.raises(ShapeError, match=r"the tensor of frames has shape \[3, 1, 12, 16\]; expected 5 dimensions"):
        model.forward_training(x, y[0])
    with pytest.raises(SnnferError, match=r"frames of torch.uint8; expected values in \[0, 1\]; fix: divide by 255"):
        model.forward_training(x, (y * 255).to(torch.uint8))
    with pytest.raises(ShapeError, match=r"size = \(3, 64\) with widths = \(16, 32\); .*at least 4 x 4 pixels"):
        create_model("cvae", size=(3, 64))
    with pytest.raises(ShapeError, match="one convolution or more"):
        create_model("cvae", widths=())
