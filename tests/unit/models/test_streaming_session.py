"""A streaming session: the bits of ``forward_with_state``, whatever it runs on and whatever happens in between."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnfer import create_model
from snnfer.errors import ConfigError, ShapeError, StateError
from snnfer.layers import (
    ConvEncoder,
    DeltaEncoder,
    SpikingConv2d,
    SpikingLinear,
    SpikingSequential,
    TimeConstantDropout,
    VotingLayer,
)
from snnfer.models import SpikingClassifier, StreamingSession
from snnfer.neurons import IF, LI, LIF, PLIF
from snnfer.neurons.kernels import kernel_status, use_kernel

compiled = pytest.mark.skipif(not kernel_status("cpu").available, reason="the kernels are not compiled")


def counts(n_steps, *shape, seed=0, rate=0.1):
    generator = torch.Generator().manual_seed(seed)
    return torch.poisson(torch.full((n_steps, *shape), rate), generator=generator)


def awake(model: Any, frames) -> Any:
    """The model in evaluation mode with the statistics of `frames`, so that its neurons fire."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(frames[:, None])
    return model.eval()


def run_plain(model, frames):
    """Every step through ``forward_with_state``."""
    outputs, state = [], None
    with torch.no_grad():
        for frame in frames:
            y, state = model.forward_with_state(frame[None, None], state)
            outputs.append(y[0, 0])
    return torch.stack(outputs), state


def run_session(session, frames):
    return torch.stack([session.step(frame) for frame in frames])


def assert_same_state(a, b):
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same_state(x, y)


@compiled
def test_the_published_network_over_several_hundred_steps():
    torch.manual_seed(0)
    frames = counts(400, 2, 64, 64, rate=0.035)
    model = awake(create_model("au_snn"), frames[:40])
    with torch.no_grad():
        model.layers.fc1.linear.weight.mul_(3)  # so that the votes are not all zero
        model.layers.fc2.linear.weight.mul_(8)
    session = StreamingSession(model)
    found = run_session(session, frames)
    assert session.is_fused
    with torch.no_grad():
        batch, state = model.forward_with_state(frames[:, None])
    assert 0.02 < found.mean() < 0.9
    assert torch.equal(found, batch[:, 0])
    assert_same_state(session.state, state)


