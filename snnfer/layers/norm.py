"""Batch normalisation over batch and time, plain and dependent on the threshold."""

import torch
from torch import nn

from snnfer._check import check_positive
from snnfer.layers._input import check_maps
from snnfer.layout import merge_time, split_time


class TimeBatchNorm2d(nn.BatchNorm2d):
    r"""Batch normalisation of ``[T, N, C, H, W]`` with one mean and variance per channel over all steps.

    .. math::
        y = \gamma_c\,\frac{x - \mathrm{E}_{T, N, H, W}[x]}{\sqrt{\mathrm{Var}_{T, N, H, W}[x] + \epsilon}} + \beta_c

    It is `torch.nn.BatchNorm2d` on merged time, with the same parameters and buffers: what folds, freezes or loads one
    treats the other alike. In evaluation mode the stored statistics apply to every step, so that it streams.

    Args:
        num_features: Channels.
        eps: Added to the variance.
        momentum: Weight of the current batch in the stored statistics.

    Shape:
        - Input, output: :math:`(T, N, C, H, W)`.

    Raises:
        ShapeError: the input has another layout or number of channels.

    References:
        Ioffe and Szegedy, "Batch Normalization", ICML 2015; over time as in Fang et al., ICCV 2021.

    Examples:
        >>> y = TimeBatchNorm2d(3)(5 + torch.randn(4, 2, 3, 8, 8))
        >>> torch.allclose(y.mean((0, 1, 3, 4)), torch.zeros(3), atol=1e-5)
        True
    """

    def __init__(self, num_features: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        check_maps(input, channels=self.num_features)
        return split_time(super().forward(merge_time(input)), len(input))


class ThresholdDependentBatchNorm2d(TimeBatchNorm2d):
    r"""Batch normalisation whose output starts at the scale of the firing threshold (tdBN).

    .. math::
        y = \lambda_c\,\frac{x - \mathrm{E}_{T, N, H, W}[x]}{\sqrt{\mathrm{Var}_{T, N, H, W}[x] + \epsilon}} + \beta_c,
        \qquad \lambda_c = \alpha\,v_\text{threshold} \ \text{at the start}

    Deep networks neither fall silent nor saturate, because currents stay around the threshold. The paper writes the
    factor beside a :math:`\lambda` that starts at 1; here it is in the initial weight (as in spikingjelly), which gives
    the same function and keeps the weight foldable.

    Args:
        num_features: Channels.
        v_threshold: Threshold of the neuron behind this layer.
        alpha: 1 in a chain; :math:`1 / \sqrt{2}` where two normalised branches are added.
        eps: Added to the variance.
        momentum: Weight of the current batch in the stored statistics.

    Shape:
        - Input, output: :math:`(T, N, C, H, W)`.

    Raises:
        SnnferError: `v_threshold` or `alpha` is not above zero.
        ShapeError: the input has another layout or number of channels.

    References:
        Zheng et al., "Going Deeper With Directly-Trained Larger Spiking Neural Networks", AAAI 2021
        (threshold-dependent batch normalization).

    Examples:
        >>> y = ThresholdDependentBatchNorm2d(3, v_threshold=0.5)(5 + torch.randn(4, 2, 3, 8, 8))
        >>> torch.allclose(y.std((0, 1, 3, 4)), torch.full((3,), 0.5), atol=1e-2)
        True
    """

    def __init__(
        self,
        num_features: int,
        *,
        v_threshold: float = 1.0,
        alpha: float = 1.0,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        check_positive(v_threshold, name="v_threshold")
        check_positive(alpha, name="alpha")
        self.scale = alpha * v_threshold
        super().__init__(num_features, eps=eps, momentum=momentum)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.weight, self.scale)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale}"
