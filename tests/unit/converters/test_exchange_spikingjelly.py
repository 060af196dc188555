"""Networks to spikingjelly and back: no spike differs; gradients within 1e-5, relative to the largest."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from snnfer.converters import copy_weights, from_spikingjelly, to_spikingjelly
from snnfer.datasets import ClipInput
from snnfer.errors import ConversionError, SnnferError
from snnfer.layers import (
    FactorizedConv3d,
    GlobalAvgPool2d,
    SpikingAvgPool2d,
    SpikingConv2d,
    SpikingLinear,
    SpikingSequential,
    ThresholdDependentBatchNorm2d,
    TimeConstantDropout,
    TimeDistributed,
    VotingLayer,
)
from snnfer.models import create_model
from snnfer.neurons import IF, LI, LIF, PLIF, ATan, Sigmoid, SoftSpiking, SuperSpike, Triangle
from snnfer.neurons.adapters import from_spikingjelly as adapt
from snnfer.training import TrainedModel, load_model, save_model

functional = pytest.importorskip("spikingjelly.activation_based.functional", reason="needs snnfer[spikingjelly]")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")

RESETS = [("hard", 0.0), ("hard", -0.3), ("soft", 0.0)]
OPTIONS = list(itertools.product(RESETS, (True, False), (True, False)))
MODES = list(itertools.product((True, False), ("m", "s")))


def make_neuron(name, reset, v_reset, decay_input, detach_reset, alpha=3.0):
    firing = {"reset": reset, "v_reset": v_reset, "v_threshold": 0.7, "detach_reset": detach_reset}
    if name == "IF":
        return IF(**firing, surrogate=ATan(alpha))
    kind, tau = (LIF, "tau") if name == "LIF" else (PLIF, "init_tau")
    return kind(**{tau: 3.0}, decay_input=decay_input, **firing, surrogate=Sigmoid(alpha))


def make_node(name, reset, v_reset, decay_input, detach_reset, step_mode):
    firing = {
        "v_threshold": 0.7,
        "v_reset": v_reset if reset == "hard" else None,
        "detach_reset": detach_reset,
        "step_mode": step_mode,
    }
    if name == "IF":
        return neuron.IFNode(**firing, surrogate_function=surrogate.ATan(3.0))
    kind = neuron.LIFNode if name == "LIF" else neuron.ParametricLIFNode
    return kind(3.0, decay_input, **firing, surrogate_function=surrogate.Sigmoid(3.0))


def run(network, x, step_mode="m"):
    """Output of all steps, from rest."""
    functional.reset_net(network)
    y = torch.stack([network(step) for step in x]) if step_mode == "s" else network(x)
    functional.reset_net(network)
    return y


def check_same(ours, theirs, x, step_mode="m"):
    """Spikes are the same, and so are the gradients of input and parameters."""
    results = []
    for network, call in ((ours, ours), (theirs, lambda leaf: run(theirs, leaf, step_mode))):
        leaf = x.clone().requires_grad_()
        torch.manual_seed(7)  # masks of dropout
        y = call(leaf)
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
        results.append((y.detach(), torch.autograd.grad(y, [leaf, *network.parameters()], weights)))
    (y, gradients), (expected, expected_gradients) = results
    assert len(expected.unique()) > 1
    assert torch.equal(y, expected)
    assert len(gradients) == len(expected_gradients)
    for a, b in zip(gradients, expected_gradients, strict=True):
        assert (a - b).abs().max() <= 1e-5 * max(1.0, b.abs().max().item())


def random_input(*shape):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(4))


def awaken(model):
    """Give a network random weights with which all of its layers fire."""
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.uniform_(module.bias, 0.2, 0.8)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.05, 2 / module.in_features**0.5)
        elif isinstance(module, PLIF):
            module.w.data.uniform_(-1, 1)
    return model


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("name", ["IF", "LIF", "PLIF"])
@pytest.mark.parametrize(("reset", "decay_input", "detach_reset"), OPTIONS)
def test_neurons_are_the_same_there(name, reset, decay_input, detach_reset, step_mode):
    ours = make_neuron(name, *reset, decay_input, detach_reset)
    theirs = to_spikingjelly(ours, step_mode=step_mode)
    assert type(theirs[0]).__name__ == {"PLIF": "ParametricLIFNode"}.get(name, f"{name}Node")
    check_same(ours, theirs, random_input(15, 3, 9), step_mode)


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("name", ["IF", "LIF", "PLIF"])
@pytest.mark.parametrize(("reset", "decay_input", "detach_reset"), OPTIONS)
def test_nodes_are_the_same_here(name, reset, decay_input, detach_reset, step_mode):
    theirs = make_node(name, *reset, decay_input, detach_reset, step_mode)
    if name == "PLIF":
        theirs.w.data.fill_(0.37)  # as if trained
    check_same(from_spikingjelly(theirs), theirs, random_input(15, 3, 9), step_mode)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ATan(3.0), surrogate.ATan(3.0)),
        (Sigmoid(2.5), surrogate.Sigmoid(2.5)),
        (Triangle(1.5), surrogate.PiecewiseQuadratic(1.5)),
        (SuperSpike(1.0), surrogate.SuperSpike(1.0)),
        (SuperSpike(2.0), surrogate.SoftSign(2.0)),
    ],
)
def test_surrogates_are_known_by_their_values(ours, theirs):
    there = to_spikingjelly(IF(surrogate=ours))[0].surrogate_function
    assert type(there) is type(theirs)
    assert there.alpha == theirs.alpha
    assert from_spikingjelly(neuron.IFNode(surrogate_function=theirs))[0].surrogate == ours


def test_surrogate_without_counterpart_is_refused_or_replaced():
    with pytest.raises(ConversionError, match=r"'0' trains with the surrogate gradient SuperSpike\(alpha=10\.0\)"):
        to_spikingjelly(nn.Sequential(IF(surrogate=SuperSpike(10.0))))
    network = to_spikingjelly(IF(surrogate=SuperSpike(10.0)), replace_surrogate=Sigmoid(4.0))
    assert isinstance(network[0].surrogate_function, surrogate.Sigmoid)
    node = neuron.IFNode(surrogate_function=surrogate.Erf())
    with pytest.raises(ConversionError, match="surrogate gradient Erf"):
        from_spikingjelly(node)
    assert from_spikingjelly(node, replace_surrogate=ATan(2.0))[0].surrogate == ATan(2.0)
    with pytest.raises(ConversionError, match="surrogate gradient SuperSpike"):  # of another height than ours
        from_spikingjelly(neuron.IFNode(surrogate_function=surrogate.SuperSpike(3.0)))
    with pytest.raises(ConversionError, match="surrogate gradient ATan"):  # smooth, no spikes
        from_spikingjelly(neuron.IFNode(surrogate_function=surrogate.ATan(spiking=False)))


OUR_LAYERS = {
    "conv": (lambda: SpikingConv2d(3, 4, stride=2, neuron=LIF(), pool=1), (3, 8, 8)),
    "conv without norm": (lambda: SpikingConv2d(3, 4, norm=nn.Identity, pool=3), (3, 8, 8)),
    "tdbn": (lambda: SpikingConv2d(3, 4, norm=ThresholdDependentBatchNorm2d), (3, 8, 8)),
    "groups": (lambda: TimeDistributed(nn.Conv2d(4, 4, (3, 1), dilation=2, padding=1, groups=2)), (4, 8, 8)),
    "average": (lambda: SpikingAvgPool2d(2), (3, 8, 8)),
    "global average": (lambda: SpikingSequential(GlobalAvgPool2d(), SpikingLinear(3, 5)), (3, 8, 8)),
    "overlapping pools": (lambda: TimeDistributed(nn.MaxPool2d(3, stride=2, padding=1)), (3, 8, 8)),
    "group norm": (lambda: TimeDistributed(nn.GroupNorm(2, 4)), (4, 8, 8)),
    "flatten": (lambda: SpikingSequential(nn.Flatten(2), nn.Linear(48, 6), VotingLayer(3)), (3, 4, 4)),
    "dropout": (lambda: SpikingSequential(TimeConstantDropout(0.4), nn.Linear(9, 6), nn.ReLU()), (9,)),
    "read-out": (lambda: SpikingSequential(nn.Linear(9, 6), LI(tau=3.0)), (9,)),
    "soft spiking": (lambda: SpikingSequential(nn.Linear(9, 6), SoftSpiking()), (9,)),
}


@pytest.mark.parametrize(("training", "step_mode"), MODES)
@pytest.mark.parametrize("name", OUR_LAYERS)
def test_layers_there_and_back(name, training, step_mode):
    make, shape = OUR_LAYERS[name]
    torch.manual_seed(1)
    ours = awaken(SpikingSequential(make()).train(training))
    theirs = to_spikingjelly(ours, step_mode=step_mode)
    again = from_spikingjelly(theirs)
    x = random_input(6, 4, *shape)
    if training and step_mode == "s" and any(isinstance(m, nn.BatchNorm2d) for m in ours.modules()):
        theirs.eval(), again.eval(), ours.eval()  # each step would have statistics of its own
    check_same(copy.deepcopy(ours), copy.deepcopy(theirs), x, step_mode)
    check_same(again, theirs, x, step_mode)
    for key, tensor in theirs.state_dict().items():  # statistics of batch normalisation among them
        assert torch.equal(tensor, again.state_dict()[next(k for k in again.state_dict() if _plain(k) == _plain(key))])


def _plain(key):
    return key.replace(".module.", ".").replace(".neuron.neuron.", ".neuron.")


def their_network(step_mode):
    """What spikingjelly's tutorials build."""
    torch.manual_seed(5)
    network = nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1, bias=False),
        layer.BatchNorm2d(6),
        neuron.IFNode(surrogate_function=surrogate.ATan(), detach_reset=True),
        layer.MaxPool2d(2, 2),
        layer.Conv2d(6, 6, 3, padding=1),
        layer.BatchNorm2d(6),
        neuron.ParametricLIFNode(init_tau=2.0, v_reset=None, v_threshold=0.6),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Dropout(0.3),
        layer.Linear(6 * 4 * 4, 20, bias=False),
        neuron.LIFNode(tau=1.5, v_threshold=0.4),
        layer.VotingLayer(5),
    )
    functional.set_step_mode(network, step_mode)
    return awaken(network)