@compiled
@settings(max_examples=12, deadline=None)
@given(
    channels=st.sampled_from([16, 32, 48]),
    blocks=st.integers(1, 3),
    size=st.tuples(st.integers(8, 21), st.integers(8, 21)),
    in_channels=st.integers(1, 3),
    neuron=st.sampled_from([PLIF, LIF, lambda: LIF(decay_input=False, v_reset=-0.2), lambda: IF(v_threshold=0.7)]),
    last=st.sampled_from([PLIF, lambda: LI(tau=3.0), lambda: IF(reset="soft")]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_chains_of_every_shape(channels, blocks, size, in_channels, neuron, last, bias, seed):
    torch.manual_seed(seed)
    height, width = size
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(blocks):
        layers[f"block{i}"] = SpikingConv2d(channels if i else in_channels, channels, neuron=neuron())
        height, width = height // 2, width // 2
    layers["flatten"] = nn.Flatten(2)
    layers["dropout"] = TimeConstantDropout(0.3)
    layers["fc1"] = SpikingLinear(channels * height * width, 32, bias=bias, neuron=neuron())
    layers["fc2"] = SpikingLinear(32, 6, bias=bias, neuron=last())
    layers["voting"] = VotingLayer(2)
    frames = counts(25, in_channels, *size, seed=seed, rate=0.3)
    model = awake(SpikingClassifier(SpikingSequential(layers), in_channels=in_channels, size=size), frames)
    session = StreamingSession(model)
    found = run_session(session, frames)
    assert session.is_fused
    plain, state = run_plain(model, frames)
    assert torch.equal(found, plain)
    assert_same_state(session.state, state)


@compiled
def test_a_chain_that_keeps_its_input_as_state_behind_the_trunk():
    chain = SpikingSequential(SpikingConv2d(2, 16), DeltaEncoder(0.5), nn.Flatten(2), SpikingLinear(32 * 16, 4))
    frames = counts(20, 2, 8, 8, rate=0.5)
    model = awake(SpikingClassifier(chain, in_channels=2, size=(8, 8)), frames)
    session = StreamingSession(model)
    assert torch.equal(run_session(session, frames), run_plain(model, frames)[0])
    assert session.is_fused


@pytest.mark.parametrize("name", ["evtransfer_lstm", "spiking_fer"])
def test_other_networks_run_as_they_are(name):
    torch.manual_seed(0)
    small = {"evtransfer_lstm": {"width": 4, "hidden": 8}, "spiking_fer": {"width": 8, "blocks": (1, 1)}}[name]
    model: Any = create_model(name, size=(32, 32), **small).eval()
    frames = torch.rand(6, 3 if name.startswith("ev") else 2, 32, 32)
    session = StreamingSession(model)
    assert torch.equal(run_session(session, frames), run_plain(model, frames)[0])
    assert not session.is_fused


@compiled
def test_an_encoder_in_front_leaves_the_chain_to_itself():
    chain = SpikingSequential(ConvEncoder(2, 8), nn.Flatten(2), SpikingLinear(8 * 8 * 8, 4))
    frames = counts(10, 2, 8, 8)
    model = awake(SpikingClassifier(chain, in_channels=2, size=(8, 8)), frames)
    session = StreamingSession(model)
    assert torch.equal(run_session(session, frames), run_plain(model, frames)[0])
    assert not session.is_fused


@pytest.fixture
def small():
    """A small network that fires, and its input."""
    torch.manual_seed(1)
    frames = counts(24, 2, 16, 16, rate=0.3)
    model = awake(create_model("au_snn", n_classes=3, size=(16, 16), channels=16, hidden=32, votes=2), frames)
    with torch.no_grad():
        for linear in (model.layers.fc1.linear, model.layers.fc2.linear):
            linear.weight.mul_(4)
    return model, frames


def halve(parameter):
    with torch.no_grad():
        parameter.mul_(0.5)


CHANGES = {
    "weight in place": lambda m: halve(m.layers.conv2.conv.weight),
    "fully connected weight in place": lambda m: halve(m.layers.fc1.linear.weight),
    "bias in place": lambda m: halve(m.layers.fc2.linear.bias),
    "weight replaced": lambda m: setattr(m.layers.conv1.conv, "weight", nn.Parameter(m.layers.conv1.conv.weight * 2)),
    "data replaced": lambda m: setattr(m.layers.fc1.linear.weight, "data", m.layers.fc1.linear.weight.data * 2),
    "leak": lambda m: nn.init.constant_(m.layers.fc1.neuron.w, 1.5),
    "statistics": lambda m: m.layers.conv1.norm.running_mean.add_(0.2),
    "threshold": lambda m: setattr(m.layers.conv2.neuron, "v_threshold", 0.4),
    "member": lambda m: setattr(m.layers, "voting", VotingLayer(1)),
    "loaded": lambda m: m.load_state_dict({k: v * 0.7 for k, v in m.state_dict().items()}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_two_steps_counts_from_the_next_on(small, change):
    model, frames = small
    session = StreamingSession(model)
    before = run_session(session, frames[:12])
    expected_before, state = run_plain(model, frames[:12])
    CHANGES[change](model)
    after = run_session(session, frames[12:])
    expected, _ = model.forward_with_state(frames[12:, None], state)
    assert torch.equal(before, expected_before)
    assert torch.equal(after, expected[:, 0])
    fresh = StreamingSession(model)  # prepared anew: the same as the one that noticed
    fresh.reset(state)
    assert torch.equal(run_session(fresh, frames[12:]), after)


def test_a_weight_replaced_by_an_equal_one_is_watched_from_then_on(small):
    model, frames = small
    session = StreamingSession(model)
    session.step(frames[0])
    neuron = model.layers.fc1.neuron
    neuron.w = nn.Parameter(neuron.w.detach().clone())
    session.step(frames[1])
    nn.init.constant_(neuron.w, 1.5)
    state = session.state
    found = run_session(session, frames[2:])
    with torch.no_grad():
        expected, _ = model.forward_with_state(frames[2:, None], state)
    assert torch.equal(found, expected[:, 0])


def test_hooks_see_every_step(small):
    model, frames = small
    session = StreamingSession(model)
    session.step(frames[0])
    seen: list[torch.Tensor] = []
    handle = model.layers.conv1.conv.register_forward_hook(lambda module, given, output: seen.append(output))
    expected, _ = run_plain(model, frames[:3])
    seen.clear()
    assert torch.equal(torch.stack([session.step(frame) for frame in frames[1:3]]), expected[1:])
    assert len(seen) == 2
    handle.remove()
    session.step(frames[3])
    assert len(seen) == 2


@compiled
def test_another_kernel_in_the_middle_goes_on_from_the_state(small):
    model, frames = small
    session = StreamingSession(model)
    first = run_session(session, frames[:8])
    with use_kernel("reference"):
        middle = run_session(session, frames[8:16])
        assert not session.is_fused
    last = run_session(session, frames[16:])
    assert session.is_fused
    with torch.no_grad():
        reference = model.forward_steps(frames[:, None])[:, 0]
    found = torch.cat([first, middle, last])
    assert (found != reference).float().mean() < 0.02  # sums in another order may turn single spikes


def test_reset_starts_from_rest_or_from_a_state(small):
    model, frames = small
    session = StreamingSession(model)
    assert session.state is None
    first = run_session(session, frames[:10])
    kept = session.state
    rest = run_session(session, frames[10:])
    session.reset(kept)
    assert torch.equal(run_session(session, frames[10:]), rest)
    session.reset()
    assert torch.equal(run_session(session, frames[:10]), first)
    _, state = run_plain(model, frames[:10])
    assert_same_state(kept, state)


@pytest.mark.parametrize("wrong", [lambda s: s[:-1], lambda s: (torch.zeros(2, 16, 16, 16), *s[1:])])
def test_the_state_of_another_network_is_refused(small, wrong):
    model, frames = small
    session = StreamingSession(model)
    session.step(frames[0])
    state = wrong(session.state)

    def go_on():
        session.reset(state)
        session.step(frames[1])

    with pytest.raises(StateError, match="state of"):
        go_on()


def test_what_a_step_returns_stays_as_it_is(small):
    model, frames = small
    session = StreamingSession(model)
    first = session.step(frames[0])
    copy = first.clone()
    for frame in frames[1:]:
        session.step(frame)
    assert torch.equal(first, copy)


def test_frames_of_whole_numbers_are_taken(small):
    model, frames = small
    a, b = StreamingSession(model), StreamingSession(model)
    assert torch.equal(run_session(a, frames), run_session(b, frames.to(torch.uint8)))


@pytest.mark.parametrize("shape", [(2, 16, 15), (1, 16, 16), (16, 16)])
def test_a_frame_of_another_shape_is_refused(small, shape):
    session = StreamingSession(small[0])
    session.step(small[1][0])
    with pytest.raises(ShapeError, match="expected"):
        session.step(torch.zeros(shape))


def test_networks_of_whole_clips_and_in_training_are_refused(small):
    with pytest.raises(ConfigError, match=r"AUCNN3d without forward_with_state.*whole clips"):
        StreamingSession(create_model("au_cnn3d", size=(16, 16)))
    with pytest.raises(ConfigError, match=r"training mode.*model.eval\(\)"):
        StreamingSession(small[0].train())
    session = StreamingSession(small[0].eval())
    session.step(small[1][0])
    small[0].train()
    with pytest.raises(ConfigError, match="training mode"):
        session.step(small[1][1])


def test_the_mean_of_the_steps_is_the_score_of_the_clip(small):
    model, frames = small
    mean = run_session(StreamingSession(model), frames).mean(0)
    with torch.no_grad():
        np.testing.assert_allclose(mean, model(frames[:, None])[0], atol=1e-6)
