"""Small smooth functions that the head, its skin and its movements are made of."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Array = NDArray[np.floating]


def bump(x: Array, y: Array, x0: float, y0: float, width: float, height: float) -> Array:
    """Gaussian hill of height 1 at (x0, y0)."""
    return np.exp(-0.5 * ((x - x0) / width) ** 2 - 0.5 * ((y - y0) / height) ** 2)


def sigmoid(x: Array) -> Array:
    """Logistic function."""
    return 1.0 / (1.0 + np.exp(-np.clip(x, -60, 60)))


def smoothstep(x: ArrayLike) -> Array:
    """0 below 0, 1 above 1, cubic between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def minimum_jerk(x: ArrayLike) -> Array:
    """Position of the smoothest movement from 0 to 1 (Flash and Hogan 1985)."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * x * (10.0 + x * (-15.0 + 6.0 * x))


def srgb_to_linear(rgb: ArrayLike) -> Array:
    """Display values in [0, 1] to linear light (IEC 61966-2-1)."""
    rgb = np.asarray(rgb, float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(rgb: ArrayLike) -> Array:
    """Linear light in [0, 1] to display values."""
    rgb = np.clip(np.asarray(rgb), 0.0, 1.0)
    return np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)


LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of linear R, G, B in luminance (ITU-R BT.709)."""


def blurred(image: Array, sigma: float | Sequence[float]) -> Array:
    """Gaussian blur of ``[H, W]`` or ``[H, W, C]`` along height and width; `sigma` in pixels, or one for each."""
    vertical, horizontal = (sigma, sigma) if isinstance(sigma, int | float) else sigma
    return ndimage.gaussian_filter(image, (vertical, horizontal), axes=(0, 1), mode="mirror")
