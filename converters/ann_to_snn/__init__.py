"""From networks without spikes to spiking networks that code activations as firing rates, or as changes.

Examples:
    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> ann = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    >>> snn, report = ann_to_snn(ann, calibration=torch.rand(64, 8), n_steps=16)
    >>> snn(torch.rand(2, 8)).shape  # each input is shown for 16 steps
    torch.Size([2, 3])
    >>> [row.n_steps for row in report.curve]
    [1, 2, 4, 8, 16]
"""

from snnfer.converters.ann_to_snn.calibrate import calibrate
from snnfer.converters.ann_to_snn.convert import ann_to_snn, quantise
from snnfer.converters.ann_to_snn.measure import accuracy_curve
from snnfer.converters.ann_to_snn.network import RateSNN
from snnfer.converters.ann_to_snn.neurons import CumulativeMaxPool2d, RateIF
from snnfer.converters.ann_to_snn.preparation import prepare
from snnfer.converters.ann_to_snn.qcfs import QCFS, QuantisedNetwork, fine_tune
from snnfer.converters.ann_to_snn.report import ConversionReport, LayerReport, StepReport, recommend_steps
from snnfer.converters.ann_to_snn.sigma_delta import SigmaDeltaConversionReport
from snnfer.converters.ann_to_snn.sigma_delta_network import SigmaDeltaSNN

__all__ = [
    "QCFS",
    "ConversionReport",
    "CumulativeMaxPool2d",
    "LayerReport",
    "QuantisedNetwork",
    "RateIF",
    "RateSNN",
    "SigmaDeltaConversionReport",
    "SigmaDeltaSNN",
    "StepReport",
    "accuracy_curve",
    "ann_to_snn",
    "calibrate",
    "fine_tune",
    "prepare",
    "quantise",
    "recommend_steps",
]
