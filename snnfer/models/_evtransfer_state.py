"""Weights under the names of the public evTransFER code."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from snnfer.errors import CheckpointError
from snnfer.models._state_dict import mismatches, plain_state
from snnfer.models.unet import UNetEncoder, UNetGenerator
from snnfer.models.window_classifier import WindowClassifier

IN_CLASSIFIER = "encoder.encoder_unet."
DECODER = re.compile(r"(d\d+|out_conv)\.")
HEAD = re.compile(r"(classifier|lstm)\.")


def load_authors_state(model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Copy weights saved by the public code of evTransFER into a network of snnfer.

    Accepted names, as the repositories ``event-based_reconstruction_pix2pix`` and
    ``event-based_facial_expression_recognition`` of uoh-rislab save them:

    - generator: ``e1`` .. ``e7`` with ``.conv`` and ``.bn`` (not ``e1``), ``bottleneck.0``, ``d1`` .. ``d7`` with
      ``.deconv`` and ``.bn``, ``out_conv``;
    - classifiers: the names of the generator behind ``encoder.encoder_unet.``, ``lstm``, and the fully connected layers
      ``classifier.1`` and ``.4`` (``classifier.0`` and ``.3`` with an LSTM). The unused decoder in them is left out;
    - each of them behind ``module.`` (saved from several GPUs), or inside ``{"state_dict": ...}``.

    Args:
        model: A `pix2pix` generator, an `evtransfer` or `evtransfer_lstm` classifier of 256 x 256 pixels, or an
            encoder, which takes its part of any of these files.
        state_dict: What ``torch.load(path, weights_only=True)`` gives.

    Raises:
        CheckpointError: the model is another one, or names or shapes do not fit; then the model is unchanged.

    Examples:
        >>> from snnfer.models import create_model, encoder_from, pix2pix
        >>> generator = pix2pix()
        >>> state = torch.load("epoch_0080/model_000080.pth", weights_only=True)  # doctest: +SKIP
        >>> load_authors_state(generator, state)  # doctest: +SKIP
        >>> create_model("evtransfer").load_encoder(encoder_from(generator))
    """
    state = plain_state(state_dict)
    names, ignored = _names(model, state)
    given = {key: value for key, value in state.items() if not ignored(key)}
    own = model.state_dict()
    problems = mismatches(names, own, given)
    if problems:
        raise CheckpointError(
            f"the weights do not fit this {type(model).__name__}: {'; '.join(problems)}",
            cause="weights of another architecture, number of classes or of LSTM layers",
            fix=_advice(model, state),
        )
    model.load_state_dict({key: given[names[key]] for key in own})


def _names(model: nn.Module, state: Mapping[str, torch.Tensor]) -> tuple[dict[str, str], Any]:
    """Authors' name of each tensor of `model`, and which other names of the file do not matter."""
    own = model.state_dict()
    if isinstance(model, UNetGenerator):
        return {key: _rename(key.removeprefix("encoder.")) for key in own}, lambda key: False
    if isinstance(model, UNetEncoder):
        prefix = IN_CLASSIFIER if any(key.startswith(IN_CLASSIFIER) for key in state) else ""
        unused = re.compile(f"{re.escape(prefix)}{DECODER.pattern}|{HEAD.pattern}")
        return {key: prefix + _rename(key) for key in own}, unused.match
    if isinstance(model, WindowClassifier) and isinstance(model.encoder, UNetEncoder):
        unused = re.compile(re.escape(IN_CLASSIFIER) + DECODER.pattern)
        shift = 0 if model.lstm is not None else 1  # without an LSTM their head begins with a Flatten
        return {key: _rename_in_classifier(key, shift) for key in own}, unused.match
    raise CheckpointError(
        f"a {type(model).__name__}",
        expected="a model made by 'pix2pix', 'evtransfer' or 'evtransfer_lstm', or an encoder",
    )


def _rename_in_classifier(key: str, shift: int) -> str:
    if key.startswith("encoder."):
        return IN_CLASSIFIER + _rename(key.removeprefix("encoder."))
    return re.sub(r"^classifier\.(\d+)", lambda match: f"classifier.{int(match[1]) + shift}", key)


def _rename(key: str) -> str:
    """Authors' name of a tensor of the encoder or of the decoder."""
    stage, *rest = key.split(".")
    if stage == "bottleneck":
        return ".".join(["bottleneck.0", *rest])
    if stage == "output":
        return ".".join(["out_conv", *rest])
    index, layer, name = rest
    letter, convolution = ("e", "conv") if stage == "blocks" else ("d", "deconv")
    return f"{letter}{int(index) + 1}.{convolution if layer == 'conv' else 'bn'}.{name}"


def _advice(model: nn.Module, state: Mapping[str, torch.Tensor]) -> str:
    if isinstance(model, WindowClassifier) and "e1.conv.weight" in state:
        return "this is a generator: load it into model.encoder"
    n_layers = sum(key.startswith("lstm.weight_ih_l") for key in state)
    n_own = model.lstm.num_layers if isinstance(model, WindowClassifier) and model.lstm is not None else 0
    if isinstance(model, WindowClassifier) and n_layers != n_own:
        return f"use evtransfer_lstm(lstm_layers={n_layers})" if n_layers else "use evtransfer(), which has no LSTM"
    return "create the model with the arguments that these weights were trained with"
