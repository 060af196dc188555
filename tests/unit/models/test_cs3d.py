"""C3D, CS3D and the steps between: thop prints what the paper prints, and time is treated as said."""

from functools import cache

import pytest
import torch
from torch.nn import functional

from snnfer.errors import ShapeError, SnnferError
from snnfer.models import CS3D_ABLATION, create_model
from snnfer.models.c3d import time_bins
from snnfer.neurons import SoftSpiking

TINY = {"n_classes": 4, "size": (16, 16), "channels": (4, 8, 8, 8, 8), "hidden": 16}


@cache
def thop_counts(name, arguments=()):
    """Operations and parameters that thop finds at the published size; shapes are enough for it."""
    thop = pytest.importorskip("thop")
    with torch.device("meta"):
        model, x = create_model(name, **dict(arguments)).eval(), torch.zeros(16, 1, 3, 112, 112)
    return thop.profile(model, inputs=(x,), verbose=False)


class TestPublishedFigures:
    @pytest.mark.parametrize(
        ("name", "giga_operations", "printed", "million_parameters"),
        [
            ("C3D", 21.2915, "21.29", 62.101),
            ("C3D + SSN", 21.2915, "21.29", 62.101),
            ("+ factorisation", 4.2553, "4.26", 51.607),
            ("+ attention", 4.6750, "4.68", 53.465),
        ],
    )
    def test_ablation(self, name, giga_operations, printed, million_parameters):
        kwargs = dict(CS3D_ABLATION[name])
        operations, parameters = thop_counts(kwargs.pop("name"), tuple(kwargs.items()))
        assert round(operations / 1e9, 4) == giga_operations
        assert f"{operations / 1e9:.2f}" == printed
        assert round(parameters / 1e6, 3) == million_parameters

    def test_a_convolution_counted_by_hand(self):
        """Multiply-accumulates of C3D, its four operations per normalised value, and nothing else."""
        sides, steps, widths = (112, 56, 28, 14, 7), (16, 16, 8, 4, 2), (3, 64, 128, 256, 512, 512)
        volumes = [side**2 * n for side, n in zip(sides, steps, strict=True)]
        macs = sum(27 * volumes[i] * widths[i] * widths[i + 1] for i in range(5))
        norms = sum(4 * volumes[i] * widths[i + 1] for i in range(5))
        assert thop_counts("c3d")[0] == macs + norms + 8192 * 4096 + 4096 * 4096 + 4096 * 7

    @pytest.mark.parametrize(
        ("giga_operations", "kwargs"),
        [
            (4.454, {"ta": "bottleneck", "ta_kernel": 1, "sa_out": "single", "sa_kernel": (7, 7, 7)}),
            (4.303, {"ta": "bottleneck", "ta_kernel": 1, "sa_out": "single", "sa_kernel": (1, 7, 7)}),
            (4.291, {"ta": "bottleneck", "ta_kernel": 1, "sa_out": "single", "sa_kernel": (3, 3, 3)}),
            (4.661, {"ta": "bottleneck", "ta_kernel": 1}),
            (4.468, {"sa_out": "single", "sa_kernel": (7, 7, 7)}),
            (4.344, {"placement": "after_pool"}),
            (
                4.266,
                {
                    "placement": "after_pool",
                    "ta": "bottleneck",
                    "ta_kernel": 1,
                    "sa_out": "single",
                    "sa_kernel": (1, 7, 7),
                },
            ),
        ],
    )
    def test_no_other_attention_prints_468(self, giga_operations, kwargs):
        operations, _ = thop_counts("cs3d", tuple(kwargs.items()))
        assert round(operations / 1e9, 3) == giga_operations

    def test_the_energy_that_the_paper_prints_is_the_ratio_of_operations(self):
        ratio = thop_counts("cs3d")[0] / thop_counts("c3d", (("neuron", "relu"),))[0]
        assert 0.2190 < ratio < 0.2200  # 21.97 % in the paper


