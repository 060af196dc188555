"""Kernels of event representations: piecewise linear functions of a time difference."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from snnfer.errors import CheckpointError

FAR = 1e7  # seconds: where tails end; further out the cancellation in straight lines would show
ROUND_OFF = 1e-12  # a kernel that is 0 stays exactly 0 in sums, or percentiles would blow the rest up
LEAK = 0.1
HIDDEN = 30
LAYERS = {"mlp.0": (HIDDEN, 1), "mlp.1": (HIDDEN, HIDDEN), "mlp.2": (1, HIDDEN)}


@dataclass(frozen=True, eq=False)
class PiecewiseLinear:
    """A continuous, piecewise linear function, given by its nodes; the first and last piece go on for ever.

    Args:
        x: Positions of the nodes, increasing, float64 ``[K]``.
        y: Values at the nodes, float64 ``[K]``.
    """

    x: np.ndarray
    y: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Values, float64 of the shape of `x`."""
        return np.interp(x, self.x, self.y)

    @classmethod
    def through(cls, x: np.ndarray, y: np.ndarray) -> "PiecewiseLinear":
        """The function through the nodes, with its first and last piece extended far out."""
        first, last = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
        ends = y[0] + first * (-FAR - x[0]), y[-1] + last * (FAR - x[-1])
        return cls(np.concatenate([[-FAR], x, [FAR]]), np.concatenate([[ends[0]], y, [ends[1]]]))

    def summed(self, shifts: np.ndarray) -> "PiecewiseLinear":
        """The function ``x -> sum over s of f(x - s)``, which is piecewise linear as well."""
        inner = np.unique(np.add.outer(shifts, self.x[1:-1]))
        total = self(np.subtract.outer(inner, shifts)).sum(1)
        return PiecewiseLinear.through(inner, np.where(np.abs(total) < ROUND_OFF, 0, total))


def triangle(half_width: float) -> PiecewiseLinear:
    """1 at 0, falling to 0 at `half_width` on both sides."""
    outer = 2 * half_width
    return PiecewiseLinear.through(np.array([-outer, -half_width, 0, half_width, outer]), np.array([0.0, 0, 1, 0, 0]))


def est_kernel() -> PiecewiseLinear:
    """The value layer that the authors of EST ship, in analytic form.

    Their file holds a fit of a triangle of half width 1/14 (15 bins) on [-1, 1]. Outside, a network of rectifiers goes
    on along straight lines; the nodes are values of the shipped network.
    """
    half_width = 1 / 14
    nodes = [(-2, -0.037), (-1, 0), (-half_width, 0), (0, 1), (half_width, 0), (1 - half_width, 0)]
    nodes += [(1, -0.0011), (1.5, 0.0108), (2, 0.0347), (5, 0.2533), (1e5, 6543)]
    return PiecewiseLinear.through(*np.array(nodes, dtype=float).T)


def load_value_layer(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """State of a value layer from a user's ``trilinear_init.pth`` (1 -> 30 -> 30 -> 1).

    Raises:
        CheckpointError: the file is missing, cannot be read or holds something else.
    """
    expected = "a PyTorch file with the state dict of EST's value layer, mlp.0 to mlp.2 of shapes 1 -> 30 -> 30 -> 1"
    fix = "download trilinear_init.pth from the repository of EST (uzh-rpg/rpg_event_representation_learning)"
    if not Path(path).is_file():
        raise CheckpointError(f"no file '{path}'", expected=expected, fix=fix)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the unpickler met
        cause = f"not a PyTorch file of plain tensors ({type(error).__name__})"
        raise CheckpointError(f"'{path}' cannot be loaded", expected=expected, cause=cause, fix=fix) from error
    shapes = {f"{name}.weight": shape for name, shape in LAYERS.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in LAYERS.items()}
    found = {k: tuple(v.shape) for k, v in loaded.items() if hasattr(v, "shape")} if isinstance(loaded, dict) else {}
    if found != shapes or len(loaded) != len(shapes):
        given = ", ".join(f"{name} {list(shape)}" for name, shape in list(found.items())[:8]) or type(loaded).__name__
        raise CheckpointError(f"'{path}' holds {given}", expected=expected, cause="another checkpoint", fix=fix)
    return {name: loaded[name].float() for name in shapes}


@lru_cache(maxsize=4)
def _kernel_of_file(path: str, _modified_ns: int) -> PiecewiseLinear:
    return network_kernel(load_value_layer(path))


def kernel_of_file(path: str) -> PiecewiseLinear:
    """The function of a user's ``trilinear_init.pth``, exactly; see `load_value_layer` for the errors."""
    return _kernel_of_file(path, os.stat(path).st_mtime_ns if Path(path).is_file() else 0)


def network_kernel(state: dict[str, torch.Tensor]) -> PiecewiseLinear:
    """A value layer as nodes: every place where one of its rectifiers switches, found layer by layer in float64."""
    numbers = {name: value.double().numpy() for name, value in state.items()}
    w0, b0 = numbers["mlp.0.weight"][:, 0], numbers["mlp.0.bias"]
    w1, b1 = numbers["mlp.1.weight"], numbers["mlp.1.bias"]
    w2, b2 = numbers["mlp.2.weight"][0], numbers["mlp.2.bias"]

    def hidden(x: np.ndarray) -> np.ndarray:
        return _leaky(np.multiply.outer(x, w0) + b0) @ w1.T + b1  # [K, 30]

    with np.errstate(divide="ignore", invalid="ignore"):
        kinks = -b0 / w0
    kinks = np.unique(kinks[np.abs(kinks) < FAR / 4])
    reach = 1 + np.abs(kinks).max(initial=0)
    kinks = np.concatenate([[-reach], kinks, [reach]])
    low, high = hidden(kinks[:-1]), hidden(kinks[1:])
    crossings = []
    for k, (a, b) in enumerate(zip(low, high, strict=True)):
        slope = (b - a) / (kinks[k + 1] - kinks[k])
        start = -np.inf if k == 0 else kinks[k]
        end = np.inf if k == len(low) - 1 else kinks[k + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            roots = kinks[k] - a / slope
        crossings.append(roots[(slope != 0) & (roots > start) & (roots < end) & (np.abs(roots) < FAR / 4)])
    nodes = np.unique(np.concatenate([kinks, *crossings]))
    outer = 2 * np.abs(nodes).max()
    nodes = np.concatenate([[-outer], nodes, [outer]])  # beyond every switch: the slopes of the tails
    return PiecewiseLinear.through(nodes, _leaky(hidden(nodes)) @ w2 + b2[0])


def _leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, x, LEAK * x)
