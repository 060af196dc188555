"""The compiled trunk against the chain of layers that it stands in for."""

import contextlib
import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnfer import create_model
from snnfer.layers import (
    SpikingConv2d,
    SpikingLinear,
    SpikingSequential,
    TimeBatchNorm2d,
    TimeConstantDropout,
    VotingLayer,
    _fused,
)
from snnfer.neurons import IF, LIF, PLIF, ATan, Sigmoid, SuperSpike, Triangle, kernel_status, observe, use_kernel

pytestmark = pytest.mark.skipif(not kernel_status("cpu").available, reason=kernel_status("cpu").reason)

firing = {
    "v_threshold": st.sampled_from([0.5, 1.0]),
    "v_reset": st.sampled_from([0.0, -0.25]),
    "surrogate": st.sampled_from([ATan(), Sigmoid(), Triangle(), SuperSpike()]),
}
decay = {"decay_input": st.booleans()}
neurons = st.one_of(
    st.builds(IF, **firing),
    st.builds(LIF, tau=st.just(2.0), **decay, **firing),
    st.builds(PLIF, init_tau=st.just(2.0), **decay, **firing),
)
sizes = st.fixed_dictionaries(
    {
        "n_steps": st.integers(1, 40),
        "n_samples": st.integers(1, 3),
        "in_channels": st.integers(1, 3),
        "height": st.integers(4, 19),
        "width": st.integers(4, 37),
        "channels": st.lists(st.sampled_from([16, 32, 48, 64]), min_size=1, max_size=2),
        "outputs": st.sampled_from([0, 16, 32, 128]),
        "seed": st.integers(0, 2**16),
    }
)


