"""Networks to norse and back: no spike differs; gradients within 1e-5, relative to the largest.

norse multiplies by dt * tau_mem_inv where snnfer divides by tau, so that potentials differ in the last bit; no input
here comes that near to a threshold.
"""

import copy
import itertools

import pytest
import torch
from torch import nn

from snnfer.converters import copy_weights, from_norse, to_norse
from snnfer.errors import ConversionError, SnnferError
from snnfer.layers import SpikingConv2d, SpikingLinear, SpikingSequential, TimeConstantDropout, TimeDistributed
from snnfer.models import create_model
from snnfer.neurons import IF, LI, LIF, PLIF, ATan, Sigmoid, SoftSpiking, SuperSpike, Triangle

norse = pytest.importorskip("norse.torch", reason="needs snnfer[norse]")
reset_subtract = pytest.importorskip("norse.torch.functional.reset").reset_subtract
snn = pytest.importorskip("norse.torch.module.snn")

RESETS = [("hard", 0.0), ("hard", -0.3), ("soft", 0.0), ("soft", -0.2)]


def run(network, x, over_time=True):
    """Output of all steps, from rest."""
    if over_time:
        y = network(x)
        return y[0] if isinstance(y, tuple) else y
    outputs, state = [], None
    for step in x:
        y, state = network(step, state)
        outputs.append(y)
    return torch.stack(outputs)


def check_same(ours, theirs, x, over_time=True, *, gradients=True):
    results = []
    for network, call in ((ours, ours), (theirs, lambda leaf: run(theirs, leaf, over_time))):
        leaf = x.clone().requires_grad_()
        torch.manual_seed(7)  # masks of dropout
        y = call(leaf)
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
        results.append((y.detach(), torch.autograd.grad(y, [leaf, *network.parameters()], weights)))
    (y, grads), (expected, expected_grads) = results
    assert len(expected.unique()) > 1
    if set(expected.unique().tolist()) <= {0.0, 1.0}:
        assert torch.equal(y, expected)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    if gradients:
        for a, b in zip(grads, expected_grads, strict=True):
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


def make_neuron(name, reset, v_reset, decay_input, surrogate=None):
    firing = {
        "reset": reset,
        "v_reset": v_reset,
        "v_threshold": 0.7,
        "detach_reset": False,
        "surrogate": surrogate or SuperSpike(1.0),
    }
    if name == "IF":
        return IF(**firing)
    kind, tau = (LIF, "tau") if name == "LIF" else (PLIF, "init_tau")
    return kind(**{tau: 2.7}, decay_input=decay_input, **firing)


@pytest.mark.parametrize("over_time", [True, False])
@pytest.mark.parametrize("neurons", ["snnfer", "norse"])
@pytest.mark.parametrize(("name", "decay_input"), [("IF", True), *itertools.product(["LIF", "PLIF"], [True, False])])
@pytest.mark.parametrize("reset", RESETS)
def test_neurons_there_and_back(name, reset, decay_input, neurons, over_time):
    ours = make_neuron(name, *reset, decay_input)
    if neurons == "norse" and name == "IF" and reset[0] == "soft":
        with pytest.raises(ConversionError, match=r"'0' is a IF.*soft reset.*neurons=\"snnfer\""):
            to_norse(ours, neurons=neurons)
        return
    network = to_norse(ours, neurons=neurons, over_time=over_time)
    x = random_input(15, 3, 9)
    learns = name == "PLIF" and neurons == "norse"
    check_same(ours, network, x, over_time, gradients=not learns)
    again = from_norse(network)
    check_same(again, network, x, over_time)
    assert again[0].reset == reset[0]
    assert again[0].v_threshold == pytest.approx(0.7, rel=1e-7)
    if neurons == "snnfer":
        check_same(again, ours, x)


@pytest.mark.parametrize("surrogate", [SuperSpike(1.0), Triangle(1.0), Sigmoid(4.0)])
@pytest.mark.parametrize("neurons", ["snnfer", "norse"])
def test_surrogates_that_norse_has(surrogate, neurons):
    ours = make_neuron("LIF", "hard", 0.0, True, surrogate)
    network = to_norse(ours, neurons=neurons)
    check_same(ours, network, random_input(12, 3, 5))
    assert from_norse(network)[0].surrogate == surrogate


def test_other_gradients_are_the_same_with_our_neurons():
    ours = LIF(tau=3.0, surrogate=ATan(3.0), detach_reset=True)
    check_same(ours, to_norse(ours), random_input(12, 3, 5))


def parameters(kind=norse.LIFBoxParameters, **changes):
    return kind(**{"tau_mem_inv": torch.tensor(80.0), "v_th": torch.tensor(0.6), **changes})


