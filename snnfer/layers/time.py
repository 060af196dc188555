"""Layers that know about time: sharing a layer over steps, dropout that holds over time, voting."""

import torch
from torch import nn
from torch.nn import functional as F

from snnfer._check import check_positive
from snnfer.errors import ShapeError, SnnferError, StateError
from snnfer.layers._input import check_steps
from snnfer.layout import merge_time, split_time


class TimeDistributed(nn.Module):
    r"""Apply a layer without memory to every step: time joins the batch.

    .. math::
        y_{t, n} = f(x_{t, n})

    Args:
        module: Layer from ``[N, ...]`` to ``[N, ...]``, such as `torch.nn.Conv2d` or `torch.nn.BatchNorm2d`.

    Shape:
        - Input, output: :math:`(T, N, ...)`.

    Raises:
        ShapeError: the input has fewer than two dimensions.

    Examples:
        >>> TimeDistributed(nn.MaxPool2d(2))(torch.rand(5, 2, 3, 8, 8)).shape
        torch.Size([5, 2, 3, 4, 4])
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_steps(x)
        return split_time(self.module(merge_time(x)), len(x))


class TimeConstantDropout(nn.Module):
    r"""Dropout whose mask is drawn once per sample and holds over all steps.

    .. math::
        y_{t, n} = m_n \odot x_{t, n}, \qquad m_n \sim \tfrac{1}{1 - p}\,\text{Bernoulli}(1 - p)

    A connection that is dropped stays dropped, so that the neuron behind it cannot average the noise away. In training
    mode the mask is the state: chunks of one sequence share it.

    Args:
        p: Probability that an element is set to zero, in [0, 1).

    Shape:
        - Input, output: :math:`(T, N, *)`.

    Raises:
        SnnferError: `p` is outside [0, 1).
        ShapeError: the input has fewer than two dimensions.
        StateError: the state does not fit the input.

    References:
        Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks",
        ICCV 2021; Lee et al., "Enabling Spike-Based Backpropagation ...", Frontiers in Neuroscience 2020.

    Examples:
        >>> y = TimeConstantDropout(0.5)(torch.ones(4, 2, 8))
        >>> torch.equal(y[0], y[3])
        True
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise SnnferError(f"dropout p = {p}", expected="a probability in [0, 1)")
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_with_state(x)[0]

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Output and the mask; the mask is None where nothing is dropped."""
        check_steps(x)
        if not self.training or self.p == 0:
            return x, None
        mask = state if state is not None else F.dropout(x.new_ones(x.shape[1:]), self.p)
        if mask.shape != x.shape[1:]:
            raise StateError(
                f"a dropout mask of shape {list(mask.shape)} with an input of shape {list(x.shape)}",
                expected=f"a mask of shape {list(x.shape[1:])}",
                cause="the state of another batch",
                fix="pass state=None to start from rest",
            )
        return x * mask, mask

    def extra_repr(self) -> str:
        return f"p={self.p}"


class VotingLayer(nn.Module):
    r"""Average groups of neighbouring neurons: each class is the mean firing of `votes` neurons.

    .. math::
        y_{t, k} = \frac{1}{votes} \sum_{i = 0}^{votes - 1} x_{t,\, k \cdot votes + i}

    Args:
        votes: Neurons per class.

    Shape:
        - Input: :math:`(T, N, K \cdot votes)`.
        - Output: :math:`(T, N, K)`.

    Raises:
        ShapeError: the number of neurons is no multiple of `votes`.

    References:
        Fang et al., ICCV 2021 ("voting layer"); Mastropasqua et al. use groups of 10.

    Examples:
        >>> VotingLayer(2)(torch.tensor([[[1.0, 0.0, 1.0, 1.0]]]))
        tensor([[[0.5000, 1.0000]]])
    """

    def __init__(self, votes: int = 10) -> None:
        super().__init__()
        check_positive(votes, name="votes", unit="neurons per class")
        self.votes = votes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] % self.votes:
            raise ShapeError(f"{x.shape[-1]} neurons vote", expected=f"a multiple of votes = {self.votes}")
        return x.unflatten(-1, (-1, self.votes)).mean(-1)  # [T, N, K]

    def extra_repr(self) -> str:
        return f"votes={self.votes}"
