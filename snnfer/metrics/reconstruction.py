"""How near a reconstructed image is to the true one: MSE, RMSE, MAE, PSNR, SSIM and NCC of each image."""

import torch

from snnfer._check import check_ndim
from snnfer._optional import require
from snnfer.errors import ShapeError, SnnferError

SSIM_WINDOW, SSIM_SIGMA, SSIM_K1, SSIM_K2 = 11, 1.5, 0.01, 0.03


def reconstruction_scores(prediction: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    r"""Scores of reconstructed images, one per image, never mixed within a batch.

    With :math:`p, y` the values of one image in [0, 1]: MSE, RMSE :math:`= \sqrt{\text{MSE}}` and MAE are means over
    all its pixels and channels, and PSNR :math:`= -10 \log_{10} \text{MSE}` in dB (a maximum of 1). A perfect image has
    a PSNR of infinity, which makes any mean over images infinite: average MSE, or leave such images out and say so.

    SSIM uses Gaussian windows of 11 x 11 pixels (:math:`\sigma` = 1.5, K1 = 0.01, K2 = 0.03) with population variances,
    on each channel, and averages over the windows that lie wholly in the image and over channels. These are the
    reference implementation and scikit-image's ``structural_similarity``; torchmetrics' own mean also counts windows
    that hang over the border, filled by reflection.

    NCC is the correlation of the zero-mean values of a channel, averaged over channels. Where the prediction or the
    target of a channel is constant there is no correlation: such a channel counts 1 if both are equal and 0 otherwise.

    Args:
        prediction: Reconstructed images ``[N, C, H, W]``, floating point in [0, 1].
        target: True images of the same shape, floating point in [0, 1].

    Returns:
        ``"mse", "rmse", "mae", "psnr", "ssim", "ncc"``, each ``[N]``, computed and returned in float64.

    Raises:
        ShapeError: the shapes differ, are not ``[N, C, H, W]``, or the images are smaller than 11 x 11 pixels.
        SnnferError: whole numbers, NaN, or values outside [0, 1].
        MissingExtraError: torchmetrics is not installed (extra ``train``).

    References:
        Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004.

    Examples:
        >>> target = torch.rand(2, 3, 32, 32)
        >>> scores = reconstruction_scores(target.clone(), target)
        >>> scores["psnr"].tolist()
        [inf, inf]
        >>> {name: round(value[0].item(), 6) for name, value in scores.items() if name != "psnr"}
        {'mse': 0.0, 'rmse': 0.0, 'mae': 0.0, 'ssim': 1.0, 'ncc': 1.0}
    """
    _check_images(prediction, target)
    p, y = prediction.double(), target.double()
    mse = (p - y).square().mean((1, 2, 3))
    return {
        "mse": mse,
        "rmse": mse.sqrt(),
        "mae": (p - y).abs().mean((1, 2, 3)),
        "psnr": _psnr(p, y),
        "ssim": _ssim(p, y),
        "ncc": _ncc(p, y),
    }


def _psnr(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    image = require("torchmetrics.functional.image", extra="train")
    return image.peak_signal_noise_ratio(p, y, data_range=1.0, reduction="none", dim=(1, 2, 3)).to(p.dtype)


def _ssim(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    image = require("torchmetrics.functional.image", extra="train")
    if not len(p):
        return p.new_zeros(0)
    _, windows = image.structural_similarity_index_measure(
        p,
        y,
        sigma=SSIM_SIGMA,
        kernel_size=SSIM_WINDOW,
        k1=SSIM_K1,
        k2=SSIM_K2,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    border = SSIM_WINDOW // 2
    return windows[..., border:-border, border:-border].mean((1, 2, 3))


def _ncc(p: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    p, y = p.flatten(2), y.flatten(2)  # [N, C, H * W]
    is_constant = (p.amax(2) == p.amin(2)) | (y.amax(2) == y.amin(2))  # [N, C]
    centred_p, centred_y = p - p.mean(2, keepdim=True), y - y.mean(2, keepdim=True)
    correlation = torch.nn.functional.cosine_similarity(centred_p, centred_y, dim=2, eps=1e-300)
    without_correlation = (p == y).all(2).to(correlation.dtype)
    return torch.where(is_constant, without_correlation, correlation).mean(1)


def _check_images(prediction: torch.Tensor, target: torch.Tensor) -> None:
    if prediction.shape != target.shape:
        raise ShapeError(
            f"a prediction of shape {list(prediction.shape)} with a target of shape {list(target.shape)}",
            expected="the same shape [N, C, H, W]",
            cause="grey images compared with colour ones, or images of different sizes",
        )
    check_ndim(prediction, 4, layout="[N, C, H, W]", name="prediction")
    height, width = prediction.shape[2:]
    if height < SSIM_WINDOW or width < SSIM_WINDOW:
        raise ShapeError(
            f"images of {height} x {width} pixels",
            expected=f"at least {SSIM_WINDOW} x {SSIM_WINDOW}, the window of SSIM",
        )
    for name, images in (("prediction", prediction), ("target", target)):
        if not images.is_floating_point():
            raise SnnferError(
                f"the {name} has dtype {images.dtype}",
                expected="floating point in [0, 1]",
                cause="pixels from 0 to 255",
                fix="divide by 255",
            )
        if images.isnan().any():
            raise SnnferError(f"the {name} holds NaN", cause="training diverged", fix="lower the learning rate")
        if images.numel() and (images.min() < 0 or images.max() > 1):
            raise SnnferError(
                f"the {name} has values from {images.min():.3g} to {images.max():.3g}",
                expected="[0, 1]",
                cause="pixels from 0 to 255, or a network's own range of [-1, 1]",
                fix="use model.reconstruct(x), or rescale",
            )
