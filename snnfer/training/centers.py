"""Class centres of embeddings, which learn beside the network."""

from collections.abc import Callable

import torch

from snnfer.training.config import TrainConfig
from snnfer.training.losses import center_loss, island_loss


class CenterBank(torch.nn.Module):
    r"""One centre per class, moved by plain gradient descent on the centre and island losses.

    .. math:: c \leftarrow c - \alpha\, \nabla_c (\lambda_1 L_C + \lambda_2 L_I)

    The network is trained on :math:`L_C` with the centres held still; :math:`L_I` moves the centres alone. Centres are
    kept in the checkpoints of training and in no model folder.

    Args:
        n_classes: Number of centres K.
        size: Values of an embedding d.
        config: Recipe: `center_weight` is :math:`\lambda_1`, `island_weight` :math:`\lambda_2`,
            `center_learning_rate` :math:`\alpha`; with `center_rescale` the gradient is divided by :math:`\lambda_1`.
        seed: Of the first centres, drawn from N(0, 1).

    Shape:
        - Embeddings: ``[N, d]``; labels: ``[N]``.

    References:
        Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, section 3.2
        (their code divides by :math:`\lambda_1`); Cai et al., "Island Loss for Learning Discriminative Features in
        Facial Expression Recognition", FG 2018, eq. (4).
    """

    positions: torch.Tensor

    def __init__(self, n_classes: int, size: int, *, config: TrainConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("positions", torch.randn(n_classes, size, generator=generator))
        self._gradient = torch.zeros(())

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weighted centre loss and weighted island loss of a batch."""
        return self._losses(x, labels, self.positions)

    def collect(self, x: torch.Tensor, labels: torch.Tensor, *, share: float = 1.0) -> None:
        """Add the gradient that a batch gives the centres, times its share of all samples of the step."""
        with torch.enable_grad():
            positions = self.positions.detach().requires_grad_()
            loss = torch.stack(self._losses(x.detach(), labels, positions)).sum()
            gradient = torch.autograd.grad(loss, positions)[0] * share
        self._gradient = gradient + self._gradient.to(gradient.device)

    def step(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Move the centres by the gradients collected since the last step.

        Args:
            reduce: Mean of a tensor over the processes that train together.
        """
        scale = 1 / self.config.center_weight if self.config.center_rescale else 1.0
        self.positions -= self.config.center_learning_rate * scale * reduce(self._gradient)
        self._gradient = torch.zeros(())

    def _losses(
        self, x: torch.Tensor, labels: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        center = self.config.center_weight * center_loss(x.float(), labels, positions)
        return center, self.config.island_weight * island_loss(positions)
