"""Sparse layers against loops over pixels, against dense layers with a mask, and against torch's dense layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ShapeError
from snnfer.layers import (
    MaskedMap,
    SparseBatchNorm2d,
    SparseMap,
    SparseMaxPool2d,
    SparseReLU,
    SubmanifoldConv2d,
)

KINDS = [SparseMap, MaskedMap]


def make_map(*, n_samples=3, channels=2, size=(7, 9), density=0.3, seed=0):
    """Signed values, float64, and a mask; some active sites are zero in all channels."""
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand(n_samples, *size, generator=generator) < density
    x = torch.randn(n_samples, channels, *size, generator=generator, dtype=torch.float64) * active.unsqueeze(1)
    x[0, :, active[0]] *= (torch.rand(int(active[0].sum()), generator=generator) < 0.8).double()
    return x, active


def window(x, active, n, row, column):
    """Values ``[C, 3, 3]`` and mask of the window around a pixel, zero outside the image."""
    x, active = F.pad(x[n], (1, 1, 1, 1)), F.pad(active[n], (1, 1, 1, 1))
    return x[:, row : row + 3, column : column + 3], active[row : row + 3, column : column + 3]


def loop(x, active, function, *, channels, stride):
    """Call `function(values, mask)` for every output pixel that exists, one by one."""
    n_samples, _, height, width = x.shape
    first = 0 if stride == 1 else 1
    rows, columns = range(first, height - first, stride), range(first, width - first, stride)
    y = torch.zeros(n_samples, channels, len(rows), len(columns), dtype=x.dtype)
    exists = torch.zeros(n_samples, len(rows), len(columns), dtype=torch.bool)
    for n in range(n_samples):
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                values, mask = window(x, active, n, row, column)
                exists[n, i, j] = mask[1, 1] if stride == 1 else mask.any()
                if exists[n, i, j]:
                    y[n, :, i, j] = function(values, mask)
    return y, exists


def check_map(result, values, active):
    torch.testing.assert_close(result.to_dense(), values, rtol=0, atol=1e-12)
    assert torch.equal(result.sites.mask() if isinstance(result, SparseMap) else result.active, active)


@pytest.mark.parametrize("kind", KINDS)
class TestAgainstLoops:
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("size", [(7, 9), (6, 8), (3, 3)])
    def test_convolution(self, kind, stride, size):
        x, active = make_map(size=size)
        conv = SubmanifoldConv2d(2, 4, stride=stride).double()
        expected = loop(
            x, active, lambda values, _: torch.einsum("ocij,cij->o", conv.weight, values), channels=4, stride=stride
        )
        check_map(conv(kind.from_dense(x, active=active)), *expected)

    @pytest.mark.parametrize("size", [(7, 9), (6, 8), (3, 3)])
    def test_max_pooling_sees_active_sites_alone(self, kind, size):
        x, active = make_map(size=size)
        x -= active.unsqueeze(1) * 5.0  # all below zero, so that an inactive site would win
        expected = loop(x, active, lambda values, mask: values[:, mask].amax(1), channels=2, stride=2)
        assert expected[0][:, 0][expected[1]].max() < 0
        check_map(SparseMaxPool2d()(kind.from_dense(x, active=active)), *expected)

    def test_normalisation_and_relu(self, kind):
        x, active = make_map()
        norm = SparseBatchNorm2d(2, momentum=1.0).double()
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([2.0, -1.0]))
            norm.bias.copy_(torch.tensor([0.5, 0.25]))
        rows = torch.stack([x[n, :, i, j] for n, i, j in active.nonzero().tolist()])
        scaled = (rows - rows.mean(0)) / (rows.var(0, unbiased=False) + 1e-5).sqrt() * norm.weight + norm.bias
        expected = torch.zeros_like(x)
        for row, (n, i, j) in zip(scaled, active.nonzero().tolist(), strict=True):
            expected[n, :, i, j] = row.clamp(min=0)
        y = SparseReLU()(norm(kind.from_dense(x, active=active)))
        check_map(y, expected, active)
        torch.testing.assert_close(norm.running_mean, rows.mean(0), rtol=0, atol=1e-12)
        torch.testing.assert_close(norm.running_var, rows.var(0), rtol=0, atol=1e-12)
        shifted = norm.eval()(kind.from_dense(2 * x, active=active)).to_dense()
        assert not torch.allclose(shifted, norm.train()(kind.from_dense(2 * x, active=active)).to_dense())

    def test_active_where_any_channel_is_not_zero(self, kind):
        x = torch.zeros(1, 2, 3, 3)
        x[0, 1, 0, 2] = x[0, 0, 2, 1] = -1.0
        y = kind.from_dense(x)
        assert (y.sites.mask() if kind is SparseMap else y.active).nonzero().tolist() == [[0, 0, 2], [0, 2, 1]]
        assert torch.equal(y.to_dense(), x)


def make_chain():
    torch.manual_seed(0)
    return nn.Sequential(
        SubmanifoldConv2d(2, 5), SparseBatchNorm2d(5), SparseReLU(), SubmanifoldConv2d(5, 6), SparseBatchNorm2d(6),
        SparseReLU(), SparseMaxPool2d(), SubmanifoldConv2d(6, 4, stride=2), SparseBatchNorm2d(4), SparseReLU(),
    ).double()  # fmt: skip


@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_sparse_equals_masked(density, training):
    """Values and gradients of a chain, within 1e-10."""
    results = []
    for kind in KINDS:
        x, active = make_map(size=(19, 16), density=density)
        chain = make_chain().train(training)
        x.requires_grad_()
        y = chain(kind.from_dense(x, active=active)).to_dense()
        (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum().backward()
        results.append([y, x.grad, *[p.grad for p in chain.parameters()]])
    for sparse, masked in zip(*results, strict=True):
        if sparse is not None and masked is not None:
            torch.testing.assert_close(sparse, masked, rtol=0, atol=1e-10)
    assert (results[0][0].abs().sum() > 0) == (density > 0)


def test_whole_numbers_give_the_same_bits():
    """Sums of small whole numbers are exact in float32, so that sparse and dense results are equal bit for bit."""
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((2, 2, 12, 13), 0.3), generator=generator)
    conv = SubmanifoldConv2d(2, 8)
    with torch.no_grad():
        conv.weight.copy_(torch.randint(-8, 9, conv.weight.shape, generator=generator))
    sparse, masked = (conv(kind.from_dense(x)).to_dense() for kind in KINDS)
    assert torch.equal(sparse, masked)
    assert torch.equal(sparse, F.conv2d(x, conv.weight, padding=1) * (x != 0).any(1, keepdim=True))


@pytest.mark.parametrize("kind", KINDS)
def test_where_all_sites_are_active_the_layers_are_torchs(kind):
    x, active = make_map(size=(11, 12), density=2.0)
    dense = nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5), nn.ReLU(),
        nn.Conv2d(5, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(6, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
    ).double()  # fmt: skip
    chain = make_chain()
    dense.load_state_dict(chain.state_dict())
    torch.testing.assert_close(chain(kind.from_dense(x, active=active)).to_dense(), dense(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_no_samples(kind):
    assert make_chain().eval()(kind.from_dense(torch.zeros(0, 2, 16, 16).double())).to_dense().shape == (0, 4, 3, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit_is_refused(kind):
    x = torch.ones(1, 2, 5, 5)
    with pytest.raises(ShapeError, match=r"the map has shape \[2, 5, 5\]; expected 4 dimensions \[N, C, H, W\]"):
        kind.from_dense(x[0])
    with pytest.raises(
        ShapeError, match=r"a mask of type torch\.bool and shape \[1, 5, 4\] .* expected a boolean mask \[1, 5, 5\]"
    ):
        kind.from_dense(x, active=torch.ones(1, 5, 4, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"a mask of type torch\.float32"):
        kind.from_dense(x, active=torch.ones(1, 5, 5))
    with pytest.raises(ShapeError, match="a map of 2 channels; expected 3 channels"):
        SubmanifoldConv2d(3, 4)(kind.from_dense(x))
    with pytest.raises(ShapeError, match="a map of 2 x 5 pixels; expected at least 3 x 3"):
        SparseMaxPool2d()(kind.from_dense(x[:, :, :2]))
    with pytest.raises(ShapeError, match="a map of 2 x 5 pixels; expected at least 3 x 3"):
        SubmanifoldConv2d(2, 4, stride=2)(kind.from_dense(x[:, :, :2]))
    with pytest.raises(ShapeError, match="stride = 3; expected 1 or 2"):
        SubmanifoldConv2d(2, 4, stride=3)
    single = torch.zeros(1, 2, 5, 5)
    single[0, 0, 2, 2] = 1
    with pytest.raises(ShapeError, match="one active site in the whole batch; expected at least two in training"):
        SparseBatchNorm2d(2)(kind.from_dense(single))
