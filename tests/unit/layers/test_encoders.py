"""Encoders against loops over their equations, closed forms, and the statistics of a Bernoulli process."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ShapeError, SnnferError, StateError
from snnfer.layers import (
    ConvEncoder,
    DeltaEncoder,
    DirectEncoder,
    LatencyEncoder,
    PoissonEncoder,
    SpikingConv2d,
    SpikingSequential,
)
from snnfer.neurons import LI, LIF


def as_image(values):
    """Values as the pixels of one image ``[1, 1, 1, 1, W]``."""
    return torch.as_tensor(values, dtype=torch.float32).reshape(1, 1, 1, 1, -1)


def test_direct_shows_every_frame_n_times():
    x = torch.rand(2, 3, 1, 4, 5)
    y = DirectEncoder(4)(x)
    for t in range(8):
        assert torch.equal(y[t], x[t // 4])


class TestPoisson:
    def test_the_count_of_spikes_is_binomial(self):
        """Every rate within 4.5 standard deviations of gain * x, and the variance of the count within 10 %."""
        p, n_steps, n_pixels = torch.tensor([0.0, 0.02, 0.3, 0.5, 0.9, 1.0]), 400, 2000
        x = p[:, None].expand(-1, n_pixels).reshape(1, 6, 1, 1, n_pixels)
        for gain in (1.0, 0.4):
            count = PoissonEncoder(n_steps, gain=gain, seed=3).eval()(x).sum(0).reshape(6, n_pixels)
            rate = gain * p
            deviation = (rate * (1 - rate) / (n_steps * n_pixels)).sqrt()
            assert ((count.mean(1) / n_steps - rate).abs() <= 4.5 * deviation).all()
            torch.testing.assert_close(count.var(1), n_steps * rate * (1 - rate), rtol=0.1, atol=0)

    def test_steps_and_pixels_are_independent(self):
        spikes = PoissonEncoder(4000, seed=1).eval()(torch.full((1, 1, 1, 1, 40), 0.5))[:, 0, 0, 0]
        correlation = torch.corrcoef(spikes.T) - torch.eye(40)
        assert correlation.abs().max() < 5 / math.sqrt(4000)
        centred = spikes - spikes.mean(0)
        lag_one = (centred[1:] * centred[:-1]).mean(0) / centred.var(0)
        assert lag_one.abs().max() < 5 / math.sqrt(4000)

    def test_where_the_random_numbers_come_from(self):
        encoder, x = PoissonEncoder(8, seed=2).eval(), torch.full((2, 1, 1, 4, 4), 0.5)
        torch.manual_seed(0)
        first, state_of_torch = encoder(x), torch.get_rng_state()
        assert torch.equal(encoder(x), first)
        assert torch.equal(torch.get_rng_state(), state_of_torch)
        assert not torch.equal(first[:8], first[8:])
        assert not torch.equal(PoissonEncoder(8, seed=3).eval()(x), first)
        own = [torch.Generator().manual_seed(2) for _ in range(2)]
        assert torch.equal(encoder(x, generator=own[0]), first)
        assert torch.equal(encoder.train()(x, generator=own[1]), first)
        assert not torch.equal(encoder(x, generator=own[1]), first)  # the generator has gone on
        assert not torch.equal(encoder(x), encoder(x))
        torch.manual_seed(5)
        drawn = encoder(x)
        torch.manual_seed(5)
        assert torch.equal(encoder(x), drawn)

    def test_a_stream_draws_on(self):
        encoder, x = PoissonEncoder(3).eval(), torch.rand(5, 2, 1, 4, 4)
        first, state = encoder.forward_with_state(x[:2])
        second, _ = encoder.forward_with_state(x[2:], state)
        assert torch.equal(torch.cat([first, second]), encoder(x))


class TestLatency:
    def test_linear_gives_every_step_the_same_range_of_values(self):
        centres = 1 - (torch.arange(10) + 0.5) / 10
        y = LatencyEncoder(10, threshold=0.0)(as_image(centres))[:, 0, 0, 0]
        assert torch.equal(y, torch.eye(10))

    def test_rc_is_the_time_at_which_a_membrane_crosses_the_threshold(self):
        """A leaky integrator (tau = 2000 steps of a hundredth) first reaches the threshold at the encoded time."""
        x = as_image(torch.linspace(0.22, 1.0, 40))
        times = LatencyEncoder(60, code="rc", threshold=0.2, tau=20.0)(x)[:, 0, 0, 0].argmax(0)
        v = LI(tau=2000.0)(x.expand(6000, -1, -1, -1, -1).double())[:, 0, 0, 0]
        crossing = (v >= 0.2).double().argmax(0) // 100
        assert (times - crossing).abs().max() <= 1
        assert (times == crossing).float().mean() > 0.9
        assert times.max() > 40

    def test_one_spike_or_none(self):
        x = as_image([0.0, 0.05, 0.0999, 0.1, 0.11, 0.5, 1.0])
        for code in ("linear", "rc"):
            count = LatencyEncoder(12, code=code, threshold=0.1, tau=4.0)(x).sum(0).flatten()
            assert count.tolist() == [0, 0, 0, 0, 1, 1, 1]
        assert LatencyEncoder(4, code="rc", threshold=0.1, tau=4.0)(as_image([0.11])).sum() == 0  # after 9.6 steps

    def test_every_frame_has_a_window_of_its_own(self):
        y = LatencyEncoder(5)(torch.cat([as_image([1.0, 0.5]), as_image([0.1, 1.0])]))[:, 0, 0, 0]
        assert y.nonzero().tolist() == [[0, 0], [2, 1], [5, 1], [9, 0]]


def delta_loop(x, threshold, max_spikes):
    """Delta modulation of one pixel, one step after the other."""
    level, rows = x[0], []
    for value in x:
        on = off = 0
        while value - level >= threshold and on < max_spikes:
            level, on = level + threshold, on + 1
        while level - value >= threshold and off < max_spikes:
            level, off = level - threshold, off + 1
        rows.append([off, on])
    return rows, level


class TestDelta:
    @pytest.mark.parametrize("max_spikes", [1, 3, 100])
    def test_equals_a_loop_that_steps_one_threshold_at_a_time(self, max_spikes):
        x = torch.randint(-40, 40, (30, 2, 3, 2, 2)).double() / 16  # exact in binary
        y, level = DeltaEncoder(0.375, max_spikes=max_spikes).forward_with_state(x)
        assert y.shape == (30, 2, 6, 2, 2)
        for n, c, i, j in torch.ones(2, 3, 2, 2).nonzero().tolist():
            rows, last = delta_loop(x[:, n, c, i, j].tolist(), 0.375, max_spikes)
            assert y[:, n, [c, c + 3], i, j].tolist() == rows
            assert level[n, c, i, j] == last

    def test_the_signal_can_be_rebuilt_within_one_threshold(self):
        x = torch.randn(50, 2, 1, 4, 4).cumsum(0)
        y = DeltaEncoder(0.5, max_spikes=1000)(x)
        rebuilt = x[0] + 0.5 * (y[:, :, 1:] - y[:, :, :1]).cumsum(0)
        assert (rebuilt - x).abs().max() < 0.5 + 1e-5
        assert y[0].sum() == 0

    def test_a_state_of_another_batch_is_refused(self):
        with pytest.raises(StateError, match=r"a state of \[1, 1, 2, 2\].*expected a state of shape \[3, 1, 2, 2\]"):
            DeltaEncoder(0.5).forward_with_state(torch.zeros(2, 3, 1, 2, 2), torch.zeros(1, 1, 2, 2))


class TestConvEncoder:
    def test_is_the_first_block_of_the_action_unit_network_before_its_pooling(self):
        torch.manual_seed(0)
        encoder, block = ConvEncoder(2, 4), SpikingConv2d(2, 4)
        block.load_state_dict(encoder.state_dict())
        x = 3 * torch.rand(4, 2, 2, 8, 8)
        spikes = encoder(x)
        assert 0 < spikes.mean() < 1
        assert torch.equal(torch.stack([F.max_pool2d(step, 2) for step in spikes]), block(x))

    def test_a_constant_current_is_the_image_shown_again_and_again(self):
        torch.manual_seed(0)
        encoder = ConvEncoder(3, 4, n_steps=6, stride=2, neuron=LIF()).eval()
        image = 9 * torch.rand(1, 2, 3, 9, 8)
        shown = nn.Sequential(DirectEncoder(6), ConvEncoder(3, 4, stride=2, neuron=LIF())).eval()
        shown[1].load_state_dict(encoder.state_dict())
        y = encoder(image)
        assert y.shape == (6, 2, 4, 5, 4)
        assert 0 < y.mean() < 1
        assert (y != shown(image)).float().mean() < 1e-2  # convolutions of other batch sizes round differently


def test_an_encoder_at_the_head_of_a_chain_streams_frame_by_frame():
    torch.manual_seed(0)
    chain = SpikingSequential(PoissonEncoder(4), SpikingConv2d(1, 3, norm=nn.Identity)).eval()
    x = torch.rand(5, 2, 1, 8, 8)
    first, state = chain.forward_with_state(x[:2])
    second, _ = chain.forward_with_state(x[2:], state)
    assert torch.equal(torch.cat([first, second]), chain(x))
    assert chain(x).shape == (20, 2, 3, 4, 4)


@pytest.mark.parametrize("encoder", [PoissonEncoder(2), LatencyEncoder(2)])
def test_values_outside_the_unit_range_are_refused(encoder):
    name = type(encoder).__name__
    for values, message in (
        ([0.0, 255.0], rf"{name} was given values from 0 to 255; expected values in \[0, 1\]; .*pixels in 0..255"),
        ([-0.5, 0.5], "values from -0.5 to 0.5.*likely cause: a normalised input"),
        ([0.5, math.nan], "values from nan to nan.*likely cause: NaN"),
    ):
        with pytest.raises(SnnferError, match=message):
            encoder(as_image(values))


def test_impossible_arguments_are_refused():
    for build, message in (
        (lambda: DirectEncoder(0), "n_steps = 0; expected a value above 0 steps per image"),
        (lambda: PoissonEncoder(2, gain=1.5), r"gain = 1.5; expected a probability in \(0, 1\]"),
        (lambda: LatencyEncoder(2, code="log"), "code = 'log'; expected one of linear, rc"),
        (lambda: LatencyEncoder(2, code="rc", threshold=0.0), "threshold = 0.0 with code = 'rc'"),
        (lambda: LatencyEncoder(2, tau=0), "tau = 0"),
        (lambda: DeltaEncoder(0.0), "threshold = 0.0"),
        (lambda: ConvEncoder(1, 1, n_steps=0), "n_steps = 0"),
    ):
        with pytest.raises(SnnferError, match=message):
            build()


def test_images_without_a_time_dimension_are_refused():
    with pytest.raises(ShapeError, match=r"input has shape \[2, 1, 4, 4\]; expected 5 dimensions \[T, N, C, H, W\]"):
        DirectEncoder(2)(torch.rand(2, 1, 4, 4))
