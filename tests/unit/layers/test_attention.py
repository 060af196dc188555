"""Attention over time and space against loops in NumPy, and its own chunks."""

import numpy as np
import pytest
import torch

from snnfer.errors import ShapeError, SnnferError, StateError
from snnfer.layers import SpatialAttention, TemporalAttention, TemporalSpatialAttention

STREAMING = {
    "causal": {"causal": True},
    "bottleneck": {"causal": True, "ta": "bottleneck", "ta_kernel": 5},
    "wide": {"causal": True, "sa_out": "single", "sa_kernel": (7, 3, 3)},
    "step by step": {"ta_kernel": 1},
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def over_time(weight, x, *, causal):
    """Convolution of ``[T, N, C]`` with ``[O, C, k]``, zeros outside."""
    k = weight.shape[2]
    first = -(k - 1) if causal else -(k // 2)
    y = np.zeros((*x.shape[:2], len(weight)))
    for t in range(len(x)):
        for tap in range(k):
            if 0 <= t + first + tap < len(x):
                y[t] += x[t + first + tap] @ weight[..., tap].T
    return y


def over_volume(weight, x, *, causal):
    """Convolution of ``[T, N, 2, H, W]`` with ``[O, 2, k, a, b]``, zeros outside."""
    k, a, b = weight.shape[2:]
    first = -(k - 1) if causal else -(k // 2)
    n_steps, n_samples, _, height, width = x.shape
    y = np.zeros((n_steps, n_samples, len(weight), height, width))
    for t, i, j in np.ndindex(n_steps, height, width):
        for dt, di, dj in np.ndindex(k, a, b):
            at = (t + first + dt, i + di - a // 2, j + dj - b // 2)
            if all(0 <= p < size for p, size in zip(at, (n_steps, height, width), strict=True)):
                y[t, :, :, i, j] += x[at[0], :, :, at[1], at[2]] @ weight[:, :, dt, di, dj].T
    return y


def temporal(layer, x, *, causal):
    w = layer.conv.weight.detach().numpy()[..., 0, 0]
    results = []
    for pooled in (x.mean((3, 4)), x.max((3, 4))):
        y = over_time(w, pooled, causal=causal)
        if layer.conv.out_channels != x.shape[2]:
            y = np.maximum(y, 0) @ layer.expand[1].weight.detach().numpy()[..., 0, 0, 0].T
        results.append(y)
    return sigmoid(np.maximum(*results))[..., None, None] * x


def spatial(layer, x, *, causal):
    pooled = np.stack([x.mean(2), x.max(2)], axis=2)
    return sigmoid(over_volume(layer.conv.weight.detach().numpy(), pooled, causal=causal)) * x


@pytest.mark.parametrize("causal", [False, True])
class TestAgainstLoops:
    @pytest.mark.parametrize(
        ("variant", "kernel_size"), [("conv", 3), ("conv", 1), ("bottleneck", 1), ("bottleneck", 3)]
    )
    def test_temporal(self, variant, kernel_size, causal):
        layer = TemporalAttention(32, variant=variant, kernel_size=kernel_size, causal=causal).double().eval()
        assert layer.conv.out_channels == (32 if variant == "conv" else 2)
        x = torch.randn(6, 2, 32, 3, 4, dtype=torch.float64)
        expected = temporal(layer, x.numpy(), causal=causal)
        torch.testing.assert_close(layer(x), torch.from_numpy(expected))

    @pytest.mark.parametrize("maps", ["channel", "single"])
    @pytest.mark.parametrize("kernel_size", [(1, 3, 3), (3, 3, 1)])
    def test_spatial(self, maps, kernel_size, causal):
        layer = SpatialAttention(4, maps=maps, kernel_size=kernel_size, causal=causal).double().eval()
        assert layer.conv.out_channels == (4 if maps == "channel" else 1)
        x = torch.randn(5, 2, 4, 4, 5, dtype=torch.float64)
        expected = spatial(layer, x.numpy(), causal=causal)
        torch.testing.assert_close(layer(x), torch.from_numpy(expected))

    def test_joint(self, causal):
        layer = TemporalSpatialAttention(4, causal=causal).double().eval()
        x = torch.randn(5, 2, 4, 4, 5, dtype=torch.float64)
        weighted = spatial(layer.spatial, temporal(layer.temporal, x.numpy(), causal=causal), causal=causal)
        torch.testing.assert_close(layer(x), torch.from_numpy(weighted) + x)


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.parametrize("chunks", [[1] * 7, [3, 4], [6, 1]])
def test_chunks_equal_the_whole_bit_for_bit(name, chunks):
    layer = TemporalSpatialAttention(5, **STREAMING[name]).eval()
    x = torch.randn(7, 2, 5, 6, 6)
    outputs, state = [], None
    for chunk in x.split(chunks):
        y, state = layer.forward_with_state(chunk, state)
        outputs.append(y)
    assert torch.equal(torch.cat(outputs), layer(x))


def test_gradients_reach_every_parameter():
    layer = TemporalSpatialAttention(32, ta="bottleneck", ta_kernel=1)
    layer(torch.randn(5, 2, 32, 6, 6)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_what_does_not_fit_is_refused():
    layer, causal = TemporalSpatialAttention(4), TemporalSpatialAttention(4, causal=True)
    x = torch.randn(4, 2, 4, 5, 5)
    for part in (layer, layer.temporal, layer.spatial):
        with pytest.raises(ShapeError, match=r"expected at least one time step and 4 channels"):
            part(x[:, :, :3])
    with pytest.raises(StateError, match="TemporalAttention sees later steps and cannot stream"):
        layer.forward_with_state(x)
    with pytest.raises(StateError, match="SpatialAttention sees later steps"):
        SpatialAttention(4, kernel_size=(3, 3, 3)).forward_with_state(x)
    _, state = causal.forward_with_state(x)
    with pytest.raises(StateError, match=r"expected a state of shape \[2, 2, 4, 1, 1\]"):
        causal.forward_with_state(x[:, :1], state)
    with pytest.raises(StateError, match=r"a state of Tensor for TemporalSpatialAttention; expected 2 entries"):
        causal.forward_with_state(x, x)
    for wrong in ({"ta": "linear"}, {"sa_out": "both"}, {"ta_kernel": 2}, {"sa_kernel": (1, 4, 4)}):
        with pytest.raises(SnnferError, match="= 'linear'|= 'both'|odd numbers"):
            TemporalSpatialAttention(4, **wrong)
