"""Reconstruction scores against scikit-image and numpy."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from snnfer.errors import ShapeError, SnnferError
from snnfer.metrics import reconstruction_scores

NAMES = ["mse", "rmse", "mae", "psnr", "ssim", "ncc"]


def make_images(shape=(3, 3, 24, 31), *, seed=0):
    """Smooth targets, and predictions with noise that grows from image to image."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((*shape[:2], 4, 5), generator=generator)
    target = torch.nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear").clamp(0, 1)
    noise = torch.randn(shape, generator=generator) * torch.linspace(0.02, 0.2, shape[0])[:, None, None, None]
    return (target + noise).clamp(0, 1), target


@pytest.mark.parametrize("n_channels", [1, 3])
def test_equals_scikit_image_and_numpy(n_channels):
    metrics = pytest.importorskip("skimage.metrics")
    prediction, target = make_images((3, n_channels, 24, 31))
    scores = reconstruction_scores(prediction, target)
    assert list(scores) == NAMES
    for i in range(3):
        p, y = prediction[i].double().numpy(), target[i].double().numpy()
        expected = {
            "mse": metrics.mean_squared_error(y, p),
            "rmse": metrics.mean_squared_error(y, p) ** 0.5,
            "mae": np.abs(p - y).mean(),
            "psnr": metrics.peak_signal_noise_ratio(y, p, data_range=1),
            "ssim": metrics.structural_similarity(
                y, p, win_size=11, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, K1=0.01, K2=0.03,
                data_range=1, channel_axis=0,
            ),
            "ncc": np.mean([np.corrcoef(p[c].ravel(), y[c].ravel())[0, 1] for c in range(n_channels)]),
        }  # fmt: skip
        for name in NAMES:
            assert scores[name].dtype == torch.float64
            assert scores[name][i].item() == pytest.approx(expected[name], rel=2e-7), name


def test_psnr_of_known_errors():
    target = torch.full((2, 1, 16, 16), 0.5)
    shift = torch.tensor([0.1, 0.01])[:, None, None, None]
    assert reconstruction_scores(target + shift, target)["psnr"].tolist() == pytest.approx([20, 40], abs=1e-4)


def test_each_image_is_scored_as_if_alone():
    prediction, target = make_images((4, 3, 20, 20))
    whole = reconstruction_scores(prediction, target)
    for i in range(4):
        alone = reconstruction_scores(prediction[i : i + 1], target[i : i + 1])
        for name in NAMES:
            torch.testing.assert_close(alone[name][0], whole[name][i], rtol=1e-12, atol=0)
    assert (whole["ssim"].diff() < 0).all()  # the noise grows


def test_a_perfect_image_has_infinite_psnr():
    _, target = make_images()
    scores = reconstruction_scores(target, target)
    assert scores["psnr"].tolist() == [float("inf")] * 3
    assert scores["mse"].tolist() == scores["rmse"].tolist() == scores["mae"].tolist() == [0.0] * 3
    assert scores["ssim"].tolist() == pytest.approx([1.0] * 3)
    assert scores["ncc"].tolist() == pytest.approx([1.0] * 3)


def test_correlation_of_constant_channels_is_defined():
    prediction, target = make_images((1, 2, 16, 16))
    prediction[:, 0], target[:, 0] = 0.3, 0.3  # equal: 1
    other = reconstruction_scores(prediction[:, 1:], target[:, 1:])["ncc"]
    torch.testing.assert_close(reconstruction_scores(prediction, target)["ncc"], (1 + other) / 2)
    prediction[:, 0] = 0.4  # constant and wrong: 0
    torch.testing.assert_close(reconstruction_scores(prediction, target)["ncc"], other / 2)
    prediction, target = make_images((1, 1, 16, 16))
    assert reconstruction_scores(torch.full_like(target, 0.1), target)["ncc"].tolist() == [0.0]
    assert reconstruction_scores(target, torch.full_like(target, 0.1))["ncc"].tolist() == [0.0]


def test_a_negative_has_correlation_minus_one():
    _, target = make_images()
    assert reconstruction_scores(1 - target, target)["ncc"].tolist() == pytest.approx([-1.0] * 3)


def test_empty_batch():
    empty = torch.zeros(0, 3, 16, 16)
    assert {name: value.shape for name, value in reconstruction_scores(empty, empty).items()} == {
        name: (0,) for name in NAMES
    }


def test_the_smallest_image_is_one_window():
    prediction, target = make_images((2, 1, 11, 11))
    assert reconstruction_scores(prediction, target)["ssim"].isfinite().all()
    with pytest.raises(ShapeError, match=r"images of 11 x 10 pixels; expected at least 11 x 11, the window of SSIM"):
        reconstruction_scores(prediction[..., 1:], target[..., 1:])


def test_wrong_input_is_one_sentence():
    prediction, target = make_images()
    with pytest.raises(ShapeError, match=r"prediction of shape \[3, 1, 24, 31\] with a target of shape \[3, 3, 24, 31"):
        reconstruction_scores(prediction[:, :1], target)
    with pytest.raises(ShapeError, match=r"prediction has shape \[3, 24, 31\]; expected 4 dimensions \[N, C, H, W\]"):
        reconstruction_scores(prediction[0], target[0])
    with pytest.raises(SnnferError, match=r"the prediction has values from -1 to 1; expected \[0, 1\].*reconstruct"):
        reconstruction_scores(torch.full_like(target, 1).index_fill_(0, torch.tensor(0), -1), target)
    with pytest.raises(SnnferError, match=r"the target has dtype torch.uint8.*divide by 255"):
        reconstruction_scores(prediction, (target * 255).to(torch.uint8))
    with pytest.raises(SnnferError, match="the prediction holds NaN"):
        reconstruction_scores(prediction * float("nan"), target)


def test_torchvision_is_not_needed():
    """In a fresh process that finds neither the package nor its metadata (torchmetrics looks for the latter)."""
    code = """
import importlib.metadata, sys
find = importlib.metadata.Distribution.from_name.__func__
def from_name(cls, name):
    if name == "torchvision":
        raise importlib.metadata.PackageNotFoundError(name)
    return find(cls, name)
importlib.metadata.Distribution.from_name = classmethod(from_name)
sys.modules["torchvision"] = None
import torch
from snnfer.metrics import reconstruction_scores
assert "torchmetrics" not in sys.modules
x = torch.rand(1, 3, 16, 16)
print(reconstruction_scores(x, x)["ssim"].item())
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(1)
