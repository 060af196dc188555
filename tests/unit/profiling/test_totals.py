"""Totals against torch's FLOP counter and thop."""

import runpy
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from snnfer.errors import ShapeError
from snnfer.layers import TimeDistributed
from snnfer.models import create_model, list_models
from snnfer.neurons import Neuron
from snnfer.profiling import count_operations, flop_totals, thop_macs

CONTRACT = Path(__file__).parents[2] / "contract" / "test_models.py"


@pytest.fixture(scope="module")
def small():
    return runpy.run_path(str(CONTRACT))["SMALL"]


def build(name, small):
    if name in ("est_resnet34", "vit_b16", "poster_v2", "poster_var", "rgbd_fer"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    model = create_model(name, **small[name])
    config = model.config
    n_steps = config.get("n_steps") or config.get("n_windows") or (8 if name.startswith("au_") else 1)
    return model.eval(), torch.randn(n_steps, 2, config["in_channels"], *config["size"])


def print_of_thop(model, *inputs):
    thop = pytest.importorskip("thop")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return thop.profile(model, inputs, verbose=False)[0]


SPIKING = ("au_snn", "spiking_fer")


@pytest.mark.parametrize("name", sorted(set(list_models()) - set(SPIKING)))
def test_every_model_counts_as_torch_and_thop_do(name, small):
    model, x = build(name, small)
    with FlopCounterMode(display=False) as flops, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(x)
    total = flop_totals(model, x)
    has_fused_kernels = any(isinstance(m, nn.LSTM | nn.MultiheadAttention) for m in model.modules())
    assert total >= flops.get_total_flops() / 2 / 2 if has_fused_kernels else total == flops.get_total_flops() / 2 / 2
    if not has_sites(model):
        assert count_operations(model, x[:, :1]).total_macs == total
    assert thop_macs(model, x) == print_of_thop(model, x) / 2 > 0


def has_sites(model):
    """Whether what it computes depends on the input (submanifold layers)."""
    return bool(getattr(model, "config", {}).get("sparse", False))


LAYERS = [
    (nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2)), (2, 2, 8, 8)),
    (nn.Sequential(nn.BatchNorm2d(2, affine=False), nn.PReLU(), nn.LeakyReLU(), nn.MaxPool2d(2)), (2, 2, 8, 8)),
    (nn.Sequential(nn.AdaptiveAvgPool2d((3, 2)), nn.InstanceNorm2d(2)), (2, 2, 8, 7)),
    (nn.Sequential(nn.ConvTranspose2d(2, 4, 4, stride=2), nn.InstanceNorm2d(4, affine=True)), (2, 2, 5, 5)),
    (nn.Sequential(nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear")), (2, 2, 5, 5)),
    (nn.Sequential(nn.Upsample(scale_factor=2, mode="bicubic"), nn.Upsample(scale_factor=2)), (2, 2, 5, 5)),
    (nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 5), nn.Softmax(dim=1)), (2, 6)),
    (nn.Sequential(nn.LayerNorm(6, elementwise_affine=False), nn.Dropout(), nn.Sigmoid()), (2, 6)),
    (nn.LSTM(4, 3, num_layers=2, bidirectional=True), (5, 2, 4)),
    (nn.GRU(4, 3, num_layers=3, bias=False), (5, 2, 4)),
    (nn.RNN(4, 3, batch_first=True), (5, 2, 4)),
    (nn.Sequential(nn.Conv3d(2, 3, 3, padding=1), nn.BatchNorm3d(3), nn.AdaptiveAvgPool3d(1)), (2, 2, 4, 5, 6)),
    (nn.MultiheadAttention(4, 2), None),
]


@pytest.mark.parametrize(("module", "shape"), LAYERS)
def test_every_rule_equals_thop(module, shape):
    if shape is None:

        class Self(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = module

            def forward(self, x):
                return self.attention(x, x, x)[0]

        module, shape = Self(), (5, 2, 4)
    x = torch.randn(shape)
    theirs = print_of_thop(module.eval(), x)
    wrapped = x[None] if not isinstance(module, nn.RNN | nn.GRU | nn.LSTM) and len(shape) != 3 else x
    ours = thop_macs(_First(module) if wrapped is not x else module, wrapped)
    assert ours * wrapped.shape[1] == theirs


class _First(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x[0])


def test_a_module_in_two_places_is_counted_four_times_as_thop_does():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(nn.Sequential(shared), nn.Sequential(shared))
    x = torch.randn(1, 2, 3)
    assert thop_macs(model, x) * 2 == print_of_thop(model, x) == 4 * 2 * 18


def test_convolutions_with_normalisation_by_pencil():
    model = TimeDistributed(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()))
    x = torch.randn(3, 2, 1, 4, 5)
    assert flop_totals(model, x) == 3 * 20 * 2 * 9
    assert thop_macs(model, x) == 3 * 20 * 2 * 9 + 3 * 4 * 40


def test_modes_and_hooks_are_given_back():
    model = TimeDistributed(nn.Conv2d(1, 1, 1)).train()
    thop_macs(model, torch.ones(1, 1, 1, 2, 2))
    assert model.training
    assert model.module.training
    assert not model.module._forward_hooks


@pytest.mark.parametrize("count", [flop_totals, thop_macs])
def test_inputs_without_steps_are_refused(count):
    with pytest.raises(ShapeError, match="at least one step and one sample"):
        count(nn.Linear(2, 2), torch.ones(0, 1, 2))


def test_spiking_models_are_among_the_registered_ones(small):
    for name in SPIKING:
        assert any(isinstance(m, Neuron) for m in build(name, small)[0].modules())


GOLDEN = {  # G, what thop prints at the published sizes
    "c3d": 21.2915,
    "cs3d_factorized": 4.2553,
    "cs3d": 4.675,
    "poster_v2": 8.482,
    "poster_var": 8.4827,
}


@pytest.mark.parametrize("name", [name for name in GOLDEN if name in list_models()])
def test_published_sizes(name):
    """On the meta device: shapes only."""
    if name.startswith("poster"):
        pytest.importorskip("timm")
    with torch.device("meta"):
        model = create_model(name)
        config = model.config
        x = torch.zeros(config.get("n_steps", 1), 1, config["in_channels"], *config["size"])
    assert thop_macs(model, x) / 1e9 == pytest.approx(GOLDEN[name], abs=6e-4)
