"""Updates of single sites against the whole computation by the sparse and masked layers, and against counts by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.layers import (
    AsyncConv2d,
    AsyncMaxPool2d,
    MaskedMap,
    SparseBatchNorm2d,
    SparseMaxPool2d,
    SparseReLU,
    SubmanifoldConv2d,
    start_maps,
    update_maps,
)

SIZE = (17, 14)


def make_block(in_channels, out_channels, generator, *, stride=1):
    """Convolution, normalisation with running statistics, ReLU."""
    block = nn.Sequential(
        SubmanifoldConv2d(in_channels, out_channels, stride=stride), SparseBatchNorm2d(out_channels), SparseReLU()
    )
    conv, norm, _ = block
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=generator))
        for tensor in (norm.running_mean, norm.bias, norm.weight):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        norm.running_var.uniform_(0.5, 3, generator=generator)
    return block.double().eval()


def make_chains():
    """Pooling of signed values first, then convolutions of both strides: as modules and as layers to update."""
    generator = torch.Generator().manual_seed(0)
    blocks = [make_block(2, 3, generator), make_block(3, 4, generator), make_block(4, 5, generator, stride=2)]
    modules = nn.Sequential(SparseMaxPool2d(), *blocks)
    layers = [AsyncMaxPool2d()]
    layers += [AsyncConv2d.fold(block[0].weight, block[1], stride=block[0].stride) for block in blocks]
    return modules, layers


def write(x, dense, active, positions):
    """Bring the pixels of the map `x` to those of `dense` ``[C, H, W]``; returns the sites that are different now."""
    row, column = positions.T
    return x.write(x.sites(positions), dense[:, row, column].T.contiguous(), active[row, column])


def check(maps, modules, dense, active):
    """Every map equals the whole computation within 1e-12, inactive sites are zero, and the border is inactive."""
    y = MaskedMap.from_dense(dense.unsqueeze(0), active=active.unsqueeze(0))
    for current, module in zip(maps, [nn.Identity(), *modules], strict=True):
        y = module(y)
        torch.testing.assert_close(current.to_dense(), y.values[0], rtol=0, atol=1e-12)
        grid = current.active.view(current.size[0] + 2, current.size[1] + 2)
        assert torch.equal(grid, F.pad(y.active[0], (1, 1, 1, 1)))
        assert not current.features[~current.active].any()


@pytest.mark.parametrize("seed", range(5))
def test_random_changes_in_random_chunks(seed):
    """Sites turn active, inactive, and change; values have both signs, and some active sites are zero."""
    generator = torch.Generator().manual_seed(seed)
    modules, layers = make_chains()
    maps = start_maps(layers, SIZE, torch.zeros((), dtype=torch.float64), 2)
    dense, active = torch.zeros(2, *SIZE, dtype=torch.float64), torch.zeros(SIZE, dtype=torch.bool)
    check(maps, modules, dense, active)
    largest, n_pixels = ((1, 10), (2, 20), (60, SIZE[0] * SIZE[1]))[seed % 3]
    pixels = torch.randperm(SIZE[0] * SIZE[1], generator=generator)[:n_pixels]
    n_turned_off = 0
    for _ in range(30):
        n_changed = int(torch.randint(1, largest + 1, (1,), generator=generator))
        flat = pixels[torch.randperm(n_pixels, generator=generator)[:n_changed]]
        row, column = flat // SIZE[1], flat % SIZE[1]
        turned_on = torch.rand(n_changed, generator=generator) < 0.5
        n_turned_off += int((active[row, column] & ~turned_on).sum())
        values = torch.randint(-2, 3, (2, n_changed), generator=generator).double()
        dense[:, row, column] = values * turned_on
        active[row, column] = turned_on
        update_maps(layers, maps, write(maps[0], dense, active, torch.stack([row, column], 1)))
        check(maps, modules, dense, active)
    assert n_turned_off > 0


def test_only_what_a_change_reaches_is_computed():
    """One pixel under two 3 x 3 convolutions: 9 sites where all are active, then 25; alone: 1 and 1."""
    generator = torch.Generator().manual_seed(0)
    blocks = [make_block(1, 2, generator), make_block(2, 2, generator)]
    for block in blocks:
        with torch.no_grad():
            block[0].weight.abs_()  # all that is reached comes out different
            block[1].weight.fill_(1)
            block[1].running_mean.fill_(-1)
            block[1].bias.zero_()
    layers = [AsyncConv2d.fold(block[0].weight, block[1]) for block in blocks]
    everywhere = torch.ones(SIZE, dtype=torch.bool)
    for active, computed in ((everywhere, (9, 25)), (everywhere.new_zeros(SIZE), (1, 1))):
        maps = start_maps(layers, SIZE, torch.zeros((), dtype=torch.float64), 1)
        dense = active.double().unsqueeze(0)
        pixels = active.nonzero()
        update_maps(layers, maps, write(maps[0], dense, active, pixels))
        active = active.clone()
        active[8, 7], dense[0, 8, 7] = True, 3.0
        change = write(maps[0], dense, active, torch.tensor([[8, 7]]))
        assert update_maps(layers, maps, change) == computed
        check(maps, nn.Sequential(*blocks), dense, active)


def test_a_change_that_a_layer_swallows_ends_there():
    """A pixel below the maximum of its windows changes: pooling is computed, nothing behind it."""
    modules, layers = make_chains()
    maps = start_maps(layers, SIZE, torch.zeros((), dtype=torch.float64), 2)
    active = torch.ones(SIZE, dtype=torch.bool)
    dense = torch.zeros(2, *SIZE, dtype=torch.float64)
    update_maps(layers, maps, write(maps[0], dense, active, active.nonzero()))
    dense[:, 5, 5] = -1.0
    assert update_maps(layers, maps, write(maps[0], dense, active, torch.tensor([[5, 5]]))) == (1, 0, 0, 0)
    check(maps, modules, dense, active)
    assert update_maps(layers, maps, write(maps[0], dense, active, torch.tensor([[5, 5], [5, 6]]))) == (0, 0, 0, 0)
