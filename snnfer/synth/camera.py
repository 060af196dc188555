"""Frame cameras: exposure with motion blur, photon and read noise, auto exposure."""

from dataclasses import dataclass, field

import numpy as np

from snnfer.synth._shapes import LUMINANCE, blurred, linear_to_srgb

FULL_WELL_ELECTRONS = 6000.0
READ_NOISE_ELECTRONS = 6.0
_SATURATION_LUX_S = 3.6  # exposure at which a white surface fills the well
_SHORTEST_S, _LONGEST_S = 0.0005, 0.030
_TARGET_MEAN = 0.22
_DEMOSAIC_BLUR_PX = 0.7


@dataclass
class FrameCamera:
    """A colour and a monochrome camera behind one lens, with one exposure.

    Feed it the light of every time step with `expose`; `read_out` closes the exposure.

    Args:
        lux: Illuminance of the scene.
        scene: Linear RGB light [H, W, 3] of the first image, which sets gain and exposure.
        rng: Draws photon and read noise.
    """

    lux: float
    scene: np.ndarray
    rng: np.random.Generator
    exposure_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.exposure_s = float(np.clip(0.012 * 300 / self.lux, _SHORTEST_S, _LONGEST_S))
        height, width = self.scene.shape[:2]
        middle = self.scene[height // 5 : -height // 5, width // 4 : -width // 4] @ LUMINANCE
        self._gain = float(np.clip(_TARGET_MEAN / middle.mean(), 0.6, 2.5))
        self._sum = np.zeros_like(self.scene, float)
        self._open_s = 0.0

    def expose(self, light: np.ndarray, seconds: float) -> None:
        """Collect light (linear RGB [H, W, 3]) for some time."""
        if seconds > 0:
            self._sum += seconds * light
            self._open_s += seconds

    def read_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Monochrome frame uint8 [H, W] (linear) and colour frame uint8 [H, W, 3] (sRGB); starts the next exposure."""
        mean = (self._sum / max(self._open_s, 1e-9)).astype(np.float32)
        self._sum[:] = 0
        self._open_s = 0.0
        gray = self._digitise(mean @ LUMINANCE.astype(np.float32))
        colour = linear_to_srgb(self._digitise(mean, grain=_DEMOSAIC_BLUR_PX))
        return _to_bytes(np.clip(gray, 0, 1)), _to_bytes(colour)

    def _digitise(self, light: np.ndarray, *, grain: float = 0.0) -> np.ndarray:
        """Noisy signal in units of the white level; interpolation of the colours blurs the noise by `grain` pixels."""
        exposure = min(1.0, self.lux * self.exposure_s / _SATURATION_LUX_S)
        electrons = np.maximum(light, 0) * np.float32(FULL_WELL_ELECTRONS * exposure)
        noise = self.rng.standard_normal(light.shape, np.float32)
        noise *= np.sqrt(electrons + np.float32(READ_NOISE_ELECTRONS**2))  # photon noise (as a Gaussian) and read noise
        if grain:
            noise = blurred(noise, grain)
        return (electrons + noise) * np.float32(self._gain / (FULL_WELL_ELECTRONS * exposure))


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return (image * 255 + 0.5).astype(np.uint8)
