"""Sharing over time, dropout over time, voting."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ShapeError, SnnferError, StateError
from snnfer.layers import TimeConstantDropout, TimeDistributed, VotingLayer


def test_time_distributed_applies_the_layer_to_every_step():
    layer = nn.Conv2d(2, 3, 3)
    x = torch.rand(4, 2, 2, 6, 6)
    expected = torch.stack([layer(step) for step in x])
    torch.testing.assert_close(TimeDistributed(layer)(x), expected)


def test_voting_equals_average_pooling():
    x = torch.rand(5, 2, 30)
    torch.testing.assert_close(VotingLayer(10)(x), F.avg_pool1d(x, 10, 10))


def test_voting_refuses_a_remainder():
    with pytest.raises(ShapeError, match="25 neurons vote; expected a multiple of votes = 10"):
        VotingLayer(10)(torch.rand(2, 1, 25))
    with pytest.raises(SnnferError, match="votes = 0"):
        VotingLayer(0)


class TestTimeConstantDropout:
    def test_the_mask_holds_over_time_and_differs_between_samples(self):
        torch.manual_seed(0)
        y = TimeConstantDropout(0.4)(torch.ones(6, 50, 40))
        assert torch.equal(y, y[:1].expand_as(y))
        assert not torch.equal(y[0, 0], y[0, 1])
        assert sorted(y.unique().tolist()) == pytest.approx([0, 1 / 0.6])
        assert (y == 0).float().mean().item() == pytest.approx(0.4, abs=0.05)

    def test_evaluation_and_p_zero_change_nothing(self):
        x = torch.rand(3, 2, 4)
        assert TimeConstantDropout(0.4).eval()(x) is x
        assert TimeConstantDropout(0.0)(x) is x

    def test_chunks_share_the_mask(self):
        layer, x = TimeConstantDropout(0.5), torch.rand(6, 2, 30)
        torch.manual_seed(1)
        whole = layer(x)
        torch.manual_seed(1)
        first, state = layer.forward_with_state(x[:2])
        second, _ = layer.forward_with_state(x[2:], state)
        assert torch.equal(torch.cat([first, second]), whole)

    def test_a_mask_of_another_batch_is_refused(self):
        layer = TimeConstantDropout(0.5)
        _, state = layer.forward_with_state(torch.rand(6, 2, 30))
        with pytest.raises(StateError, match=r"a dropout mask of shape \[2, 30\]"):
            layer.forward_with_state(torch.rand(6, 3, 30), state)

    @pytest.mark.parametrize("p", [-0.1, 1.0])
    def test_p_must_be_a_probability(self, p):
        with pytest.raises(SnnferError, match=r"expected a probability in \[0, 1\)"):
            TimeConstantDropout(p)
