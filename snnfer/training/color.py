"""Random changes of colour of raw training clips ``[T, N, C, H, W]``, 0 to 255: each sample draws its own."""

import torch

from snnfer.errors import ShapeError

_LUMA = (0.299, 0.587, 0.114)


def random_color(x: torch.Tensor, *, amount: float, hue: float) -> torch.Tensor:
    r"""Change brightness, contrast, saturation and hue of the first three channels (red, green, blue).

    Factors of the first three are drawn from :math:`[1 - a, 1 + a]`, the turn of the hue from :math:`[-h, h]`, one of
    each per sample and the same for all its steps. They are applied in this order; further channels, such as depth,
    stay as they are.

    Args:
        x: Raw values, 0 to 255 in the colour channels, ``[T, N, C, H, W]``.
        amount: :math:`a`, 0 to 1.
        hue: :math:`h`, 0 to 0.5, as a share of the colour circle.

    Returns:
        float32, or `x` itself where nothing is to be changed.

    Raises:
        ShapeError: there are fewer than three channels.
    """
    if not amount and not hue:
        return x
    if x.shape[2] < 3:
        raise ShapeError(
            f"colours of a clip with {x.shape[2]} channels are to be changed",
            expected="red, green and blue",
            fix="set train.color_jitter=0 and train.hue_jitter=0",
        )
    color = x[:, :, :3].float()
    for change, spread, middle in (
        (adjust_brightness, amount, 1.0),
        (adjust_contrast, amount, 1.0),
        (adjust_saturation, amount, 1.0),
        (adjust_hue, hue, 0.0),
    ):
        if spread:
            color = change(color, (middle + (2 * torch.rand(x.shape[1]) - 1) * spread).to(x.device))
    return torch.cat([color, x[:, :, 3:].float()], dim=2)


def adjust_brightness(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Multiply each sample of ``[T, N, 3, H, W]`` (0 to 255) by its factor ``[N]``."""
    return _between(torch.zeros_like(x), x, factors)


def adjust_contrast(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Move each image of ``[T, N, 3, H, W]`` away from its own mean grey value: 0 leaves that, 1 changes nothing."""
    return _between(_gray(x).mean((-2, -1), keepdim=True), x, factors)


def adjust_saturation(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Move each pixel of ``[T, N, 3, H, W]`` away from its grey value: 0 leaves that, 1 changes nothing."""
    return _between(_gray(x), x, factors)


def adjust_hue(x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    r"""Turn the hue of each sample of ``[T, N, 3, H, W]`` (0 to 255) and keep its saturation and value.

    With hue :math:`h` in turns, saturation :math:`s` and value :math:`v`, the channel of offset :math:`n` = 5, 3, 1 is

    .. math:: v - v s \max(0, \min(k, 4 - k, 1)), \quad k = (n + 6 h) \bmod 6

    Args:
        x: Colours.
        turns: Share of the colour circle, one per sample ``[N]``: 1/3 turns red into green.

    References:
        Smith, "Color Gamut Transform Pairs", SIGGRAPH 1978.
    """
    red, green, blue = x.unbind(2)  # [T, N, H, W]
    value = x.amax(2)
    spread = value - x.amin(2)
    safe = spread.clamp_min(1e-12)  # grey has no hue; any will do
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )  # in sixths of a turn
    hue = hue + 6 * turns.view(1, -1, 1, 1)
    parts = [torch.remainder(offset + hue, 6) for offset in (5, 3, 1)]
    channels = [value - spread * torch.minimum(k, 4 - k).clamp(0, 1) for k in parts]
    return torch.stack(channels, dim=2)


def _gray(x: torch.Tensor) -> torch.Tensor:
    weights = torch.tensor(_LUMA, device=x.device).view(3, 1, 1)
    return (x * weights).sum(2, keepdim=True)  # [T, N, 1, H, W]


def _between(origin: torch.Tensor, x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """``origin + factor * (x - origin)`` per sample, kept within 0 to 255."""
    return (origin + factors.view(1, -1, 1, 1, 1) * (x - origin)).clamp(0, 255)