@pytest.mark.parametrize("step", CS3D_ABLATION)
class TestEveryStep:
    def test_neurons_are_what_the_step_says(self, step):
        model = create_model(**CS3D_ABLATION[step], **TINY, theta=0.3, beta=2.0)
        neurons = [m for m in model.modules() if isinstance(m, SoftSpiking)]
        expected = {"C3D": 0, "C3D + SSN": 5 + 2}.get(step, 2 * 5 + 2)
        assert len(neurons) == expected
        assert all((m.theta, m.beta) == (0.3, 2.0) for m in neurons)

    def test_it_learns(self, step):
        torch.manual_seed(0)
        model = create_model(**CS3D_ABLATION[step], **{**TINY, "channels": (4, 8, 8), "n_steps": 4}, dropout=0.0)
        labels = torch.arange(16) % 4
        x = torch.rand(4, 16, 3, 16, 16) * 0.2
        for i, label in enumerate(labels.tolist()):  # a quarter of the image is bright, later in odd classes
            x[2 * (label % 2) :, i, :, 8 * (label // 2) :, 8 * (label % 2) :][:2] += 1
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(40):
            optimizer.zero_grad()
            functional.cross_entropy(model(x), labels).backward()
            optimizer.step()
        assert (model(x).argmax(1) == labels).float().mean() == 1

    def test_more_steps_are_averaged(self, step):
        torch.manual_seed(0)
        model = create_model(**CS3D_ABLATION[step], **TINY).eval()
        stages = torch.nn.Sequential(*(module for stage in model.stages for module in stage))
        features = []
        hook = model.classifier.register_forward_hook(lambda module, args, y: features.append(args[0]))
        x = torch.randn(37, 2, 3, 16, 16)
        model(x)
        hook.remove()
        torch.manual_seed(0)
        y = x
        for module in stages:
            is_pool = isinstance(module, torch.nn.MaxPool3d)
            y = module(y.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4) if is_pool else module(y)
        assert len(y) == 2  # 37 steps give two features in time, of 16 steps each; the rest is left out
        torch.testing.assert_close(features[0][0], y.mean(0).flatten(1))


@pytest.mark.parametrize("n_bins", [1, 2, 3, 5])
def test_time_bins_are_adaptive_pooling_without_the_padding(n_bins):
    x, lengths = torch.randn(7, 4, 3, 2, 2), torch.tensor([7, 5, 2, 1])
    expected = [
        functional.adaptive_avg_pool3d(x[:length, i].movedim(0, 1), (n_bins, 2, 2))
        for i, length in enumerate(lengths.tolist())
    ]
    torch.testing.assert_close(time_bins(x, lengths, n_bins), torch.stack(expected))


class TestRefusals:
    def test_too_few_frames_for_the_pooling(self):
        model = create_model("cs3d", **TINY).eval()
        with pytest.raises(
            ShapeError, match="a clip of 15 time steps; expected at least 16, because the network pools"
        ):
            model(torch.rand(15, 1, 3, 16, 16))
        with pytest.raises(ShapeError, match="a clip of 9 time steps; expected at least 16"):
            model(torch.rand(20, 2, 3, 16, 16), lengths=torch.tensor([20, 9]))

    def test_arguments_that_exclude_each_other(self):
        with pytest.raises(ShapeError, match="n_steps = 8 with 5 convolutions; expected at least 16"):
            create_model("c3d", n_steps=8)
        with pytest.raises(ShapeError, match=r"channels = \(8,\); expected at least two"):
            create_model("c3d", channels=(8,))
        with pytest.raises(SnnferError, match="placement = 'inside'; expected one of before_pool, after_pool"):
            create_model("cs3d", placement="inside", **TINY)
        with pytest.raises(SnnferError, match="neuron = 'tanh'; expected one of relu, soft_spiking"):
            create_model("c3d", neuron="tanh", **TINY)
