"""Whether anything about a module has changed since a time, in a few microseconds."""

import torch
from torch import nn

from snnfer.layers._block import _HOOKS, _is_watched

_OF_TORCH = vars(nn.Module()).keys() - {"training"}


class ChangeWatch:
    """Remembers weights, buffers, members and attributes of a module and of all modules in it.

    It runs before every step of a stream: hence the flat lists.

    Args:
        root: The module; without hooks.
    """

    def __init__(self, root: nn.Module) -> None:
        modules = list(root.modules())
        stores = [store for m in modules for store in (m._parameters, m._buffers, m._modules)]
        self._hooks = [getattr(m, kind) for m in modules for kind in _HOOKS]
        self._entries = [(vars(m), name, a) for m in modules for name, a in vars(m).items() if name not in _OF_TORCH]
        self._entries += [(store, name, a) for store in stores for name, a in store.items()]
        self._dictionaries = [*(vars(m) for m in modules), *stores]
        self._sizes = [len(dictionary) for dictionary in self._dictionaries]
        self._tensors = [a for _, _, a in self._entries if isinstance(a, torch.Tensor)]
        self._counted = [a for a in self._tensors if not a.is_inference()]
        self._versions, self._addresses = self._written()

    def has_changed(self) -> bool:
        """Whether a tensor was written to or replaced, or a module, a hook or an attribute is another."""
        if any(self._hooks) or _is_watched(()):  # of these modules, or of all
            return True
        if [len(dictionary) for dictionary in self._dictionaries] != self._sizes:
            return True
        for dictionary, name, value in self._entries:
            if dictionary.get(name) is not value:
                return True
        return self._written() != (self._versions, self._addresses)

    def _written(self) -> tuple[list[int], list[int]]:
        """How often every tensor was written to, and where it is."""
        return [a._version for a in self._counted], [a.data_ptr() for a in self._tensors]
