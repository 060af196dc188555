"""A graph under construction: nodes one after the other, the shape between them, and what could not be read."""

from dataclasses import dataclass, field

import torch
from torch import nn

from snnfer.converters._evaluating import evaluating
from snnfer.converters.graph import Node, Shape, output_shape
from snnfer.errors import ConversionError
from snnfer.layers._volume import on_volume

VOLUMES = (nn.Conv3d, nn.MaxPool3d)
"""Modules on ``[N, C, T, H, W]``."""
N_PROBED = 2
"""Steps that they are tried on: they pool as many at most."""


@dataclass(frozen=True)
class Refused:
    """A module that no node stands for.

    Args:
        name: Name in the network.
        kind: Class of the module.
        error: What reading it raises; says why.
    """

    name: str
    kind: str
    error: ConversionError


class Unreadable(Exception):
    """Nothing behind a refused module can be read, because the shape it makes is not known."""


@dataclass
class Chain:
    """Collects the nodes of a network.

    Args:
        shape: Of one step of one sample, behind the last node.
        with_time: Whether modules read ``[T, N, ...]``; otherwise ``[B, ...]``.
        strict: Whether a module that cannot be read is an error; otherwise it is noted, and reading goes on behind it.
        parts: What was read, in order, each with the shape behind it.
        complete: Whether reading reached the end.
    """

    shape: Shape
    with_time: bool
    strict: bool = True
    parts: list[tuple[Node | Refused, Shape]] = field(default_factory=list)
    complete: bool = True

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What could be read."""
        return tuple(part for part, _ in self.parts if isinstance(part, Node))

    def add(self, node: Node) -> None:
        """Append a node.

        Raises:
            ConversionError: it does not fit the shape behind the last one.
        """
        self.shape = output_shape(node, self.shape)
        self.parts.append((node, self.shape))

    def refuse_as(self, name: str, kind: str, error: ConversionError, shape: Shape) -> None:
        """Note what cannot be read and is no module of its own, and the `shape` behind it; raise where strict."""
        if self.strict:
            raise error
        self.shape = shape
        self.parts.append((Refused(name, kind, error), shape))

    def free_name(self, name: str) -> str:
        """`name`, with a number behind it where a module is used more than once."""
        taken = {part.name for part, _ in self.parts}
        count, free = 1, name
        while free in taken:
            count += 1
            free = f"{name}_{count}"
        return free

    def refuse(self, name: str, module: nn.Module, error: ConversionError) -> None:
        """Note that `module` cannot be read, and go on behind it.

        Raises:
            Unreadable: it does not run on the shape before it either.
        """
        refused = Refused(name, type(module).__name__, error)
        try:
            self.shape = _probe(module, self.shape, with_time=self.with_time)
        except Exception as probe_error:
            self.parts.append((refused, ()))
            raise Unreadable from probe_error
        self.parts.append((refused, self.shape))


def _probe(module: nn.Module, shape: Shape, *, with_time: bool) -> Shape:
    """Shape that `module` makes of one step of `shape`."""
    parameter = next(module.parameters(), torch.zeros(()))
    volume = with_time and isinstance(module, VOLUMES)
    leading = (N_PROBED if volume else 1, 1) if with_time else (1,)
    with evaluating(module), torch.no_grad():
        x = torch.zeros(leading + shape, dtype=parameter.dtype, device=parameter.device)
        y = on_volume(module, x) if volume else module(x)
    return tuple(y.shape[len(leading) :])
