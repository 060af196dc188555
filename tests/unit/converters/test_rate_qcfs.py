"""Quantised activations: their closed form, their gradient, and that neurons give the same values."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.converters.ann_to_snn import QCFS, ann_to_snn, fine_tune, prepare, quantise
from snnfer.converters.ann_to_snn.build import build_network
from snnfer.converters.from_model import to_graph
from snnfer.converters.passes import split_leaky


def dyadic(shape, *, seed, denominator, low, high):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, shape, generator=generator) / denominator


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("levels", [4, 8])
def test_network_of_one_layer_equals_the_spiking_one_of_as_many_steps(levels, slope):
    """Bit for bit: weights, inputs and thresholds are dyadic, so that no sum rounds."""
    ann = nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(slope) if slope else nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        ann[0].weight.copy_(dyadic((5, 6), seed=0, denominator=4, low=-4, high=5))
        ann[0].bias.copy_(dyadic((5,), seed=1, denominator=8, low=-4, high=5))
        ann[2].weight.copy_(dyadic((3, 5), seed=2, denominator=4, low=-4, high=5))
        ann[2].bias.copy_(dyadic((3,), seed=3, denominator=4, low=-4, high=5))
    x = dyadic((200, 6), seed=4, denominator=16, low=-16, high=17)
    network = quantise(prepare(to_graph(ann)), x, levels=levels)
    with torch.no_grad():
        for parameter in (network.stages[1].threshold, network.stages[1].negative_threshold):
            if parameter is not None:
                parameter.copy_(torch.tensor([0.5, 1.0, 2.0, 1.0, 0.25]))
        snn = build_network(split_leaky(network.graph()), network.thresholds(), n_steps=levels)
        assert torch.equal(snn(x), network(x))
        assert not torch.equal(network(x), ann(x))


def test_deeper_networks_of_as_many_steps_differ_only_by_late_spikes():
    """Behind the first layer the input is no longer constant; with many steps both come together."""
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.rand(64, 8)
    network = quantise(prepare(to_graph(ann)), x, levels=32)
    with torch.no_grad():
        snn = build_network(split_leaky(network.graph()), network.thresholds(), n_steps=256)
        assert ((snn(x) - network(x)).norm() / network(x).norm()) < 0.05


def test_levels_and_gradient_of_the_activation():
    """dy/dz is 1 for z from -theta / (2 L) to theta - theta / (2 L), else 0; above, all of it goes to theta."""
    activation = QCFS(torch.tensor([2.0]), levels=4)
    z = torch.tensor([[-1.0], [0.2], [0.8], [1.9], [5.0]], requires_grad=True)
    y = activation(z)
    assert y.flatten().tolist() == [0.0, 0.0, 1.0, 2.0, 2.0]
    y.sum().backward()
    assert z.grad.flatten().tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]
    expected = (0 - 0.2 / 2) + (0.5 - 0.8 / 2) + 1 + 1  # level minus z / theta inside, 1 above
    assert activation.threshold.grad.item() == pytest.approx(expected, abs=1e-6)


def test_fine_tuning_brings_the_quantised_network_nearer_to_the_original():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(8, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)).eval()
    x, unseen = torch.rand(512, 8), torch.rand(256, 8)

    def error(tuning, n_epochs=1):
        _, report = ann_to_snn(
            ann, calibration=x, evaluation=unseen, method="qcfs", levels=2, n_steps=2, tuning=tuning, curve_steps=(2,)
        )
        return report.curve[0].relative_error

    assert error(lambda *_: fine_tune(*_, n_epochs=30)) < 0.8 * error(lambda *_: None)


def test_labels_can_be_the_target():
    torch.manual_seed(0)
    x = torch.rand(256, 4)
    y = (x[:, 0] > x[:, 1]).long()
    ann = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)).eval()  # untrained: guesses

    def tuning(network, *_):
        fine_tune(network, x, y, loss=F.cross_entropy, n_epochs=40, learning_rate=1e-2)

    _, report = ann_to_snn(ann, calibration=x, labels=y, method="qcfs", levels=8, n_steps=16, tuning=tuning)
    assert report.quantised_accuracy > 0.9 > report.ann_accuracy
    assert report.curve[-1].accuracy > 0.9
