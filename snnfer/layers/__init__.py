"""The layer library: building blocks of spiking networks on ``[T, N, C, H, W]``.

Encoders turn images and signals into spikes (`DirectEncoder`, `PoissonEncoder`, `LatencyEncoder`, `DeltaEncoder`,
`ConvEncoder`); `SpikingConv2d`, `SpikingLinear`, `SEWBlock` and `FactorizedConv3d` compute with them;
`TemporalAttention`, `SpatialAttention` and both together weight them; `TimeBatchNorm2d` and
`ThresholdDependentBatchNorm2d` normalise over batch and time; `SpikingMaxPool2d`, `SpikingAvgPool2d` and
`GlobalAvgPool2d` pool; `VotingLayer` decides. They are chained by `torch.nn.Sequential`, or by `SpikingSequential`,
which streams: ``forward(x)`` starts from rest, ``forward_with_state(x, state)`` goes on from a state.
`snnfer.models.SpikingClassifier` makes a model of a chain, `checkpoint_over_time` trains it in less memory. Beside them
stand layers that compute at active sites alone (`SubmanifoldConv2d` and its relatives).

Examples:
    >>> import torch
    >>> from torch import nn
    >>> network = SpikingSequential(SpikingConv2d(2, 8), nn.Flatten(2), SpikingLinear(8 * 8 * 8, 20), VotingLayer(10))
    >>> network(torch.rand(4, 1, 2, 16, 16)).shape
    torch.Size([4, 1, 2])
"""

from snnfer.layers._streaming import SpikingSequential, Streaming, apply_with_state
from snnfer.layers.asynchronous import AsyncConv2d, AsyncLayer, AsyncMaxPool2d, SiteMap, start_maps, update_maps
from snnfer.layers.attention import SpatialAttention, TemporalAttention, TemporalSpatialAttention
from snnfer.layers.blocks import SpikingConv2d, SpikingLinear
from snnfer.layers.checkpointing import checkpoint_over_time
from snnfer.layers.encoders import DirectEncoder, LatencyEncoder, PoissonEncoder
from snnfer.layers.factorized import FactorizedConv3d
from snnfer.layers.norm import ThresholdDependentBatchNorm2d, TimeBatchNorm2d
from snnfer.layers.pooling import GlobalAvgPool2d, SpikingAvgPool2d, SpikingMaxPool2d
from snnfer.layers.residual import SEWBlock
from snnfer.layers.stream_encoders import ConvEncoder, DeltaEncoder
from snnfer.layers.submanifold import (
    ActiveMap,
    MaskedMap,
    SparseBatchNorm2d,
    SparseMap,
    SparseMaxPool2d,
    SparseReLU,
    SubmanifoldConv2d,
)
from snnfer.layers.time import TimeConstantDropout, TimeDistributed, VotingLayer

__all__ = [
    "ActiveMap",
    "AsyncConv2d",
    "AsyncLayer",
    "AsyncMaxPool2d",
    "ConvEncoder",
    "DeltaEncoder",
    "DirectEncoder",
    "FactorizedConv3d",
    "GlobalAvgPool2d",
    "LatencyEncoder",
    "MaskedMap",
    "PoissonEncoder",
    "SEWBlock",
    "SiteMap",
    "SparseBatchNorm2d",
    "SparseMap",
    "SparseMaxPool2d",
    "SparseReLU",
    "SpatialAttention",
    "SpikingAvgPool2d",
    "SpikingConv2d",
    "SpikingLinear",
    "SpikingMaxPool2d",
    "SpikingSequential",
    "Streaming",
    "SubmanifoldConv2d",
    "TemporalAttention",
    "TemporalSpatialAttention",
    "ThresholdDependentBatchNorm2d",
    "TimeBatchNorm2d",
    "TimeConstantDropout",
    "TimeDistributed",
    "VotingLayer",
    "apply_with_state",
    "checkpoint_over_time",
    "start_maps",
    "update_maps",
]