NEURONS = {
    "LIFBoxCell": lambda: norse.LIFBoxCell(parameters(), dt=0.005),
    "LIFBoxCell soft": lambda: norse.LIFBoxCell(parameters(reset_method=reset_subtract), dt=0.005),
    "LIFBoxCell from -0.2": lambda: norse.LIFBoxCell(
        parameters(v_leak=torch.tensor(-0.2), v_reset=torch.tensor(-0.2)), dt=0.005
    ),
    "LIFBoxCell triangle": lambda: norse.LIFBoxCell(parameters(method="triangle", alpha=torch.tensor(1.0)), dt=0.005),
    "IAFCell": lambda: norse.IAFCell(norse.IAFParameters(v_th=torch.tensor(0.6))),
    "IAF": lambda: norse.IAF(norse.IAFParameters(v_reset=torch.tensor(-0.3))),
    "LIFCell without synapse": lambda: norse.LIFCell(
        parameters(norse.LIFParameters, tau_syn_inv=torch.tensor(200.0)), dt=0.005
    ),
    "LIF without synapse": lambda: norse.LIF(
        parameters(norse.LIFParameters, tau_syn_inv=torch.tensor(200.0)), dt=0.005
    ),
    "LIBoxCell": lambda: norse.LIBoxCell(norse.LIBoxParameters(v_leak=torch.tensor(0.3)), dt=0.004),
}


@pytest.mark.parametrize("name", NEURONS)
def test_neurons_of_theirs(name):
    cell = NEURONS[name]()
    network = norse.SequentialState(cell)
    check_same(from_norse(network), network, random_input(15, 3, 9), isinstance(cell, snn.SNN))


def test_a_learned_time_constant_stays_learned():
    tau_mem_inv = torch.tensor(80.0, requires_grad=True)
    chain = from_norse(norse.LIFBoxCell(parameters(tau_mem_inv=tau_mem_inv), dt=0.005))
    assert isinstance(chain[0], PLIF)
    assert chain[0].tau == pytest.approx(2.5, rel=1e-6)
    check_same(chain, norse.LIFBoxCell(parameters(), dt=0.005), random_input(12, 3, 5), False, gradients=False)


def their_network():
    torch.manual_seed(5)
    network = norse.SequentialState(
        nn.Conv2d(2, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        norse.LIFBoxCell(parameters(), dt=0.005),
        nn.MaxPool2d(2),
        norse.SequentialState(nn.Conv2d(6, 6, 3, padding=1), norse.IAFCell()),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 20),
        norse.LIFBoxCell(parameters(reset_method=reset_subtract), dt=0.002),
        nn.Linear(20, 4),
        norse.LIBoxCell(),
    )
    return awaken(network)


