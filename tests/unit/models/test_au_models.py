"""The two action-unit models against the same networks written out with torch and spikingjelly."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ShapeError, SnnferError
from snnfer.models import create_model


def spikingjelly_au_snn(channels, hidden, n_classes, features):
    """The network in spikingjelly's own layers, as its users write it."""
    pytest.importorskip("spikingjelly", reason="needs snnfer[spikingjelly]")
    from spikingjelly.activation_based import layer, surrogate
    from spikingjelly.activation_based.neuron import ParametricLIFNode

    def plif():
        return ParametricLIFNode(
            decay_input=False, detach_reset=True, surrogate_function=surrogate.ATan(), step_mode="m"
        )

    return nn.Sequential(
        layer.Conv2d(2, channels, 3, padding=1, bias=False, step_mode="m"),
        layer.BatchNorm2d(channels, step_mode="m"),
        plif(),
        layer.MaxPool2d(2, step_mode="m"),
        layer.Conv2d(channels, channels, 3, padding=1, bias=False, step_mode="m"),
        layer.BatchNorm2d(channels, step_mode="m"),
        plif(),
        layer.MaxPool2d(2, step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(features, hidden, step_mode="m"),
        plif(),
        layer.Linear(hidden, n_classes * 10, step_mode="m"),
        plif(),
        layer.VotingLayer(10, step_mode="m"),
    )


def test_au_snn_equals_the_network_in_spikingjelly():
    """Training mode, dropout off: same votes, and gradients within 1e-5 of the largest."""
    torch.manual_seed(0)
    ours = create_model("au_snn", n_classes=3, size=(16, 16), channels=8, hidden=24, dropout=0.0)
    theirs = spikingjelly_au_snn(8, 24, 3, 8 * 16)
    with torch.no_grad():
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            if a.ndim == 2:
                a.mul_(4)
            b.copy_(a)
    x = torch.poisson(torch.full((12, 2, 2, 16, 16), 0.5))
    expected = theirs(x).mean(0)
    scores = ours(x)
    assert expected.std() > 0
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)
    weights = torch.randn_like(scores)
    ours_grads = torch.autograd.grad(scores, list(ours.parameters()), weights)
    theirs_grads = torch.autograd.grad(expected, list(theirs.parameters()), weights)
    for a, b in zip(ours_grads, theirs_grads, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max() + 1e-7


@pytest.mark.parametrize("downsampling", ["max_pool", "stride"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_au_snn_of_other_blocks_and_downsampling_equals_its_layers_written_out(blocks, downsampling):
    """At an odd size, which strides round up and pooling down; with gains that make every layer fire."""
    torch.manual_seed(0)
    size = (19, 13)
    model = create_model(
        "au_snn", n_classes=3, size=size, channels=4, hidden=12, blocks=blocks, downsampling=downsampling
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                parameter.mul_(3)
    x = torch.poisson(torch.full((9, 2, 2, *size), 0.5))
    chain, strided = model.eval().layers, downsampling == "stride"
    y = x
    for index in range(blocks):
        block = getattr(chain, f"conv{index + 1}")
        steps = [F.conv2d(step, block.conv.weight, stride=2 if strided else 1, padding=1) for step in y]
        y = block.neuron(block.norm(torch.stack(steps)))
        y = y if strided else torch.stack([F.max_pool2d(step, 2) for step in y])
    assert 0 < y.mean() < 1
    y = chain.fc1.neuron(F.linear(y.flatten(2), chain.fc1.linear.weight, chain.fc1.linear.bias))
    y = chain.fc2.neuron(F.linear(y, chain.fc2.linear.weight, chain.fc2.linear.bias))
    expected = y.mean(0).reshape(2, 3, 10).mean(2)
    assert expected.std() > 0
    torch.testing.assert_close(model(x), expected)


def test_au_snn_refuses_what_it_cannot_build():
    with pytest.raises(SnnferError, match="downsampling = 'average'; expected one of max_pool, stride"):
        create_model("au_snn", downsampling="average")
    with pytest.raises(SnnferError, match="blocks = 0"):
        create_model("au_snn", blocks=0)
    with pytest.raises(ShapeError, match="at least 8 x 8 pixels, because the network halves it 3 times"):
        create_model("au_snn", blocks=3, size=(7, 64))


def test_au_cnn3d_equals_its_layers_written_out():
    torch.manual_seed(0)
    model = create_model("au_cnn3d", n_classes=3, size=(32, 32), channels=(4, 6, 8, 10), hidden=12).eval()
    x = torch.rand(17, 2, 2, 32, 32)
    y = x.permute(1, 2, 0, 3, 4)  # [N, C, T, H, W]
    for block, pool in zip(model.features, [(1, 2, 2), 2, 2, 2], strict=True):
        y = F.max_pool3d(F.relu(F.conv3d(y, block.conv.weight, block.conv.bias, padding=1)), pool)
    y = F.adaptive_avg_pool3d(y, (1, 4, 4)).flatten(1)
    first, last = model.classifier[0], model.classifier[3]
    y = F.linear(F.relu(F.linear(y, first.weight, first.bias)), last.weight, last.bias)
    torch.testing.assert_close(model(x), y)
