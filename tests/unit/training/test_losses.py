"""Losses of reconstruction networks against values worked out by hand."""

import math

import pytest
import torch

from snnfer.training.losses import discriminator_loss, generator_loss, negative_elbo


def softplus(x):
    return math.log1p(math.exp(x))


def test_discriminator_loss_is_half_the_two_cross_entropies():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    # -log sigmoid(v) = softplus(-v), -log(1 - sigmoid(v)) = softplus(v)
    expected = ((softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(3)) / 2) / 2
    assert float(discriminator_loss(real, fake)) == pytest.approx(expected, rel=1e-6)


def test_generator_loss_is_the_cross_entropy_of_fooling_plus_the_weighted_distance():
    output, target = torch.tensor([[0.0, 1.0], [-1.0, 0.5]]), torch.tensor([[1.0, 1.0], [-1.0, 0.0]])
    expected = (softplus(-0.5) + softplus(2)) / 2 + 100 * (1 + 0 + 0 + 0.5) / 4
    loss = generator_loss(torch.tensor([0.5, -2.0]), output, target, l1_weight=100)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_negative_elbo_sums_pixels_and_averages_images():
    output, target = torch.zeros(1, 2, 1, 1, 3), torch.zeros(1, 2, 1, 1, 3)
    output[0, 0, 0, 0] = torch.tensor([0.5, 0.5, 1.0])  # squared error 1.5 in the first of two images
    mu = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    log_variance = torch.tensor([[[0.0, math.log(4)], [0.0, 0.0]]])
    divergence = (1 + 4 + 1 + 4 - 0 - math.log(4) - 2) / 2  # of the first; the second is the prior
    loss = negative_elbo(output, target, mu, log_variance, kl_weight=3.0)
    assert float(loss) == pytest.approx((1.5 + 3 * divergence) / 2, rel=1e-6)
