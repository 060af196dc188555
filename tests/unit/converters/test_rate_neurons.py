"""Rate neurons and the max pooling of spike trains against closed forms."""

import pytest
import torch
from torch.nn import functional as F

from snnfer.converters.ann_to_snn import CumulativeMaxPool2d, RateIF
from snnfer.errors import ShapeError, StateError


@pytest.mark.parametrize("charge", [0.0, 0.5, 0.25])
@pytest.mark.parametrize("n_steps", [1, 4, 7, 32])
def test_count_of_constant_current_is_the_rounded_product(charge, n_steps):
    """floor(x T / theta + q), clipped to 0..T; all values are multiples of 1/64, so that no sum rounds."""
    x = torch.arange(-96, 160).float() / 64
    neuron = RateIF(2, initial_charge=charge)
    neuron.threshold.copy_(torch.tensor([1.0, 2.0]))
    counts = neuron(x.expand(n_steps, 2, -1).transpose(1, 2)).sum(0)  # [256, 2]
    for channel, theta in enumerate((1.0, 2.0)):
        expected = torch.floor(x * n_steps / theta + charge).clamp(0, n_steps)
        assert torch.equal(counts[:, channel], expected)


def test_thresholds_lie_along_channels_of_maps():
    neuron = RateIF(3)
    neuron.threshold.copy_(torch.tensor([1.0, 2.0, 4.0]))
    counts = neuron(torch.ones(8, 2, 3, 5, 4)).sum(0)
    assert counts[0, :, 0, 0].tolist() == [8.0, 4.0, 2.0]
    assert torch.equal(counts, counts[:1, :, :1, :1].expand_as(counts))


def test_chunks_equal_the_whole_and_half_precision_keeps_its_dtype():
    neuron, x = RateIF(3), torch.rand(9, 2, 3, 4, 4)
    first, state = neuron.forward_with_state(x[:4])
    second, _ = neuron.forward_with_state(x[4:], state)
    assert torch.equal(torch.cat([first, second]), neuron(x))
    assert neuron(x.bfloat16()).dtype == torch.bfloat16


def test_state_of_another_batch_is_refused():
    neuron = RateIF(3)
    _, state = neuron.forward_with_state(torch.rand(2, 4, 3))
    with pytest.raises(StateError):
        neuron.forward_with_state(torch.rand(2, 5, 3), state)


def test_cumulative_pooling_sums_up_to_the_largest_sum():
    generator = torch.Generator().manual_seed(0)
    rates = torch.rand(2, 3, 6, 8, generator=generator)
    spikes = (torch.rand(50, 2, 3, 6, 8, generator=generator) < rates).float()
    pooled = CumulativeMaxPool2d((2, 3), stride=(2, 2))(spikes)
    assert set(pooled.unique().tolist()) <= {0.0, 1.0}
    for t in (1, 7, 50):
        assert torch.equal(pooled[:t].sum(0), F.max_pool2d(spikes[:t].sum(0), (2, 3), (2, 2)))
    assert pooled.sum() < F.max_pool2d(spikes.flatten(0, 1), (2, 3), (2, 2)).sum()  # which counts every neuron
    padded = CumulativeMaxPool2d((3, 3), stride=(2, 2), padding=(1, 1))(spikes)
    assert torch.equal(padded.sum(0), F.max_pool2d(spikes.sum(0), 3, 2, 1))


def test_cumulative_pooling_streams():
    pool, x = CumulativeMaxPool2d((2, 2), stride=(2, 2)), torch.randn(10, 2, 3, 4, 4).double()
    first, state = pool.forward_with_state(x[:3])
    second, _ = pool.forward_with_state(x[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), pool(x), rtol=1e-12, atol=1e-12)
    with pytest.raises(StateError):
        pool.forward_with_state(x[:, :1], state)
    with pytest.raises(ShapeError):
        pool(x[0])
