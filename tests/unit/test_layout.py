"""Layout conversions: every element lands where its name says, without a copy."""

import pytest
import torch

from snnfer import layout
from snnfer.errors import ShapeError

PAIRS = [("tnchw", "ntchw"), ("tnchw", "ncthw"), ("tnchw", "nchwt")]
CONVERSIONS = [pair for a, b in PAIRS for pair in ((a, b), (b, a))]
SIZES = dict(zip("tnchw", (2, 3, 4, 5, 6), strict=True))


def convert(source, target):
    return getattr(layout, f"{source}_to_{target}")


def numbered(axes):
    shape = [SIZES[axis] for axis in axes]
    return torch.arange(torch.tensor(shape).prod()).view(shape)


@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
def test_equals_einsum(source, target):
    x = numbered(source)
    assert torch.equal(convert(source, target)(x), torch.einsum(f"{source}->{target}", x))


@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
def test_is_a_view(source, target):
    x = numbered(source)
    assert convert(source, target)(x).data_ptr() == x.data_ptr()


@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
def test_there_and_back(source, target):
    x = numbered(source)
    assert torch.equal(convert(target, source)(convert(source, target)(x)), x)


@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
@pytest.mark.parametrize("ndim", [0, 4, 6])
def test_another_number_of_dimensions_names_the_layout(source, target, ndim):
    with pytest.raises(ShapeError, match=r"expected 5 dimensions \[" + ", ".join(source.upper()) + r"\]"):
        convert(source, target)(torch.zeros([1] * ndim))


def test_merge_and_split_time():
    x = numbered("tnchw")
    merged = layout.merge_time(x)
    assert merged.shape == (6, 4, 5, 6)
    assert torch.equal(merged[4], x[1, 1])  # step 1, sample 1
    assert torch.equal(layout.split_time(merged, 2), x)
