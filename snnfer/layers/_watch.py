"""Whether anything about a module has changed since a time, in a few microseconds."""

from operator import itemgetter

import torch
from torch import nn

from snnfer.layers._block import _HOOKS, _is_watched

_OF_TORCH = vars(nn.Module()).keys() - {"training"}


class ChangeWatch:
    """Remembers weights, buffers, members and attributes of a module and of all modules in it.

    It runs before every step of a stream, so that its loops are those of C: a getter and its values per dictionary.

    Args:
        root: The module; without hooks.
    """

    def __init__(self, root: nn.Module) -> None:
        modules = list(root.modules())
        stores = [store for m in modules for store in (m._parameters, m._buffers, m._modules)]
        self._hooks = [getattr(m, kind) for m in modules for kind in _HOOKS]
        self._dictionaries = [*(vars(m) for m in modules), *stores]
        self._sizes = list(map(len, self._dictionaries))
        watched = [(d, [name for name in d if name not in _OF_TORCH]) for d in self._dictionaries]
        self._kept = [d[name] for d, names in watched for name in names]  # alive, so that no other gets its identity
        self._getters = [(d, itemgetter(names[0], *names)) for d, names in watched if names]  # two names: a tuple
        self._identities_before = self._identities()
        self._tensors = [a for a in self._kept if isinstance(a, torch.Tensor)]
        self._counted = [a for a in self._tensors if not a.is_inference()]
        self._written_before = self._written()

    def has_changed(self) -> bool:
        """Whether a tensor was written to or replaced, or a module, a hook or an attribute is another."""
        if any(self._hooks) or _is_watched(()):  # of these modules, or of all
            return True
        if list(map(len, self._dictionaries)) != self._sizes:
            return True
        try:
            if self._identities() != self._identities_before:
                return True
        except KeyError:  # one name has taken the place of another
            return True
        return self._written() != self._written_before

    def _identities(self) -> list[list[int]]:
        """Which objects stand in the dictionaries; equal ones are not the same: the other may change next."""
        return [list(map(id, getter(dictionary))) for dictionary, getter in self._getters]

    def _written(self) -> tuple[list[int], list[int]]:
        """How often every tensor was written to, and where it is."""
        return [a._version for a in self._counted], [a.data_ptr() for a in self._tensors]