def make_chain(size, neuron, *, dropout=0.5, exact=False):
    """Blocks, and with `outputs` a flattening, dropout and a fully connected layer; `exact`: sums do not round."""
    torch.manual_seed(size["seed"])
    members, previous, pixels = [], size["in_channels"], (size["height"], size["width"])
    for channels in size["channels"]:
        norm = (lambda c: TimeBatchNorm2d(c, eps=0.0)) if exact else TimeBatchNorm2d
        members.append(SpikingConv2d(previous, channels, norm=norm, neuron=copy.deepcopy(neuron)))
        previous, pixels = channels, (pixels[0] // 2, pixels[1] // 2)
    if size["outputs"]:
        linear = SpikingLinear(previous * pixels[0] * pixels[1], size["outputs"], neuron=copy.deepcopy(neuron))
        members += [nn.Flatten(2), TimeConstantDropout(dropout), linear]
    chain = SpikingSequential(*members)
    with torch.no_grad():
        for block in chain[: len(size["channels"])]:
            block.norm.running_var.copy_(torch.randint(0, 2, block.norm.running_var.shape) * 3 + 1)
            block.norm.running_mean.copy_(torch.randint(-1, 2, block.norm.running_mean.shape) / 4)
            block.norm.weight.uniform_(0.5, 1.5)
            block.norm.bias.uniform_(-0.2, 0.4)
            block.conv.weight.mul_(2)
        if size["outputs"]:
            chain[-1].linear.weight.mul_(4).add_(0.02)
        if exact:
            for parameter in chain.parameters():
                if parameter.ndim:
                    parameter.copy_((parameter * 16).round() / 16)
    return chain


def make_counts(size):
    """Event counts, some of them large, and some frames empty."""
    generator = torch.Generator().manual_seed(size["seed"])
    shape = (size["n_steps"], size["n_samples"], size["in_channels"], size["height"], size["width"])
    x = torch.poisson(torch.full(shape, 0.15), generator=generator)
    x[:, :, :, 0, -1] += (torch.rand(shape[:3], generator=generator) < 0.2) * 9
    x[1::5] = 0
    return x


def outcome(chain, x, kernel, state=None):
    with use_kernel(kernel) if kernel else contextlib.nullcontext():
        return chain.forward_with_state(x, state)


def calls_of_the_trunk(monkeypatch):
    calls = []
    original = _fused.trunk
    monkeypatch.setattr(_fused, "trunk", lambda *arguments: calls.append(1) or original(*arguments))
    return calls


def tensors_of(state):
    return [a for a in state if a is not None]


@settings(max_examples=20, deadline=None)
@given(size=sizes, neuron=neurons, training_graph=st.booleans())
def test_spikes_and_states_are_the_same_where_no_sum_rounds(size, neuron, training_graph):
    size["n_steps"] = min(size["n_steps"], 10)  # every step halves the potential: one more bit, and 24 there are
    chain, x = make_chain(size, neuron, exact=True).eval(), make_counts(size)
    with torch.set_grad_enabled(training_graph):
        y, state = outcome(chain, x, None)
    with torch.no_grad():
        expected, expected_state = outcome(chain, x, "reference")
    assert y.requires_grad is training_graph
    assert torch.equal(y, expected)
    for ours, theirs in zip(state, expected_state, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert torch.equal(ours, theirs)


def test_many_steps_and_signed_values():
    size = {"n_steps": 200, "n_samples": 1, "in_channels": 2, "height": 7, "width": 5, "channels": [16], "seed": 3}
    chain = make_chain(size | {"outputs": 16}, IF(), exact=True).eval()
    x = make_counts(size) * torch.tensor([1.0, -0.5])[:, None, None]
    with torch.no_grad():
        assert torch.equal(outcome(chain, x, None)[0], outcome(chain, x, "reference")[0])


@settings(max_examples=20, deadline=None)
@given(size=sizes, neuron=neurons, from_state=st.booleans(), training=st.booleans())
def test_gradients_against_float64(size, neuron, from_state, training):
    chain = make_chain(size, neuron).train(training)
    exact = copy.deepcopy(chain).double()
    x = make_counts(size)
    outs, grads = [], []
    shapes = [a.shape for a in tensors_of(copy.deepcopy(chain).forward_with_state(x)[1])]
    for network, dtype, kernel in ((chain, torch.float32, None), (exact, torch.float64, "reference")):
        torch.manual_seed(5)
        state = None
        if from_state:
            potentials = [torch.rand(s).mul(0.4).to(dtype).requires_grad_() for s in shapes]
            state = potentials_in_place(network, potentials, training=training)
        y, last = outcome(network, x.to(dtype), kernel, state)
        loss = sum((a * a).sum() + (a * weights_of(a)).sum() for a in [y, *tensors_of(last)])
        leaves = [p for p in network.parameters() if p.requires_grad]
        leaves += [s for s in (state or []) if s is not None and s.requires_grad]
        outs.append(y)
        grads.append(torch.autograd.grad(loss, leaves))
    if not torch.equal(outs[0].double(), outs[1]):
        return  # a potential within rounding of its threshold: counted by another test
    for ours, theirs in zip(*grads, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * scale_of(theirs, grads[1])


def weights_of(a):
    return torch.cos(torch.arange(a.numel(), dtype=torch.float64)).reshape(a.shape).to(a.dtype)


def potentials_in_place(network, potentials, *, training):
    """A state of the chain from the potentials of its neurons; the mask of the dropout is drawn."""
    state, potentials = [], list(potentials)
    for member in network:
        if isinstance(member, SpikingConv2d | SpikingLinear):
            state.append(potentials.pop(0))
        else:
            if training and isinstance(member, TimeConstantDropout):
                potentials.pop(0)
            state.append(None)
    return tuple(state)


def scale_of(gradient, all_gradients):
    """Where terms cancel, as those of a normalised weight do, the gradients of the other tensors give the scale."""
    largest = gradient.abs().max()
    return torch.maximum(largest, 1e-2 * max(g.abs().max() for g in all_gradients)).clamp(min=1e-12)


def current_of(block, x):
    """The neuron's potentials before the reset in float64, step by step."""
    block = copy.deepcopy(block).double()
    v, found = torch.zeros((), dtype=torch.float64), []
    rate = torch.sigmoid(block.neuron.w)
    with torch.no_grad():
        for current in block.current(x.double()):
            h = v - rate * v + current
            v = torch.where(h >= 1, 0.0, h)
            found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize("seed", range(3))
def test_a_spike_differs_only_within_rounding_of_the_threshold(seed):
    torch.manual_seed(seed)
    size = {"n_steps": 60, "n_samples": 2, "in_channels": 2, "height": 20, "width": 20, "channels": [32], "seed": seed}
    chain = make_chain(size | {"outputs": 0}, PLIF()).train()
    x = make_counts(size)
    h = current_of(chain[0], x)
    expected = torch.nn.functional.max_pool2d((h >= 1).double().flatten(0, 1), 2).unflatten(0, (60, 2))
    nearest = -torch.nn.functional.max_pool2d(-(h - 1).abs().flatten(0, 1), 2).unflatten(0, (60, 2))
    with torch.no_grad():
        y = chain(x).double()
    assert 0.02 < y.mean() < 0.9
    near = nearest.cummin(0).values < 2e-6  # this step, or one before it
    assert not ((y != expected) & ~near).any()
    assert (y != expected).float().mean() < 1e-4


def test_evaluation_does_not_depend_on_the_cut():
    size = {"n_steps": 75, "n_samples": 2, "in_channels": 2, "height": 13, "width": 17, "channels": [32, 16], "seed": 1}
    chain, x = make_chain(size | {"outputs": 64}, PLIF()), make_counts(size)
    chain = SpikingSequential(*chain, TimeConstantDropout(), SpikingLinear(64, 30), VotingLayer(10)).eval()
    with torch.no_grad():
        chain[-2].linear.weight.add_(0.05)
        whole, last = chain.forward_with_state(x)
        state, parts = None, []
        for chunk in x.split([1, 1, 40, 33]):
            y, state = chain.forward_with_state(chunk, state)
            parts.append(y)
    assert 0.01 < whole.mean() < 0.99
    assert torch.equal(torch.cat(parts), whole)
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(state), tensors_of(last), strict=True))


def test_several_threads_give_the_same_bits():
    size = {"n_steps": 20, "n_samples": 3, "in_channels": 2, "height": 18, "width": 22, "channels": [32, 32], "seed": 2}
    chain, x = make_chain(size | {"outputs": 32}, PLIF()), make_counts(size)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            y, state = chain.forward_with_state(x)
            found.append(
                (y, *tensors_of(state), *torch.autograd.grad((y * weights_of(y)).sum(), [*chain.parameters()]))
            )
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_mask_of_a_dropout_is_drawn_and_kept_as_by_the_layer():
    size = {"n_steps": 4, "n_samples": 3, "in_channels": 2, "height": 8, "width": 8, "channels": [16], "seed": 4}
    chain, x = make_chain(size | {"outputs": 16}, PLIF(), dropout=0.3), make_counts(size)
    plain = copy.deepcopy(chain)
    states = []
    for network, kernel in ((chain, None), (plain, "reference")):
        torch.manual_seed(11)
        first = outcome(network, x, kernel)[1]
        states.append((first, outcome(network, x, kernel, tuple(a if a is None else a.detach() for a in first))[1]))
        states[-1] += (torch.rand(1),)
    for ours, theirs in zip(states[0][:2], states[1][:2], strict=True):
        assert torch.equal(ours[2], theirs[2])
    assert torch.equal(states[0][2], states[1][2])  # as many random numbers were drawn


def test_stored_statistics_move_as_those_of_the_layers():
    size = {"n_steps": 9, "n_samples": 2, "in_channels": 2, "height": 11, "width": 10, "channels": [16, 32], "seed": 6}
    chain, x = make_chain(size | {"outputs": 0}, LIF()), make_counts(size)
    plain = copy.deepcopy(chain)
    for _ in range(2):
        outcome(chain, x, None)
        outcome(plain, x, "reference")
    for (name, ours), theirs in zip(chain.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, msg=name)
    assert chain[0].norm.num_batches_tracked == 2


def test_a_graph_can_be_gone_back_twice():
    size = {"n_steps": 5, "n_samples": 2, "in_channels": 2, "height": 8, "width": 9, "channels": [16, 16], "seed": 7}
    chain, x = make_chain(size | {"outputs": 16}, PLIF()), make_counts(size)
    y = chain(x)
    first = torch.autograd.grad(y.sum(), [*chain.parameters()], retain_graph=True)
    second = torch.autograd.grad(y.sum(), [*chain.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


SMALL = {"n_steps": 3, "n_samples": 2, "in_channels": 2, "height": 8, "width": 8, "channels": [16], "seed": 8}


def test_the_trunk_runs_by_default(monkeypatch):
    calls = calls_of_the_trunk(monkeypatch)
    make_chain(SMALL | {"outputs": 16}, PLIF())(make_counts(SMALL))
    assert calls


def hooked(chain):
    chain[0].conv.register_forward_hook(lambda *_: None)


def frozen_statistics(chain):
    chain[0].norm.eval()


def other_convolution(chain):
    chain[0].conv = nn.Conv2d(2, 16, 5, padding=2, bias=False)


def soft_reset(chain):
    chain[0].neuron = LIF(reset="soft")


def attached_reset(chain):
    chain[0].neuron = LIF(detach_reset=False)


def own_surrogate(chain):
    class Mine(ATan):
        pass

    chain[0].neuron = LIF(surrogate=Mine())


def per_channel_rate(chain):
    chain[0].neuron.w = nn.Parameter(torch.zeros(16, 1, 1))


def replaced_method(chain):
    chain[0].current = chain[0].current


def pruned(chain):
    from torch.nn.utils import prune

    prune.l1_unstructured(chain[0].conv, "weight", 0.5)


UNUSUAL = [
    hooked, frozen_statistics, other_convolution, soft_reset, attached_reset, own_surrogate, per_channel_rate,
    replaced_method, pruned,
]  # fmt: skip


@pytest.mark.parametrize("change", UNUSUAL, ids=lambda change: change.__name__)
def test_what_is_unusual_runs_layer_by_layer(change, monkeypatch):
    calls = calls_of_the_trunk(monkeypatch)
    chain = make_chain(SMALL | {"outputs": 16}, PLIF())
    change(chain)
    chain(make_counts(SMALL)).sum().backward()
    assert not calls
    assert chain[0].norm.weight.grad is not None


def test_inputs_that_the_trunk_leaves_to_the_layers(monkeypatch):
    calls = calls_of_the_trunk(monkeypatch)
    chain, x = make_chain(SMALL | {"outputs": 16}, PLIF()), make_counts(SMALL)
    chain(x.clone().requires_grad_()).sum().backward()
    chain(x + 1.0)  # every value an event
    copy.deepcopy(chain).double()(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        chain(x)
    with observe(chain, lambda *_: calls.clear()):
        chain(x)
    with use_kernel("reference"):
        chain(x)
    assert not calls


def test_a_chain_behind_the_trunk_goes_on_step_by_step():
    size = SMALL | {"outputs": 40 * 16, "channels": [16, 32]}
    chain = make_chain(size, PLIF(), exact=True)
    chain = SpikingSequential(*chain, SpikingLinear(640, 20), VotingLayer(10)).eval()
    x = make_counts(size)
    with torch.no_grad():
        y, state = chain.forward_with_state(x)
        expected, expected_state = outcome(chain, x, "reference")
    assert torch.equal(y, expected)
    assert [type(a) for a in state] == [type(a) for a in expected_state]


def test_training_both_ends_at_the_same_loss():
    torch.manual_seed(0)
    model = create_model("au_snn", size=(32, 32), hidden=128)
    plain = copy.deepcopy(model)
    x = torch.poisson(torch.full((20, 4, 2, 32, 32), 0.05), generator=torch.Generator().manual_seed(0)) * 2
    target = torch.nn.functional.one_hot(torch.arange(4), 21).float()
    losses = []
    for network, kernel in ((model, None), (plain, "reference")):
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        torch.manual_seed(1)
        with use_kernel(kernel) if kernel else contextlib.nullcontext():
            for _ in range(3):
                loss = torch.nn.functional.mse_loss(network(x), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_inference_follows_weights_that_change():
    chain = make_chain(SMALL | {"outputs": 16}, PLIF()).eval()
    x = make_counts(SMALL)[:, :1]
    for change in ("conv.weight", "norm.running_mean", "norm.bias", "neuron.w", "linear.weight"):
        with torch.no_grad():
            before = chain.forward_with_state(x)[1]
            member = chain[3] if change.startswith("linear") else chain[0]
            tensor = member.get_parameter(change) if "running" not in change else member.norm.running_mean
            tensor.data.sub_(0.3)  # which torch does not count
            after = chain.forward_with_state(x)[1]
            expected = outcome(copy.deepcopy(chain), x, "reference")[1]
        position = 3 if change.startswith("linear") else 0
        assert not torch.equal(before[position], after[position])
        torch.testing.assert_close(after[position], expected[position], rtol=0, atol=1e-5)