@pytest.mark.parametrize(("training", "step_mode"), MODES)
def test_a_network_of_theirs(training, step_mode):
    network = their_network(step_mode).train(training)
    if training and step_mode == "s":
        network[1].eval(), network[5].eval()
    ours = from_spikingjelly(network)
    assert ours.training == training
    check_same(ours, network, random_input(6, 4, 2, 16, 16), step_mode)
    if training:
        assert torch.equal(ours[1].running_mean, network[1].running_mean)


class TheirClass(nn.Module):
    def __init__(self):
        super().__init__()
        self.spikes = neuron.LIFNode(surrogate_function=surrogate.ATan())
        self.fc = layer.Linear(4 * 3 * 3, 6)
        self.conv = layer.SeqToANNContainer(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.AvgPool2d(2))
        self.out = neuron.IFNode(surrogate_function=surrogate.ATan())
        functional.set_step_mode(self, "m")

    def forward(self, x):
        return self.out(self.fc(self.spikes(self.conv(x)).flatten(2)))


def test_a_class_of_theirs_is_traced():
    torch.manual_seed(0)
    network = awaken(TheirClass())
    ours = from_spikingjelly(network)
    assert [name for name, _ in ours.named_children()] == ["conv", "spikes", "flatten", "fc", "out"]
    check_same(ours, nn.Sequential(*(network.conv, network.spikes, nn.Flatten(2), network.fc, network.out)),
               random_input(5, 3, 2, 8, 8))  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("au_snn", {"size": (16, 16), "n_classes": 3, "channels": 8, "hidden": 32}),
        ("spiking_fer", {"size": (32, 32), "n_classes": 4, "width": 6, "blocks": (1, 1)}),
    ],
)
def test_whole_models_there_and_back(name, options, training):
    model = awaken(create_model(name, **options)).train(training)
    if name == "spiking_fer":
        for block in (model.layers.stage1[0], model.layers.stage2[0]):
            nn.init.ones_(block.conv2.norm.weight)
    step_mode = "m" if training else "s"  # as snnfer computes: matrix products round with the size of the batch
    network = to_spikingjelly(model, step_mode=step_mode)
    again = from_spikingjelly(network)
    x = random_input(6, 3, 2, *options["size"]).round()
    check_same(_Steps(copy.deepcopy(model)), copy.deepcopy(network), x, step_mode)
    check_same(again, network, x, step_mode)
    assert type(again) is SpikingSequential
    assert again.training == network.training == training


