"""Random changes of raw training clips ``[T, N, C, H, W]``: each sample draws its own, the same for all its steps."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional


def random_shift(x: torch.Tensor, *, max_px: int, max_steps: int) -> torch.Tensor:
    """Shift each clip of ``[T, N, C, H, W]`` by up to `max_px` pixels and `max_steps` steps; zeros move in."""
    if not max_px and not max_steps:
        return x
    out = torch.zeros_like(x)
    limits = (max_steps, max_px, max_px)
    for n in range(x.shape[1]):
        shifts = [int(torch.randint(-limit, limit + 1, ())) for limit in limits]
        (t_to, t_from), (y_to, y_from), (x_to, x_from) = (
            (slice(max(s, 0), size + min(s, 0)), slice(max(-s, 0), size + min(-s, 0)))
            for s, size in zip(shifts, (x.shape[0], *x.shape[3:]), strict=True)
        )
        out[t_to, n, :, y_to, x_to] = x[t_from, n, :, y_from, x_from]
    return out


def random_flip(*images: torch.Tensor, probability: float) -> tuple[torch.Tensor, ...]:
    """Mirror samples of ``[T, N, C, H, W]`` left to right, each with `probability`; all `images` alike."""
    if not probability:
        return images
    chosen = torch.rand(images[0].shape[1]) < probability
    return tuple(torch.where(chosen.view(1, -1, 1, 1, 1).to(x.device), x.flip(-1), x) for x in images)


def random_rotation(x: torch.Tensor, *, max_deg: float) -> torch.Tensor:
    """Rotate samples of ``[T, N, C, H, W]`` by up to `max_deg` degrees both ways; zeros move in. Result is float32."""
    if not max_deg:
        return x
    return rotate(x, (2 * torch.rand(x.shape[1]) - 1) * max_deg)


def rotate(x: torch.Tensor, angles_deg: torch.Tensor) -> torch.Tensor:
    """Rotate each sample of ``[T, N, C, H, W]`` counter-clockwise about the image centre, bilinear, float32.

    Args:
        x: Any real values.
        angles_deg: One angle per sample ``[N]``, in degrees.
    """
    n_steps, n, channels, height, width = x.shape
    angle = angles_deg.to(x.device) * (math.pi / 180)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = (cos, -sin * height / width, zero), (sin * width / height, cos, zero)
    theta = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)  # [N, 2, 3], in units of half sides
    flat = x.float().transpose(0, 1).reshape(n, n_steps * channels, height, width)  # [N, T * C, H, W]
    grid = functional.affine_grid(theta, list(flat.shape), align_corners=False)
    turned = functional.grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return turned.reshape(n, n_steps, channels, height, width).transpose(0, 1)  # [T, N, C, H, W]


def random_erasing(
    x: torch.Tensor, *, probability: float, scale: tuple[float, float], fill: Sequence[float]
) -> torch.Tensor:
    """Paint over a rectangle of samples of ``[T, N, C, H, W]``, each with `probability`; the same in all its steps.

    Args:
        x: Any real values.
        probability: Of each sample.
        scale: Smallest and largest share of the image; the ratio of height to width lies between 0.3 and 1 / 0.3.
        fill: Value of each channel inside the rectangle.

    Returns:
        float32, or `x` itself where nothing is to be erased. A rectangle that does not fit ten times in a row is left
        out.

    References:
        Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, algorithm 1.
    """
    if not probability:
        return x
    out = x.float().clone()
    value = torch.as_tensor(fill, dtype=torch.float32, device=x.device).view(-1, 1, 1)
    for n in range(x.shape[1]):
        box = _random_box(x.shape[3], x.shape[4], scale) if float(torch.rand(())) < probability else None
        if box is not None:
            out[:, n, :, box[0], box[1]] = value
    return out


_LARGEST_RATIO = 1 / 0.3  # of the sides of an erased rectangle
_TRIES = 10


def _random_box(height: int, width: int, scale: tuple[float, float]) -> tuple[slice, slice] | None:
    """A rectangle inside the image, or None where none of the drawn ones fits."""
    for _ in range(_TRIES):
        area, ratio = torch.rand(2).tolist()
        pixels = (scale[0] + (scale[1] - scale[0]) * area) * height * width
        aspect = _LARGEST_RATIO ** (2 * ratio - 1)
        h, w = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < h < height and 0 < w < width:
            top, left = int(torch.randint(height - h + 1, ())), int(torch.randint(width - w + 1, ()))
            return slice(top, top + h), slice(left, left + w)
    return None
