"""The contract that every registered neuron keeps."""

import copy
import pickle

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from snnfer.errors import ConfigError, ShapeError, StateError
from snnfer.neurons import Neuron, Sigmoid, create_neuron, list_neurons, register_neuron

FIRING = {
    "v_threshold": 0.7,
    "v_reset": -0.4,
    "reset": "soft",
    "detach_reset": False,
    "surrogate": Sigmoid(3.0),
}
LEAK = {"tau": 3.5}
CHANGES = {  # every constructor argument with a value that is not its default
    "IF": FIRING,
    "LIF": {**FIRING, **LEAK, "decay_input": False},
    "PLIF": {**FIRING, "init_tau": 3.5, "decay_input": True},
    "LI": {**LEAK, "decay_input": False, "v_rest": 0.3},
    "SoftSpiking": {"theta": 0.9, "beta": 1.5},
}
WITHOUT_MEMORY = {"SoftSpiking"}


def make_input(shape=(20, 4, 3, 5), dtype=torch.float32):
    return (1.6 * torch.rand(shape, generator=torch.Generator().manual_seed(2))).to(dtype)


def output_and_gradient(neuron, x):
    x = x.clone().requires_grad_()
    y = neuron(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(4))
    return y.detach(), torch.autograd.grad(y, x, weights)[0]


def test_the_table_of_changes_covers_every_neuron_and_argument():
    assert sorted(CHANGES) == list_neurons()
    for name, changes in CHANGES.items():
        assert set(changes) == set(create_neuron(name).settings())


@pytest.mark.parametrize("name", list_neurons())
class TestNeuron:
    def test_shape_and_dtype(self, name):
        for shape in [(6, 2), (6, 2, 3), (6, 2, 3, 4, 5), (6, 0, 3), (1, 2, 3)]:
            y, _ = create_neuron(name).forward_with_state(torch.ones(shape))
            assert y.shape == shape
            assert y.dtype == torch.float32

    def test_nothing_is_kept(self, name):
        neuron, x = create_neuron(name), make_input()
        before = copy.deepcopy(neuron.__dict__)
        first = neuron(x)
        assert first.detach().abs().sum() > 0
        assert torch.equal(first, neuron(x))
        assert str(neuron.__dict__) == str(before)
        assert not list(neuron.buffers())

    @pytest.mark.parametrize("chunks", [[1] * 20, [7, 13], [19, 1]])
    def test_chunks_equal_the_whole_bit_for_bit(self, name, chunks):
        neuron, x = create_neuron(name, **CHANGES[name]), make_input()
        whole, last = neuron.forward_with_state(x)
        outputs, state = [], None
        for chunk in x.split(chunks):
            y, state = neuron.forward_with_state(chunk, state)
            outputs.append(y)
        assert torch.equal(torch.cat(outputs), whole)
        assert state is last if last is None else torch.equal(state, last)

    def test_gradients_flow_through_the_state(self, name):
        neuron, x = create_neuron(name), make_input()
        _, expected = output_and_gradient(neuron, x)
        leaf = x.clone().requires_grad_()
        first, state = neuron.forward_with_state(leaf[:8])
        second, _ = neuron.forward_with_state(leaf[8:], state)
        y = torch.cat([first, second])
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(4))
        torch.testing.assert_close(torch.autograd.grad(y, leaf, weights)[0], expected)

    def test_samples_are_independent(self, name):
        neuron, x = create_neuron(name), make_input()
        order = torch.tensor([2, 0, 3, 1])
        y = neuron(x).detach()
        assert torch.equal(neuron(x[:, order]).detach(), y[:, order])
        assert torch.equal(neuron(x[:, 1:2]).detach(), y[:, 1:2])

    def test_every_argument_changes_something(self, name):
        x = make_input()
        expected = output_and_gradient(create_neuron(name), x)
        for key, value in CHANGES[name].items():
            changed = output_and_gradient(create_neuron(name, **{key: value}), x)
            assert any(not torch.equal(a, b) for a, b in zip(changed, expected, strict=True)), key

    def test_checkpointed_equals_plain(self, name):
        neuron, x = create_neuron(name), make_input()
        expected = output_and_gradient(neuron, x)
        recomputed = output_and_gradient(lambda leaf: checkpoint(neuron, leaf, use_reentrant=False), x)
        for a, b in zip(recomputed, expected, strict=True):
            assert torch.equal(a, b)

    def test_state_dict_deepcopy_and_pickle(self, name):
        neuron, x = create_neuron(name, **CHANGES[name]), make_input()
        with torch.no_grad():
            for parameter in neuron.parameters():
                parameter.add_(0.5)
        fresh = create_neuron(name, **CHANGES[name])
        fresh.load_state_dict(neuron.state_dict())
        for other in (fresh, copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
            assert torch.equal(other(x), neuron(x))
        assert repr(copy.deepcopy(neuron)) == repr(neuron)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
    def test_other_dtypes(self, name, dtype):
        neuron, x = create_neuron(name), make_input(dtype=dtype)
        y, state = neuron.forward_with_state(x)
        assert y.dtype == dtype
        again, _ = neuron.forward_with_state(x, state)
        assert again.dtype == dtype
        x.requires_grad_()
        (grad,) = torch.autograd.grad(neuron(x).sum(), x)
        assert grad.dtype == dtype
        assert grad.isfinite().all()

    def test_every_parameter_gets_a_gradient(self, name):
        neuron = create_neuron(name)
        neuron(make_input().requires_grad_()).sum().backward()
        for parameter in neuron.parameters():
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0

    def test_a_state_of_another_shape_is_refused(self, name):
        if name in WITHOUT_MEMORY:
            assert create_neuron(name).forward_with_state(make_input())[1] is None
            return
        neuron = create_neuron(name)
        state = neuron.forward_with_state(make_input())[1]
        with pytest.raises(StateError, match=r"a state of shape \[4, 3, 5\].* expected a state of shape \[2, 3, 5\]"):
            neuron.forward_with_state(make_input((5, 2, 3, 5)), state)

    def test_an_input_without_batch_is_refused(self, name):
        with pytest.raises(ShapeError, match=r"has shape \[5\]; expected at least two dimensions \[T, N, \*\]"):
            create_neuron(name)(torch.ones(5))

    def test_repr_names_the_settings(self, name):
        neuron = create_neuron(name, **CHANGES[name])
        for key, value in CHANGES[name].items():
            assert f"{key}={value!r}" in repr(neuron)


def test_a_name_is_registered_once():
    class LIF(Neuron):
        pass

    with pytest.raises(ConfigError, match="'LIF' is registered twice"):
        register_neuron(LIF)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown neuron 'PLIIF'; .*fix: use 'PLIF'"):
        create_neuron("PLIIF")