class _Steps(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.forward_steps(x)


def test_weights_trained_there_come_back_to_a_model_that_is_saved(tmp_path):
    options = {"size": (16, 16), "n_classes": 3, "channels": 4, "hidden": 16, "votes": 2}
    model = awaken(create_model("au_snn", **options))
    network = to_spikingjelly(model)
    assert list(network.state_dict()) == list(model.layers.state_dict())
    assert all(a.data_ptr() != b.data_ptr() for a, b in zip(network.parameters(), model.parameters(), strict=True))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    x = random_input(5, 4, 2, 16, 16).round()
    for _ in range(2):
        functional.reset_net(network)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x).mean(0), torch.tensor([0, 1, 2, 0])).backward()
        optimiser.step()
    assert not torch.equal(network.conv1.neuron.w, model.layers.conv1.neuron.w)
    copy_weights(network, model)
    settings = ClipInput(modality="events", size=(16, 16))
    save_model(tmp_path, TrainedModel(model, settings, ("a", "b", "c"), (0.0, 0.0), (1.0, 1.0), {}))
    loaded = load_model(tmp_path).model
    assert torch.equal(loaded.forward_steps(x), run(network.eval(), x))


REFUSED_THERE = {
    "ahead": (FactorizedConv3d(2, 4), "'0' is a FactorizedConv3d"),
    "soft reset to -0.2": (IF(reset="soft", v_reset=-0.2), "soft reset with v_reset = -0.2, where spikingjelly has 0"),
    "flatten batch": (nn.Flatten(1), "'0' is a Flatten.*it does not join all dimensions from 2 on"),
    "no time": (nn.Conv2d(2, 3, 3), "'0' is a Conv2d.*without time, in a network over time"),
    "activation": (nn.Softplus(), "'0' is a Softplus"),
}


