"""Operation counts against brute force and torch's own FLOP counter."""

import itertools
import json

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from snnfer.errors import ShapeError
from snnfer.layers import SpikingConv2d, SpikingLinear, SpikingSequential, TimeDistributed
from snnfer.models import create_model
from snnfer.neurons import IF, LI, PLIF, SoftSpiking
from snnfer.profiling import count_operations
from snnfer.profiling._synapses import nonzero_operations

CONVOLUTIONS = [
    (nn.Conv2d(2, 4, 3, padding=1), (3, 2, 7, 6)),
    (nn.Conv2d(2, 4, 3, padding="same", dilation=2), (3, 2, 7, 6)),
    (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), groups=2), (3, 4, 7, 6)),
    (nn.Conv2d(4, 4, 3, padding=1, groups=4), (3, 4, 7, 6)),
    (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (3, 2, 5, 5)),
    (nn.Conv1d(2, 3, 4, stride=3, padding=2), (3, 2, 11)),
    (nn.Conv3d(2, 3, 3, padding=1), (2, 2, 4, 5, 3)),
    (nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), (3, 2, 4, 5)),
    (nn.ConvTranspose2d(4, 6, 2, groups=2), (3, 4, 4, 5)),
    (nn.Linear(7, 5), (3, 2, 7)),
]

LAYERED = {  # models that multiply in convolutions and fully connected layers alone, small
    "au_cnn3d": {},
    "au_snn": {},
    "asynet_vgg13": {"channels": (4, 8, 8)},
    "cvae": {"widths": (4, 8), "latent": 3, "hidden": 16},
    "evtransfer": {"width": 4},
    "pix2pix": {"width": 4},
}


class SamePaddedConv2d(nn.Conv2d):
    """A convolution that pads in its forward, more behind than in front, as TensorFlow's "SAME" does."""

    def forward(self, x):
        return super().forward(functional.pad(x, (1, 2, 1, 2)))


def brute_force_operations(module, x):
    """Each nonzero input alone, as a batch of one-hot inputs: every output that it reaches is one operation."""
    positive = type(module)(**constructor_arguments(module)).double().requires_grad_(False)
    positive.weight.fill_(1)
    _, *position = torch.nonzero(x, as_tuple=True)
    alone = torch.zeros(len(position[0]), *x.shape[1:], dtype=torch.float64)
    alone[(torch.arange(len(alone)), *position)] = 1
    return int(positive(alone).sum().item())


def constructor_arguments(module):
    if isinstance(module, nn.Linear):
        return {"in_features": module.in_features, "out_features": module.out_features, "bias": False}
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    arguments = {name: getattr(module, name) for name in names}
    if isinstance(module, nn.ConvTranspose2d):
        arguments["output_padding"] = module.output_padding
    return {**arguments, "bias": False}


