"""Copying weights between networks that stand already."""

import pytest
import torch
from torch import nn

from snnfer.converters import copy_weights
from snnfer.converters.exchange.weights import rebuilt
from snnfer.errors import ConversionError
from snnfer.layers import SpikingSequential, TimeBatchNorm2d, TimeDistributed
from snnfer.neurons import PLIF


def test_layers_are_paired_in_order_whatever_they_are_called():
    source = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Linear(4, 2, bias=False))
    source[1].running_mean.fill_(0.5)
    target = SpikingSequential(
        TimeDistributed(nn.Conv2d(2, 3, 3)), TimeBatchNorm2d(3), nn.Flatten(2), nn.Linear(4, 2, bias=False)
    )
    copy_weights(source, target)
    expected = list(source.state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(target.state_dict().values(), expected, strict=True))
    with torch.no_grad():
        target[3].weight.zero_()
    assert source[3].weight.any()


def test_nothing_is_written_where_something_does_not_fit():
    source = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    target = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5))
    before = target[0].weight.clone()
    with pytest.raises(ConversionError, match=r"'1' holds .*\[2, 3\].*'1' holds .*\[5, 3\]"):
        copy_weights(source, target)
    assert torch.equal(target[0].weight, before)
    with pytest.raises(ConversionError, match="2 and 3 layers with weights"):
        copy_weights(source, nn.Sequential(nn.Linear(4, 3), PLIF(), nn.Linear(3, 2)))
    with pytest.raises(ConversionError, match="'0' holds"):
        copy_weights(source, nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 2)))


def test_rebuilt_keeps_settings_tensors_and_mode():
    conv = nn.Conv2d(4, 6, (3, 1), stride=2, padding=(1, 0), dilation=2, groups=2, bias=False).double().eval()
    conv.weight.requires_grad_(False)
    again = rebuilt(nn.Conv2d, conv)
    assert repr(again) == repr(conv)
    assert again.weight is conv.weight
    assert not again.training
    norm = nn.BatchNorm2d(3, eps=1e-3, momentum=0.3, affine=False)
    assert repr(rebuilt(nn.BatchNorm2d, norm)) == repr(norm)
    assert rebuilt(TimeBatchNorm2d, nn.BatchNorm2d(3, eps=1e-3, momentum=None)).momentum is None