@pytest.mark.parametrize("name", REFUSED_THERE)
def test_refused_on_the_way_there(name):
    module, message = REFUSED_THERE[name]
    with pytest.raises(ConversionError, match=message):
        to_spikingjelly(nn.Sequential(module))


REFUSED_HERE = {
    "synaptic current": (lambda: neuron.CUBALIFNode(), "'0' is a CUBALIFNode.*a synaptic current"),
    "half threshold": (lambda: neuron.HalfThresholdIFNode(), "'0' is a HalfThresholdIFNode.*starts at half"),
    "not linear": (lambda: neuron.QIFNode(), "'0' is a QIFNode.*not linear"),
    "recurrent": (lambda: layer.LinearRecurrentContainer(neuron.IFNode(), 4, 4), "a recurrent connection"),
    "weights": (lambda: layer.WSConv2d(2, 3, 3), "'0' is a WSConv2d"),
    "mask of channels": (lambda: layer.Dropout2d(), "'0' is a Dropout2d.*whole channels"),
    "threshold below reset": (
        lambda: neuron.IFNode(v_threshold=0.5, v_reset=1.0, surrogate_function=surrogate.ATan()),
        r"'0' cannot be a neuron of snnfer \(v_threshold = 0.5 with v_reset = 1.0\)",
    ),
    "pruned": (lambda: prune.l1_unstructured(layer.Linear(4, 4), "weight", 0.5), r"'0' \(Linear\) holds .*weight_orig"),
}


@pytest.mark.parametrize("name", REFUSED_HERE)
def test_refused_on_the_way_here(name):
    make, message = REFUSED_HERE[name]
    with pytest.raises(ConversionError, match=message):
        from_spikingjelly(nn.Sequential(make()))


def test_shared_layers_and_shortcuts_are_refused():
    shared = layer.Linear(4, 4)
    with pytest.raises(ConversionError, match=r"'1' is used more than once \(Linear\)"):
        from_spikingjelly(nn.Sequential(shared, shared))
    node = neuron.IFNode(surrogate_function=surrogate.ATan())
    with pytest.raises(ConversionError, match=r"'1' is used more than once \(IFNode\)"):
        from_spikingjelly(nn.Sequential(node, node))
    pool = layer.MaxPool2d(2)
    assert len(from_spikingjelly(nn.Sequential(pool, pool))) == 2

    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = layer.Linear(4, 4)

        def forward(self, x):
            return x + self.fc(x)

    with pytest.raises(ConversionError, match="does not read the layer before it alone"):
        from_spikingjelly(nn.Sequential(Shortcut()))

    class Mean(Shortcut):
        def forward(self, x):
            return self.fc(x).mean(0)

    with pytest.raises(ConversionError, match="'mean' calls mean; expected modules, and flatten"):
        from_spikingjelly(Mean())


def test_a_start_that_is_not_rest_is_refused():
    node = neuron.IFNode(surrogate_function=surrogate.ATan())
    node.set_reset_value("v", 0.25)
    with pytest.raises(ConversionError, match=r"starts at 0\.25, not at 0"):
        from_spikingjelly(node)


def test_adapted_nodes_come_out_again():
    node = neuron.LIFNode(surrogate_function=surrogate.Erf())
    network = to_spikingjelly(SpikingSequential(nn.Linear(4, 3), adapt(node)), step_mode="s")
    assert type(network[1]) is neuron.LIFNode
    assert network[1].step_mode == "s"


def test_step_mode_is_checked():
    with pytest.raises(SnnferError, match="step_mode = 'x'"):
        to_spikingjelly(IF(), step_mode="x")