@pytest.mark.parametrize("over_time", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_a_network_of_theirs(training, over_time):
    network = their_network().train(training)
    network[1].eval()  # called step by step, it would normalise each step alone
    ours = from_norse(norse.Lift(network) if over_time else network)
    assert ours.training == training
    check_same(ours, norse.Lift(network) if over_time else network, random_input(6, 4, 2, 16, 16), over_time)


def test_lifted_layers_see_steps():
    torch.manual_seed(0)
    network = norse.SequentialState(
        norse.Lift(nn.Conv2d(2, 4, 3)), norse.IAF(), norse.Lift(nn.Flatten()), nn.Linear(144, 3)
    )
    chain = from_norse(network)
    assert isinstance(chain[0], TimeDistributed)
    check_same(chain, network, random_input(6, 4, 2, 8, 8))


LAYERS = {
    "conv": (lambda: SpikingConv2d(3, 4), (3, 8, 8)),
    "conv with bias": (lambda: SpikingConv2d(3, 4, norm=nn.Identity, pool=1, stride=2), (3, 8, 8)),
    "linear": (lambda: SpikingSequential(nn.Flatten(2), SpikingLinear(48, 6)), (3, 4, 4)),
    "dropout": (lambda: SpikingSequential(TimeConstantDropout(0.4), nn.Linear(9, 6)), (9,)),
    "soft spiking": (lambda: SpikingSequential(nn.Linear(9, 6), SoftSpiking(), LI(tau=3.0)), (9,)),
}


@pytest.mark.parametrize(("training", "over_time"), itertools.product((True, False), (True, False)))
@pytest.mark.parametrize("name", LAYERS)
def test_layers_there_and_back(name, training, over_time):
    make, shape = LAYERS[name]
    torch.manual_seed(1)
    ours = awaken(SpikingSequential(make()).train(training))
    if not over_time:  # each step would have statistics of its own
        for module in ours.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    network = to_norse(ours, over_time=over_time)
    x = random_input(6, 4, *shape)
    again = from_norse(network)
    check_same(copy.deepcopy(ours), copy.deepcopy(network), x, over_time)
    check_same(again, network, x, over_time)
    if training:
        pairs = zip(again.buffers(), network.buffers(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)  # statistics of batch normalisation


class _Steps(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.forward_steps(x)


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
    network = to_norse(model, over_time=training)
    x = random_input(6, 3, 2, *options["size"]).round()
    again = from_norse(network)
    check_same(_Steps(copy.deepcopy(model)), copy.deepcopy(network), x, training)
    check_same(again, network, x, training)
    other = create_model(name, **options).eval()
    copy_weights(network, other)
    assert torch.equal(other.forward_steps(x), again.eval()(x))


def test_au_snn_with_their_neurons():
    model = awaken(create_model("au_snn", size=(16, 16), n_classes=3, channels=8, hidden=32)).eval()
    x = random_input(6, 3, 2, 16, 16).round()
    for over_time, kind in ((True, snn.SNN), (False, snn.SNNCell)):
        network = to_norse(model, neurons="norse", over_time=over_time)
        assert sum(isinstance(module, kind) for module in network.modules()) == 4
        scores = run(network, x, over_time)
        assert torch.equal(scores, model.forward_steps(x))
        assert torch.equal(from_norse(network)(x), scores)
        scores.sum().backward()  # it trains
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_streaming_there():
    model = awaken(create_model("au_snn", size=(16, 16), n_classes=3, channels=8, hidden=32)).eval()
    x = random_input(6, 3, 2, 16, 16).round()
    for neurons in ("snnfer", "norse"):
        network = to_norse(model, neurons=neurons)
        first, state = network(x[:2])
        second, _ = network(x[2:], state)
        assert torch.equal(torch.cat([first, second]), model.forward_steps(x))


REFUSED = {
    "synaptic current": (lambda: norse.LIFCell(), "'0' is a LIFCell.*a synaptic current that lasts"),
    "recurrent": (lambda: norse.LIFRecurrentCell(4, 4), "'0' is a LIFRecurrentCell.*a recurrent connection"),
    "adaptive": (lambda: norse.LSNNCell(), "'0' is a LSNNCell.*no neuron of the equations lsnn"),
    "adjoint": (
        lambda: norse.LIFCell(norse.LIFParameters(method="adjoint")),
        "'0' is a LIFCell.*no neuron of the equations lif_feed_forward_adjoint_step",
    ),
    "two potentials": (
        lambda: norse.LIFBoxCell(parameters(v_leak=torch.tensor(-0.1))),
        "'0' is a LIFBoxCell.*it leaks to -0.1 and resets to 0",
    ),
    "learned threshold": (
        lambda: norse.LIFBoxCell(parameters(v_th=torch.tensor(1.0, requires_grad=True))),
        "'0' is a LIFBoxCell.*v_th is learned",
    ),
    "many time constants": (
        lambda: norse.LIFBoxCell(parameters(tau_mem_inv=torch.tensor([80.0, 90.0]))),
        "'0' is a LIFBoxCell.*differ in tau_mem_inv",
    ),
    "reset of its own": (
        lambda: norse.LIFBoxCell(parameters(reset_method=lambda z, v, reset, th: v * 0)),
        "'0' is a LIFBoxCell.*a reset of its own",
    ),
    "too fast": (lambda: norse.LIFBoxCell(parameters(), dt=0.1), r"'0' cannot be a neuron of snnfer \(tau = 0.125"),
    "no gradient": (
        lambda: norse.LIFBoxCell(parameters(method="heaviside")), "'0' trains with the surrogate gradient heaviside"
    ),
    "other library": (lambda: norse.RegularizationCell(), "'0' is a RegularizationCell"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_on_the_way_here(name):
    make, message = REFUSED[name]
    with pytest.raises(ConversionError, match=message):
        from_norse(norse.SequentialState(make()))


def test_surrogate_is_replaced_on_request():
    cell = norse.LIFBoxCell(parameters(method="heavi_erfc"))
    with pytest.raises(ConversionError, match="heavi_erfc.*pass replace_surrogate"):
        from_norse(cell)
    assert from_norse(cell, replace_surrogate=ATan(2.0))[0].surrogate == ATan(2.0)


def test_refused_on_the_way_there():
    with pytest.raises(ConversionError, match=r"'0' is a SoftSpiking.*pass neurons=\"snnfer\""):
        to_norse(SoftSpiking(), neurons="norse")
    with pytest.raises(ConversionError, match=r"'0' is a LI.*a time constant without end"):
        to_norse(LI(tau=float("inf"), decay_input=False), neurons="norse")
    with pytest.raises(SnnferError, match="neurons = 'x'"):
        to_norse(IF(), neurons="x")
