"""The conditional variational autoencoder that reconstructs faces from events, of Mastropasqua et al."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnfer._check import check_ndim
from snnfer.errors import ShapeError, SnnferError
from snnfer.models._input import check_video
from snnfer.models._reads import Reads
from snnfer.models._registry import register_model


class CVAE(nn.Module):
    """Encoder of frame and events, decoder of latent code and events; built by `cvae`, which says more."""

    config: dict[str, Any]

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        size: Sequence[int],
        widths: Sequence[int],
        latent: int,
        hidden: int,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.latent = in_channels, out_channels, latent
        self.size = tuple(size)
        sizes = _halved(self.size, len(widths))
        channels = [out_channels + in_channels, *widths]
        features = widths[-1] * sizes[-1][0] * sizes[-1][1]
        self.encoder = nn.Sequential()
        for i, width in enumerate(widths):
            self.encoder.append(nn.Conv2d(channels[i], width, 3, stride=2, padding=1)).append(nn.ReLU())
        self.mu = nn.Linear(features, latent)
        self.log_variance = nn.Linear(features, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent + in_channels * self.size[0] * self.size[1], hidden),
            nn.ReLU(),
            nn.Linear(hidden, features),
            nn.ReLU(),
            nn.Unflatten(1, (widths[-1], *sizes[-1])),
        )
        channels[0] = out_channels
        for i in reversed(range(len(widths))):
            self.decoder.append(_upsampling(channels[i + 1], channels[i], before=sizes[i + 1], after=sizes[i]))
            self.decoder.append(nn.ReLU() if i else nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Frames ``[T, N, C_out, H, W]`` in [0, 1] from event images ``[T, N, C, H, W]`` alone, with z = 0."""
        return self.reconstruct(x)

    def reconstruct(self, x: torch.Tensor, *, generator: torch.Generator | None = None) -> torch.Tensor:
        """Frames from events alone: what the network can do where there is no camera of frames.

        Args:
            x: Event images ``[T, N, C, H, W]`` in [0, 1].
            generator: Draws the latent code of each image from the prior N(0, I). Without it the code is the prior's
                mean, z = 0, so that the same events always give the same frame.

        Returns:
            ``[T, N, C_out, H, W]`` in [0, 1].
        """
        x = self._check_events(x)
        shape = (*x.shape[:2], self.latent)
        z = x.new_zeros(shape) if generator is None else _standard_normal(shape, like=x, generator=generator)
        return self._decode(z, x)

    def reconstruct_posterior(self, x: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """Frames from events and the very frames that are sought, with z = the posterior's mean.

        Publications often score this. The network has seen the answer through the latent code, so it measures how well
        the autoencoder copies, not how well it reconstructs; it cannot be used where frames are unknown.

        Args:
            x: Event images ``[T, N, C, H, W]`` in [0, 1].
            frames: True frames ``[T, N, C_out, H, W]``, floating point in [0, 1].
        """
        x = self._check_events(x)
        return self._decode(self._encode(x, frames)[0], x)

    def forward_training(
        self, x: torch.Tensor, y: torch.Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        r"""What the loss needs: frames from a sampled latent code, and the posterior it was drawn from.

        :math:`z = \mu + \sigma \odot \epsilon`, with :math:`\epsilon \sim N(0, I)` (eq. 5).

        Args:
            x: Event images ``[T, N, C, H, W]`` in [0, 1].
            y: True frames ``[T, N, C_out, H, W]``, floating point in [0, 1].
            generator: Source of :math:`\epsilon`; torch's global one if None.

        Returns:
            Frames ``[T, N, C_out, H, W]``, mean and logarithm of the variance ``[T, N, latent]``.
        """
        x = self._check_events(x)
        mu, log_variance = self._encode(x, y)
        epsilon = _standard_normal(mu.shape, like=mu, generator=generator)
        return self._decode(mu + (log_variance / 2).exp() * epsilon, x), mu, log_variance

    def _encode(self, x: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        both = torch.cat([self._check_frames(frames, x), x], dim=2)
        features = self.encoder(both.flatten(0, 1)).flatten(1)  # [T * N, features]
        shape = (*x.shape[:2], self.latent)
        return self.mu(features).reshape(shape), self.log_variance(features).reshape(shape)

    def _decode(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        code = torch.cat([z, x.flatten(2)], dim=2).flatten(0, 1)  # [T * N, latent + C * H * W]
        return self.decoder(code).reshape(*x.shape[:2], self.out_channels, *self.size)  # [T, N, C_out, H, W]

    def _check_events(self, x: torch.Tensor) -> torch.Tensor:
        dtype = next(self.parameters()).dtype
        return check_video(x, in_channels=self.in_channels, size=self.size, dtype=dtype)

    def _check_frames(self, frames: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The frames in the dtype of the events `x`."""
        check_ndim(frames, 5, layout="[T, N, C, H, W]", name="the tensor of frames")
        expected = [*x.shape[:2], self.out_channels, *self.size]
        if list(frames.shape) != expected:
            raise ShapeError(
                f"frames of shape {list(frames.shape)} with events of shape {list(x.shape)}",
                expected=f"frames of shape {expected}",
                cause="colour frames for a grey network, or frames of another size",
            )
        if not frames.is_floating_point():
            raise SnnferError(f"frames of {frames.dtype}", expected="values in [0, 1]", fix="divide by 255")
        return frames.to(x.dtype)


def kl_to_prior(mu: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    r"""Kullback-Leibler divergence of a posterior from the prior N(0, I), in nats, summed over the latent dimension.

    .. math:: D_{KL} = \tfrac12 \sum_j \mu_j^2 + \sigma_j^2 - \log \sigma_j^2 - 1

    Args:
        mu: Posterior means ``[*, latent]``.
        log_variance: Logarithms of the posterior variances, of the same shape.

    Returns:
        ``[*]``, zero where the posterior is the prior.

    Examples:
        >>> kl_to_prior(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2))
        tensor([2.])
    """
    return 0.5 * (mu.square() + log_variance.exp() - log_variance - 1).sum(-1)


@register_model(task="reconstruction", reads=Reads("polarity_image"))
def cvae(
    *,
    in_channels: int = 1,
    out_channels: int = 1,
    size: Sequence[int] = (260, 346),
    widths: Sequence[int] = (16, 32),
    latent: int = 32,
    hidden: int = 1024,
) -> CVAE:
    r"""Conditional variational autoencoder that reconstructs frames from event images.

    The encoder sees the true frame and the event image: convolutions 3 x 3 of stride 2 with ReLU, then two fully
    connected layers for mean and logarithm of the variance of the latent code. The decoder sees the latent code and all
    pixels of the event image: two fully connected layers with ReLU, then transposed convolutions and a sigmoid.
    `forward` and `reconstruct` need events alone, `forward_training` takes the frames too.

    The paper prints 289 M parameters but neither sizes nor widths. The defaults are the simplest configuration that has
    them: 289,228,049, at the resolution of the DAVIS346, nearly all of them in the fully connected layers. So the model
    needs 2 GB of memory to reconstruct and 7.1 GB to train with Adam, whether on 1 or 16 images at a time (measured
    with ``python -m benchmarks.paper_sizes cvae``).

    Args:
        in_channels: Channels of the event image: 1 for the polarity image of the paper.
        out_channels: Channels of the frames: 1 grey, 3 colour.
        size: Height and width of events and frames in pixels, any that the convolutions can halve.
        widths: Channels of the convolutions of the encoder; the decoder mirrors them.
        latent: Dimension of the latent code.
        hidden: Units of the first fully connected layer of the decoder.

    Shape:
        - Input: :math:`(T, N, C, H, W)`, event images in [0, 1]: the polarity image (OFF 0, none 127, ON 255) / 255.
        - Output: :math:`(T, N, C_\text{out}, H, W)`, frames in [0, 1]; time steps are independent.

    Raises:
        ShapeError: the input, or `size`, does not fit.

    References:
        Mastropasqua et al., "Exploring Spatial-Temporal Dynamics in Event-based Facial Micro-Expression Analysis",
        section 4.4, eq. (4)-(7) and figure 4.

    Examples:
        >>> model = cvae(size=(32, 43), widths=(4, 8), hidden=16)
        >>> events = torch.rand(2, 1, 1, 32, 43)
        >>> model.reconstruct(events).shape
        torch.Size([2, 1, 1, 32, 43])
        >>> frames, mu, log_variance = model.forward_training(events, torch.rand(2, 1, 1, 32, 43))
        >>> kl_to_prior(mu, log_variance).shape
        torch.Size([2, 1])
    """
    smallest = 2 ** len(widths)
    if not widths or min(size) < smallest:
        raise ShapeError(
            f"size = {tuple(size)} with widths = {tuple(widths)}",
            expected=f"one convolution or more, and at least {smallest} x {smallest} pixels, because each halves them",
        )
    return CVAE(
        in_channels=in_channels, out_channels=out_channels, size=size, widths=widths, latent=latent, hidden=hidden
    )


def _halved(size: tuple[int, ...], times: int) -> list[tuple[int, ...]]:
    """`size` and what is left of it after each convolution 3 x 3 of stride 2 and padding 1."""
    sizes = [size]
    for _ in range(times):
        sizes.append(tuple((length + 1) // 2 for length in sizes[-1]))
    return sizes


def _upsampling(
    in_channels: int, out_channels: int, *, before: tuple[int, ...], after: tuple[int, ...]
) -> nn.ConvTranspose2d:
    """The transposed convolution from size `before` to exactly `after`, odd or even."""
    extra = (after[0] - 2 * before[0] + 1, after[1] - 2 * before[1] + 1)
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=extra)


def _standard_normal(shape: Sequence[int], *, like: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Samples of N(0, 1) in the dtype and on the device of `like`, drawn where the generator is."""
    device = like.device if generator is None else generator.device
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=device).to(like.device)
