"""Where a classifier looks: Grad-CAM of any convolutional network of snnfer."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from snnfer.errors import ConfigError, ShapeError
from snnfer.layers import SpatialAttention, TemporalAttention, TemporalSpatialAttention
from snnfer.models._input import check_lengths

ATTENTION = (TemporalAttention, SpatialAttention, TemporalSpatialAttention)
LAYERS_3D = (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, nn.AvgPool3d)  # they give [N, C, t, h, w]

MIN_SIDE = 4
"""Positions on each side of a map that shows where a network looks."""


def grad_cam(
    model: nn.Module,
    x: torch.Tensor,
    *,
    layer: str = "",
    target: torch.Tensor | int | None = None,
    lengths: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Which places of the input speak for a class, by the gradient of its score.

    .. math::
        \alpha_c = \operatorname{mean}_{p}\ \frac{\partial s}{\partial A_{c,p}}, \qquad
        L_p = \mathrm{ReLU}\Big(\sum_c \alpha_c A_{c,p}\Big)

    of the feature maps A of one layer, with the positions p of one image; of a three-dimensional convolution, of the
    whole clip. The map is enlarged to the input (linear interpolation, in time too where the layer has fewer steps) and
    divided by its maximum over the clip. Where nothing speaks for the class it is 0 everywhere. In a spiking network
    the gradient is that of its surrogate. The model is used in the mode that it is in, evaluation as a rule, and its
    gradients are left alone.

    Args:
        model: A classifier of `snnfer.models`, called as ``model(x, lengths=lengths)``.
        x: Its input ``[T, N, C, H, W]``, normalised.
        layer: Name of the layer, as in ``model.named_modules()``; default: ``model.explained_layer``, or the last
            convolution with several output channels, if its maps have at least 4 x 4 positions; else the last
            convolution whose maps have (where none has, the one with the largest maps), since fewer do not say where.
        target: Class index, one for all or ``[N]``; None explains the class with the highest score of each sample.
        lengths: Valid steps of each sample ``[N]``; all where None.

    Returns:
        ``[T, N, H, W]``, values in [0, 1].

    Raises:
        ConfigError: no such layer, or it does not give feature maps.
        ShapeError: `x` or `target` does not fit.

    References:
        Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-Based Localization", IJCV 2019,
        eq. (1)-(2).

    Examples:
        >>> from snnfer import create_model
        >>> model = create_model("au_cnn3d", size=(16, 16), channels=(4, 8, 8, 8), hidden=16).eval()
        >>> grad_cam(model, torch.rand(12, 2, 2, 16, 16)).shape
        torch.Size([12, 2, 16, 16])
    """
    if x.ndim != 5:
        raise ShapeError(f"the input has shape {list(x.shape)}", expected="[T, N, C, H, W]")
    names = [layer] if layer else _by_depth(model)
    modules = {name: _find(model, name) for name in names}
    x = x.detach() if x.is_floating_point() else x.float()
    with torch.enable_grad(), _outputs_of(modules) as chosen:
        scores = model(x.requires_grad_(), lengths=lengths)  # so that frozen layers have gradients too
        total = scores.gather(1, _targets(target, scores)[:, None]).sum()
        name, outputs = chosen.name or names[-1], chosen.outputs
        _check_outputs(outputs, name)
        gradients = torch.autograd.grad(total, outputs, allow_unused=True, materialize_grads=True)
    joint = isinstance(modules[name], LAYERS_3D)
    maps, gradient = (_time_first(list(part), x, joint=joint, name=name) for part in (outputs, gradients))
    positions = (0, 3, 4) if joint else (3, 4)
    weights = gradient.mean(positions, keepdim=True)  # [t, N, C, 1, 1]
    cam = functional.relu((weights * maps.detach()).sum(2))  # [t, N, h, w]
    cam = _enlarge(cam, (len(x), x.shape[3], x.shape[4]))
    cam[torch.arange(len(x), device=x.device)[:, None] >= check_lengths(lengths, x)] = 0
    return torch.nan_to_num(cam / cam.amax((0, 2, 3), keepdim=True))  # 0 / 0: nothing speaks for the class


def last_convolution(model: nn.Module) -> str:
    """Name of the last convolution with several output channels; those of attention layers make masks and do not count.

    Raises:
        ConfigError: there is none.
    """
    names = _convolutions(model)
    if not names:
        raise ConfigError(
            f"a {type(model).__name__} without torch convolutions", expected="a convolutional network, for Grad-CAM"
        )
    return names[-1]


def _by_depth(model: nn.Module) -> list[str]:
    """Layers that can be explained, the preferred one last."""
    own = getattr(model, "explained_layer", "") or last_convolution(model)
    return [*(name for name in _convolutions(model) if name != own), own]


