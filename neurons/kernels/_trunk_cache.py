"""What inference computes from the weights of a trunk, kept for the next call with the same weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from snnfer.neurons.kernels._trunk_cpu import Block, Prepared, prepare

SAMPLES = 509
"""Values of a large weight that are compared; torch's count of changes misses those through ``weight.data``."""


@dataclass
class Cache:
    """Folded weights of the blocks, and the transposed weight of the fully connected layer."""

    _constants: Any = None
    _tensors: Sequence[torch.Tensor] = ()
    _prepared: Prepared | None = None
    _key: Any = None
    _sample: torch.Tensor | None = None
    _transposed: torch.Tensor | None = None

    def prepared(self, blocks: Sequence[Block]) -> Prepared:
        """The folded blocks; the tensors are compared value by value, which takes microseconds."""
        constants = [(block.dynamics, block.eps) for block in blocks]
        tensors = [a for b in blocks for a in (b.weight, b.gamma, b.beta, b.mean, b.variance, b.rate) if a is not None]
        if self._prepared is None or constants != self._constants or not _equal(tensors, self._tensors):
            self._constants, self._tensors = constants, [a.detach().clone() for a in tensors]
            self._prepared = prepare(blocks)
        return self._prepared

    def transposed(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight ``[O, features]`` as ``[features, O]``."""
        key = (weight.data_ptr(), weight._version, weight.shape)
        sample = weight.detach().view(-1)[:: max(1, weight.numel() // SAMPLES)]
        if self._transposed is None or key != self._key or not torch.equal(sample, self._sample):  # type: ignore[arg-type]
            self._key, self._sample = key, sample.clone()
            self._transposed = weight.detach().t().contiguous()
        return self._transposed


def _equal(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> bool:
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
