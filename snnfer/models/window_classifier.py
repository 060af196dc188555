"""Classifiers that encode each window of a clip and read one window, or several through an LSTM."""

from typing import Any

import torch
from torch import nn

from snnfer._check import check_positive
from snnfer.errors import CheckpointError, StateError
from snnfer.models._encoder import Encoder
from snnfer.models._input import check_lengths, check_video, time_mean
from snnfer.models._steps import apply_to_steps


class WindowClassifier(nn.Module):
    r"""An encoder per window, an LSTM over the last `n_windows` of them (or none), and a head.

    Step `t` sees the windows :math:`\max(0, t - n + 1) \ldots t`, always from an LSTM at rest, so that its scores
    depend on these windows alone. The score of a clip is the mean over its steps that see `n` windows; a clip
    that is shorter gives its last step. Built by `evtransfer`, `evtransfer_lstm`, `est_resnet34` and `vit_b16`.

    Streaming keeps the features of the last ``n - 1`` windows, so that each window is encoded once. In evaluation mode
    encoder and LSTM work step by step, and any cut of a clip into chunks gives the same bits.
    In training mode all windows go through the encoder together; padded windows then count in the batch statistics of
    its normalisation, so train on windows without padding (`snnfer.datasets.WindowSamples`).

    Args:
        encoder: Network from ``[B, C, H, W]`` to ``[B, n_features]``, with `config` (among it `in_channels` and
            `size`) and `n_features`.
        classifier: Head from ``[N, n_features]`` to ``[N, n_classes]``.
        n_windows: Windows that the LSTM reads; 1 without LSTM.
        lstm_layers: Stacked LSTM layers, of `n_features` units each; 0 for none.

    Attributes:
        encoder: The encoder; everything else is the head.
        scores_windows: True: a window has scores of its own, logits of the classes, and one without events has none,
            because such windows are left out of training. Networks that are made of this one say the same.

    Shape:
        - Input: :math:`(T, N, C, H, W)`.
        - Output: :math:`(N, n_\text{classes})`.
    """

    config: dict[str, Any]
    scores_windows = True

    def __init__(self, encoder: Encoder, classifier: nn.Module, *, n_windows: int = 1, lstm_layers: int = 0) -> None:
        super().__init__()
        check_positive(n_windows, name="n_windows", unit="windows")
        features = encoder.n_features
        self.encoder = encoder
        self.lstm = nn.LSTM(features, features, num_layers=lstm_layers) if lstm_layers else None
        self.classifier = classifier
        self.n_windows = n_windows
        self._norm_frozen = False

    def forward(self, x: torch.Tensor, *, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of the input ``[T, N, C, H, W]``.

        Args:
            x: Windows ``[T, N, C, H, W]``, any dtype.
            lengths: Valid windows of each sample ``[N]``; all where None.
        """
        features = self.encode(x)
        ends = check_lengths(lengths, x)
        starts = ends.clamp(max=self.n_windows) - 1  # [N], the first step that counts
        first = int(starts.min()) if len(starts) else 0
        steps = self._scores(features, first)
        return time_mean(steps, ends - first, start=starts - first)

    def forward_steps(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of each step ``[T, N, n_classes]``; step `t` sees up to `n_windows` windows that end with it."""
        return self._scores(self.encode(x), 0)

    def forward_with_state(
        self, x: torch.Tensor, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of each step ``[T, N, n_classes]`` and the features of the last ``n_windows - 1`` windows.

        Args:
            x: The next windows ``[T, N, C, H, W]``.
            state: What the call before returned; None where the clip starts.

        Returns:
            The scores, and the state ``[at most n_windows - 1, N, n_features]``.

        Raises:
            StateError: the state belongs to another batch or model.
        """
        features = self.encode(x)
        seen = 0
        if state is not None:
            self._check_state(state, features)
            seen = len(state)
            features = torch.cat([state, features])
        return self._scores(features, seen), features[max(0, len(features) - self.n_windows + 1) :]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Features ``[T, N, n_features]`` of the windows ``[T, N, C, H, W]``."""
        config = self.encoder.config
        dtype = next(self.parameters()).dtype
        x = check_video(x, in_channels=config["in_channels"], size=config["size"], dtype=dtype)
        return apply_to_steps(self.encoder, x, training=self.encoder.training)

    def load_encoder(self, encoder: Encoder) -> None:
        """Copy the weights and statistics of `encoder`, such as ``encoder_from(generator)``, into the own encoder.

        Raises:
            CheckpointError: the encoder has another architecture, number of channels, size or width.
        """
        given, own = encoder.config, self.encoder.config
        if given != own:
            raise CheckpointError(
                f"an encoder with {_describe(given)}",
                expected=f"one with {_describe(own)}",
                cause="it was trained with other arguments than this classifier",
                fix="create the classifier with the arguments of the generator",
            )
        self.encoder.load_state_dict(encoder.state_dict())

    def freeze_encoder(self, *, freeze_norm: bool = True) -> None:
        """Exclude the weights of the encoder from training.

        Args:
            freeze_norm: Whether batch normalisation in the encoder also keeps its running statistics and uses them in
                training mode; if not, it uses and follows the statistics of each batch, as in the public code of
                evTransFER.
        """
        self.encoder.requires_grad_(False)
        if freeze_norm:
            self.freeze_norm()

    def freeze_norm(self) -> None:
        """Keep the running statistics of the encoder's batch normalisation, and use them in training mode."""
        self._norm_frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> "WindowClassifier":
        """Set training or evaluation mode; frozen batch normalisation stays in evaluation mode."""
        super().train(mode)
        if self._norm_frozen:
            for module in self.encoder.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def extra_repr(self) -> str:
        return f"n_windows={self.n_windows}"

    def _scores(self, features: torch.Tensor, first: int) -> torch.Tensor:
        """Scores of the steps from `first` on: ``[T, N, n_features]`` to ``[T - first, N, n_classes]``."""
        steps = range(first, len(features))
        return torch.stack([self._read(features[max(0, t - self.n_windows + 1) : t + 1]) for t in steps])

    def _read(self, windows: torch.Tensor) -> torch.Tensor:
        """Scores ``[N, n_classes]`` of up to `n_windows` feature vectors ``[k, N, n_features]``."""
        return self.classifier(windows[-1] if self.lstm is None else self.lstm(windows)[0][-1])

    def _check_state(self, state: Any, features: torch.Tensor) -> None:
        shape = [self.n_windows - 1, *features.shape[1:]]
        given = list(state.shape) if isinstance(state, torch.Tensor) else []
        if given[1:] != shape[1:] or given[0] > shape[0]:
            raise StateError(
                f"a state of shape {given}" if given else f"a state of {type(state).__name__}",
                expected=f"a state of shape {shape} or with fewer windows",
                cause="the state of another batch or another model",
                fix="pass state=None to start from rest",
            )


def scores_windows(model: nn.Module) -> bool:
    """Whether `model` is a classifier of windows, or was made from one: see `WindowClassifier`."""
    return bool(getattr(model, "scores_windows", False))


def _describe(config: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in config.items())