def _convolutions(model: nn.Module) -> list[str]:
    attention = [module for module in model.modules() if isinstance(module, ATTENTION)]
    masks = {id(part) for module in attention for part in module.modules()}
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.out_channels > 1 and id(module) not in masks
    ]


def _find(model: nn.Module, name: str) -> nn.Module:
    modules = dict(model.named_modules())
    if name not in modules:
        raise ConfigError(
            f"layer = '{name}'",
            expected="the name of a part of the model, such as " + f"'{last_convolution(model)}'",
            fix="see model.named_modules()",
        )
    return modules[name]


@dataclass
class _Chosen:
    """The layer that is explained, so far, and what it gave, once per call."""

    name: str = ""
    rank: tuple[int, int] = (-1, -1)
    outputs: list[Any] = field(default_factory=list)

    def keep(self, name: str, depth: int, output: Any) -> None:
        """A layer with fewer than `MIN_SIDE` positions on a side gives way to one with more, else to a deeper one."""
        maps = isinstance(output, torch.Tensor) and output.ndim in (4, 5)
        rank = (min(*output.shape[-2:], MIN_SIDE) if maps else 0, depth)
        if rank > self.rank:
            self.name, self.rank, self.outputs = name, rank, []
        if rank == self.rank:
            self.outputs.append(output)


@contextmanager
def _outputs_of(modules: Mapping[str, nn.Module]) -> Iterator[_Chosen]:
    """What the best of `modules`, the deepest last, gives while the context lasts."""
    chosen = _Chosen()

    def keep(name: str, depth: int, _module: nn.Module, _inputs: object, output: Any) -> Any:
        chosen.keep(name, depth, output)
        return output.clone() if isinstance(output, torch.Tensor) else output  # layers behind may work in place

    handles = [
        module.register_forward_hook(functools.partial(keep, name, depth))
        for depth, (name, module) in enumerate(modules.items())
    ]
    try:
        yield chosen
    finally:
        for handle in handles:
            handle.remove()


def _check_outputs(outputs: list[torch.Tensor], name: str) -> None:
    if not outputs:
        raise ConfigError(f"layer = '{name}', which the model does not call", fix="name a layer inside or around it")
    given = outputs[0]
    if not isinstance(given, torch.Tensor) or given.ndim not in (4, 5):
        what = f"shape {list(given.shape)}" if isinstance(given, torch.Tensor) else type(given).__name__
        raise ConfigError(
            f"layer = '{name}' gives {what}", expected="feature maps [N, C, h, w] or [T, N, C, h, w]",
            fix="name a convolution",
        )  # fmt: skip


def _targets(target: torch.Tensor | int | None, scores: torch.Tensor) -> torch.Tensor:
    """Class index of each sample ``[N]``."""
    if target is None:
        return scores.argmax(1)
    classes = torch.as_tensor(target, device=scores.device).expand(len(scores)) if _fits(target, scores) else None
    if classes is None or (len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < scores.shape[1]):
        raise ShapeError(
            f"target = {target.tolist() if isinstance(target, torch.Tensor) else target}",
            expected=f"class indices from 0 to {scores.shape[1] - 1}, one for all or one for each of "
            f"{len(scores)} samples",
        )
    return classes.long()


def _fits(target: torch.Tensor | int, scores: torch.Tensor) -> bool:
    return not isinstance(target, torch.Tensor) or target.ndim == 0 or target.shape == scores.shape[:1]


def _time_first(parts: list[torch.Tensor], x: torch.Tensor, *, joint: bool, name: str) -> torch.Tensor:
    """Outputs of all calls of a layer as ``[t, N, C, h, w]``."""
    n_steps, n_samples = x.shape[:2]
    if joint and len(parts) == 1:
        return parts[0].movedim(2, 0)  # [N, C, t, h, w] to [t, N, C, h, w]
    whole = torch.cat(parts)
    if whole.ndim == 5 and whole.shape[:2] == (n_steps, n_samples):
        return whole
    if whole.ndim == 4 and len(whole) % n_samples == 0:  # all steps at once or one after the other, pooled or not
        return whole.unflatten(0, (-1, n_samples))
    raise ConfigError(
        f"layer = '{name}' gives maps of shape {list(whole.shape)} for {n_steps} steps of {n_samples} samples",
        expected="maps of every sample, time before samples, or those of a three-dimensional convolution",
        fix="name another convolution",
    )


def _enlarge(cam: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    """``[t, N, h, w]`` to ``[T, N, H, W]``."""
    if len(cam) == size[0]:
        return functional.interpolate(cam, size=size[1:], mode="bilinear", align_corners=False)
    clips = cam.movedim(1, 0)[:, None]  # [N, 1, t, h, w]
    return functional.interpolate(clips, size=size, mode="trilinear", align_corners=False)[:, 0].movedim(1, 0)
