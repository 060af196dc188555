"""Normalisation and pooling over time against torch's own layers, spikingjelly and closed forms."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ShapeError, SnnferError
from snnfer.layers import (
    GlobalAvgPool2d,
    SpikingAvgPool2d,
    SpikingConv2d,
    SpikingMaxPool2d,
    ThresholdDependentBatchNorm2d,
    TimeBatchNorm2d,
)
from snnfer.neurons import PLIF


def test_statistics_are_those_of_batch_and_time():
    torch.manual_seed(0)
    ours, theirs = TimeBatchNorm2d(3), nn.BatchNorm3d(3)
    for _ in range(3):
        x = 2 + 3 * torch.randn(5, 4, 3, 6, 7)
        expected = theirs(x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4)  # over N, T, H, W of [N, C, T, H, W]
        torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4))
    assert list(ours.state_dict()) == list(nn.BatchNorm2d(3).state_dict())


def test_threshold_dependent_normalisation_equals_its_equation():
    torch.manual_seed(0)
    norm = ThresholdDependentBatchNorm2d(3, v_threshold=0.5, alpha=2**-0.5)
    x = 2 + 3 * torch.randn(5, 4, 3, 6, 7)
    mean, var = x.mean((0, 1, 3, 4)), x.var((0, 1, 3, 4), correction=0)
    normal = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), 2**-0.5 * 0.5 * normal)
    plain = TimeBatchNorm2d(3)
    with torch.no_grad():
        plain.weight.fill_(2**-0.5 * 0.5)
    torch.testing.assert_close(norm(x), plain(x))


def test_threshold_dependent_normalisation_equals_spikingjelly():
    layer = pytest.importorskip("spikingjelly.activation_based.layer", reason="needs snnfer[spikingjelly]")
    theirs = layer.ThresholdDependentBatchNorm2d(0.7, 0.5, 3)  # alpha, v_th
    theirs.step_mode = "m"
    ours = ThresholdDependentBatchNorm2d(3, v_threshold=0.5, alpha=0.7)
    x = 2 + 3 * torch.randn(5, 4, 3, 6, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_spiking_convolution_takes_either_norm():
    block = SpikingConv2d(2, 4, norm=lambda channels: ThresholdDependentBatchNorm2d(channels, v_threshold=2.0))
    assert block.conv.bias is None
    torch.testing.assert_close(block.current(torch.rand(4, 3, 2, 8, 8)).std(), torch.tensor(2.0), rtol=1e-2, atol=0)


def test_max_pooling_asks_whether_any_neuron_of_the_window_fires():
    x = (torch.rand(3, 2, 4, 6, 8) < 0.3).float()
    windows = x.reshape(3, 2, 4, 3, 2, 4, 2)
    assert torch.equal(SpikingMaxPool2d(2)(x), windows.bool().any(6).any(4).float())
    y = SpikingMaxPool2d(3, stride=2, padding=1)(x)
    assert torch.equal(y[1], F.max_pool2d(x[1], 3, 2, 1))


def test_average_pooling_loses_no_spike():
    """Quarters are exact in binary: the count of spikes is the whole part of the summed means."""
    x = (torch.rand(40, 2, 3, 6, 6) < 0.4).float()
    means = torch.stack([F.avg_pool2d(step, 2) for step in x])
    y = SpikingAvgPool2d(2)(x)
    assert set(y.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(y.cumsum(0), means.cumsum(0).floor())


def test_average_pooling_takes_another_neuron():
    neuron, x = PLIF(), (torch.rand(10, 2, 3, 6, 6) < 0.8).float()
    y = SpikingAvgPool2d(3, neuron=neuron)(x)
    assert y.shape == (10, 2, 3, 2, 2)
    assert torch.equal(y, neuron(torch.stack([F.avg_pool2d(step, 3) for step in x])))


def test_global_average_is_the_mean_over_the_image():
    x = torch.rand(3, 2, 4, 5, 6)
    torch.testing.assert_close(GlobalAvgPool2d()(x), torch.stack([F.adaptive_avg_pool2d(s, 1)[..., 0, 0] for s in x]))


def test_a_window_larger_than_the_map_is_one_sentence():
    for layer in (SpikingMaxPool2d(4), SpikingAvgPool2d(4), SpikingConv2d(2, 3, pool=4)):
        with pytest.raises(ShapeError, match=r"maps of 2 x 8 pixels .*; expected at least 4 x 4, for a pooling window"):
            layer(torch.rand(3, 1, 2, 2, 8))
    assert SpikingMaxPool2d(4, padding=1)(torch.rand(3, 1, 2, 2, 8)).shape == (3, 1, 2, 1, 2)


def test_errors():
    with pytest.raises(ShapeError, match=r"shape \[3, 2, 4, 5, 6\]; expected at least one time step and 3 channels"):
        TimeBatchNorm2d(3)(torch.zeros(3, 2, 4, 5, 6))
    with pytest.raises(ShapeError, match="another layout; fix: convert it with snnfer.layout"):
        TimeBatchNorm2d(3)(torch.zeros(2, 3, 4, 5, 6))
    with pytest.raises(ShapeError, match="at least one time step"):
        GlobalAvgPool2d()(torch.zeros(0, 2, 4, 5, 6))
    with pytest.raises(SnnferError, match="v_threshold = 0"):
        ThresholdDependentBatchNorm2d(3, v_threshold=0)
    with pytest.raises(SnnferError, match="kernel_size = 0"):
        SpikingAvgPool2d(0)
    with pytest.raises(SnnferError, match="stride = 0"):
        SpikingConv2d(2, 2, stride=0)