def test_padding_of_a_subclass_is_counted():
    module = SamePaddedConv2d(2, 3, 4, stride=2)
    x = (torch.rand(2, 2, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    assert nonzero_operations(module, x) == brute_force_operations(module, x)


@pytest.mark.parametrize(("module", "shape"), CONVOLUTIONS)
@pytest.mark.parametrize("density", [0.2, 1.0])
def test_operations_on_nonzero_inputs_equal_brute_force(module, shape, density):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < density)
    assert nonzero_operations(module, x) == brute_force_operations(module, x) > 0


def test_a_corner_input_reaches_four_positions_and_an_inner_one_nine():
    conv = nn.Conv2d(1, 1, 3, padding=1)
    for (row, column), expected in {(0, 0): 4, (0, 2): 6, (2, 2): 9}.items():
        x = torch.zeros(1, 1, 5, 5)
        x[0, 0, row, column] = 1
        assert nonzero_operations(conv, x) == expected


def test_an_input_without_batch_dimension_is_counted():
    assert nonzero_operations(nn.Conv2d(2, 3, 3), torch.ones(2, 5, 5)) == 3 * 2 * 9 * 9


@pytest.mark.parametrize("name", list(LAYERED))
def test_dense_macs_equal_torch(name):
    model = create_model(name, size=(16, 16), **LAYERED[name])
    x = torch.rand(8, 1, model.config["in_channels"], 16, 16)
    report = count_operations(model, x)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model.eval()(x)
    assert report.dense_macs == flops.get_total_flops() / 2
    assert report.unattributed_macs == 0
    assert report.parameters == sum(p.numel() for p in model.parameters())
    assert report.weight_bytes == 4 * report.parameters


def test_every_kind_of_layer_agrees_with_torch():
    for module, shape in CONVOLUTIONS:
        x = torch.rand(1, *shape)
        report = count_operations(TimeDistributed(module), x)
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            module(x[0])
        assert report.dense_macs * shape[0] == flops.get_total_flops() / 2


def test_recurrent_layers_are_counted_though_their_kernel_is_fused():
    model = create_model("evtransfer_lstm", size=(16, 16), width=4)
    report = count_operations(model, torch.rand(3, 2, 3, 16, 16))
    gates = 4 * 32 * (32 + 32)  # input and recurrent weights of one layer of 8 * 4 units, for one window
    assert report.unattributed_macs == 3 * 3 * gates  # three layers, three windows


def test_attention_is_counted():
    pytest.importorskip("timm")
    model = create_model("vit_b16", size=(16, 16), patch_size=4, width=8, depth=2, heads=2)
    report = count_operations(model, torch.rand(1, 2, 3, 16, 16))
    tokens = 16 + 1
    assert report.unattributed_macs == 2 * 2 * tokens**2 * 8  # two blocks, queries times keys and weights times values


def make_network():
    torch.manual_seed(0)
    network = SpikingSequential(
        SpikingConv2d(2, 4, norm=nn.Identity, neuron=IF()),
        nn.Flatten(2),
        SpikingLinear(36, 7, neuron=PLIF()),
        nn.Linear(7, 3),
    )
    with torch.no_grad():
        network[2].linear.weight.mul_(4)
    return network


def make_counts(n_samples=2):
    return torch.poisson(torch.full((5, n_samples, 2, 6, 6), 0.8), generator=torch.Generator().manual_seed(1))


def test_a_spiking_network_equals_brute_force():
    """The same network run layer by layer here, its spikes counted by hand."""
    network, x = make_network(), make_counts()
    report = count_operations(network, x)
    network.eval()
    with torch.no_grad():
        block, _, fc, _ = network
        first = torch.cat([block.conv(step) for step in x]).unflatten(0, (5, 2))
        spikes = block.neuron(first)
        pooled = block.pool(spikes).flatten(2)
        hidden = fc(pooled)
    expected = {
        "0.conv": ("macs", brute_force_operations(block.conv, x.flatten(0, 1))),
        "2.linear": ("acs", int(pooled.sum()) * 7),
        "3": ("acs", int(hidden.sum()) * 3),
    }
    layers = {layer.name: layer for layer in report.layers}
    assert list(layers) == ["0.conv", "0.neuron", "2.linear", "2.neuron", "3"]
    for name, (kind, operations) in expected.items():
        other = {"macs": "acs", "acs": "macs"}[kind]
        assert getattr(layers[name], kind) == operations / 2 > 0
        assert getattr(layers[name], other) == 0
    assert layers["0.neuron"].spikes == int(spikes.sum()) / 2 > 0
    assert layers["0.neuron"].neuron_updates == 5 * 4 * 36
    assert layers["0.neuron"].firing_rate == pytest.approx(spikes.mean().item())
    assert layers["0.neuron"].state_bytes == 4 * 4 * 36
    assert layers["2.neuron"].parameters == 1
    assert report.acs == sum(layer.acs for layer in report.layers)


def test_counts_are_per_sample():
    network, x = make_network(), make_counts(1)
    once = count_operations(network, x).to_dict()
    thrice = count_operations(network, x.expand(-1, 3, -1, -1, -1)).to_dict()
    assert (once.pop("n_samples"), len(once["samples"])) == (1, 1)
    assert thrice.pop("n_samples") == 3
    assert thrice.pop("samples") == 3 * once.pop("samples")
    assert once == thrice


def test_the_mode_of_every_module_is_given_back():
    network = make_network().train()
    network[0].eval()
    modes = [module.training for module in network.modules()]
    before = count_operations(network, make_counts())
    assert [module.training for module in network.modules()] == modes
    assert not network[0].conv._forward_hooks
    assert "forward_with_state" not in network[0].neuron.__dict__
    assert count_operations(network, make_counts()) == before


def test_real_valued_inputs_after_a_neuron_cost_macs():
    network = SpikingSequential(nn.Linear(4, 4), SoftSpiking(theta=0.0), nn.Linear(4, 2), LI(), nn.Linear(2, 2))
    report = count_operations(network, torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0)))
    layers = {layer.name: layer for layer in report.layers}
    assert layers["2"].macs == 2 * layers["1"].spikes > 0
    assert layers["4"].macs == layers["4"].dense_macs
    assert report.acs == 0
    assert layers["3"].spikes == 0
    assert layers["1"].state_bytes == 0


def test_spikes_from_a_neuron_in_front_cost_accumulates():
    report = count_operations(SpikingSequential(IF(), nn.Linear(4, 2)), torch.ones(3, 1, 4))
    assert (report.acs, report.macs) == (24, 0)


def test_products_outside_the_layers_are_reported():
    class WithProduct(nn.Module):
        def forward(self, x):
            return x @ x.new_ones(4, 3)

    report = count_operations(WithProduct(), torch.ones(5, 2, 4))
    assert report.unattributed_macs == 5 * 4 * 3
    assert report.dense_macs == 0


def test_the_report_is_json_and_a_table():
    report = count_operations(make_network(), make_counts())
    values = json.loads(json.dumps(report.to_dict()))
    assert values["acs"] == report.acs
    assert values["layers"][1]["firing_rate"] == report.layers[1].firing_rate
    lines = report.table().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].split()[:3] == ["total", f"{report.parameters:,}", f"{report.dense_macs:,.0f}"]


@pytest.mark.parametrize("shape", [(0, 1, 4), (1, 0, 4), (4,)])
def test_inputs_without_steps_or_samples_are_refused(shape):
    with pytest.raises(ShapeError, match="expected at least one step and one sample"):
        count_operations(nn.Linear(4, 4), torch.zeros(shape))


def test_the_fan_out_of_all_positions_sums_to_the_dense_count_without_padding():
    for stride, kernel in itertools.product((1, 2, 3), (2, 3)):
        conv, x = nn.Conv2d(2, 3, kernel, stride=stride), torch.ones(1, 1, 2, 8, 8)
        report = count_operations(TimeDistributed(conv), x)
        assert report.macs == report.dense_macs
