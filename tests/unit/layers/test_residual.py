"""SEW blocks against spikingjelly's, and against the truth tables of their connections."""

import pytest
import torch
from torch import nn

from snnfer.errors import ConfigError, ShapeError, SnnferError, StateError
from snnfer.layers import SEWBlock, SpikingSequential, ThresholdDependentBatchNorm2d
from snnfer.neurons import IF, PLIF


def make_spikes(*shape, rate=0.4):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < rate).float()


def spikingjelly_block(in_channels, out_channels, *, stride, connect):
    sew_resnet = pytest.importorskip("spikingjelly.activation_based.model.sew_resnet", exc_type=ImportError)
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = nn.Sequential(sew_resnet.conv1x1(in_channels, out_channels, stride), layer.BatchNorm2d(out_channels))
    block = sew_resnet.BasicBlock(
        in_channels,
        out_channels,
        stride,
        shortcut,
        cnf=connect.upper(),
        spiking_neuron=neuron.IFNode,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
    )
    functional.set_step_mode(block, "m")
    return block


def names_there(key):
    """Our parameter name in spikingjelly's block."""
    for ours, theirs in (
        ("conv1.conv", "conv1"),
        ("conv1.norm", "bn1"),
        ("conv2.conv", "conv2"),
        ("conv2.norm", "bn2"),
        ("shortcut.conv", "downsample.0"),
        ("shortcut.norm", "downsample.1"),
    ):
        key = key.replace(ours, theirs)
    return key


@pytest.mark.parametrize("connect", ["add", "iand", "and"])
@pytest.mark.parametrize(("out_channels", "stride"), [(4, 1), (6, 1), (6, 2)])
def test_output_and_gradients_equal_spikingjelly(connect, out_channels, stride):
    torch.manual_seed(0)
    ours = SEWBlock(4, out_channels, stride=stride, connect=connect, neuron=IF).double()
    theirs = spikingjelly_block(4, out_channels, stride=stride, connect=connect).double()
    theirs.load_state_dict({names_there(key): value for key, value in ours.state_dict().items()})
    x = make_spikes(5, 2, 4, 9, 8).double()
    expected, y = theirs(x), ours(x)
    assert torch.equal(y, expected)
    assert len(y.unique()) == (3 if connect == "add" else 2)
    weights = torch.randn_like(y)
    grads = torch.autograd.grad(y, list(ours.parameters()), weights)
    named = dict(theirs.named_parameters())
    expected_grads = torch.autograd.grad(expected, [named[names_there(k)] for k, _ in ours.named_parameters()], weights)
    for a, b in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_connections_are_their_truth_tables():
    table = {"add": [0, 1, 1, 2], "and": [0, 0, 0, 1], "iand": [0, 1, 0, 0]}  # (a, x) = 00, 01, 10, 11
    x = make_spikes(4, 1, 2, 6, 6)
    for connect, expected in table.items():
        torch.manual_seed(0)
        block = SEWBlock(2, 2, connect=connect)
        a = block.conv2(block.conv1(x))
        y = block(x)
        for index, value in enumerate(expected):
            where = (a == index // 2) & (x == index % 2)
            assert where.any()
            assert (y[where] == value).all()


@pytest.mark.parametrize("connect", ["add", "iand"])
def test_a_silent_branch_passes_the_shortcut_on(connect):
    x = make_spikes(4, 2, 3, 6, 6)
    assert torch.equal(SEWBlock(3, 3, connect=connect, zero_init=True)(x), x)
    block = SEWBlock(3, 5, stride=2, connect=connect, zero_init=True)
    assert torch.equal(block(x), block.shortcut(x))


def test_each_neuron_is_its_own_and_norms_are_what_was_asked_for():
    block = SEWBlock(2, 4, neuron=lambda: PLIF(init_tau=3.0), norm=ThresholdDependentBatchNorm2d)
    assert len({id(part.neuron.w) for part in (block.conv1, block.conv2, block.shortcut)}) == 3
    assert isinstance(block.shortcut.norm, ThresholdDependentBatchNorm2d)
    assert SEWBlock(2, 4, norm=nn.Identity).conv1.conv.bias is not None


def test_streaming_carries_all_three_neurons():
    torch.manual_seed(0)
    chain = SpikingSequential(SEWBlock(2, 4, stride=2), SEWBlock(4, 4)).eval()
    x = make_spikes(7, 2, 2, 8, 8)
    whole = chain(x)
    first, state = chain.forward_with_state(x[:3])
    second, _ = chain.forward_with_state(x[3:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert not torch.equal(chain(x[3:]), whole[3:])
    assert [part.shape for part in state[0]] == [(2, 4, 4, 4)] * 3


def test_errors():
    with pytest.raises(SnnferError, match="connect = 'or'; expected one of add, and, iand"):
        SEWBlock(2, 2, connect="or")
    with pytest.raises(ConfigError, match="zero_init with connect = 'and'.*an 'and' with a silent branch is silent"):
        SEWBlock(2, 2, connect="and", zero_init=True)
    with pytest.raises(ConfigError, match="norm = Identity.*expected .* a normalisation with a weight"):
        SEWBlock(2, 2, norm=nn.Identity, zero_init=True)
    with pytest.raises(ShapeError, match="expected at least one time step and 2 channels"):
        SEWBlock(2, 2)(torch.zeros(4, 1, 3, 8, 8))
    with pytest.raises(StateError, match="a state of 2 entries for SEWBlock; expected 3 entries"):
        SEWBlock(2, 2).forward_with_state(torch.zeros(4, 1, 2, 8, 8), (None, None))
