"""Weights under the names of the public code of POSTER++ and POSTER-Var."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnfer.errors import CheckpointError
from snnfer.models._state_dict import mismatches, plain_state
from snnfer.models._weights_file import read_weights
from snnfer.models.ir50 import IR50
from snnfer.models.mobilefacenet import MobileFaceNet

IN_POSTER = {MobileFaceNet: "face_landback.", IR50: "ir_back."}
PART = {MobileFaceNet: "landmarks", IR50: "backbone"}
UNUSED = re.compile(  # modules that the public code builds, and whose output it does not use
    r"((face_landback\.|ir_back\.)?output_layer|(ir_back\.)?body4"
    r"|VIT\.(patch_embed|eca_block|CON1|IRLinear1|IRLinear2|head|head_vae|blocks\.\d+\.conv))\."
    r"|attn[123]\.relative_position_index$"  # follows from the size
)
COUNTER = ".num_batches_tracked"
LANDMARK_STAGES = {1: ("conv_23", "conv_3"), 2: ("conv_34", "conv_4"), 3: ("conv_45", "conv_5")}
UNIT = {"0": "conv", "1": "bn", "2": "prelu"}
UNIT_OF_BLOCK = {"expand": "conv", "depthwise": "conv_dw", "project": "project"}
EMBEDDINGS = ("embed_q", "embed_k", "embed_v")
IN_FUSION = {
    "norm": "window{}.norm",
    "reduce": "conv{}",
    "attention.key_value": "attn{}.qkv",
    "attention.project": "attn{}.proj",
    "attention.bias_table": "attn{}.relative_position_bias_table",
    "mlp_norm": "ffn{}.norm",
    "mlp.0": "ffn{}.mlp.fc1",
    "mlp.2": "ffn{}.mlp.fc2",
    "scale1": "ffn{}.gamma1",
    "scale2": "ffn{}.gamma2",
}
ELSEWHERE = {
    "landmark_conv": "last_face_conv",
    "level_embeddings": "level_embeds",
    "fusion_norm": "fusion_norm",
    "transformer.class_token": "VIT.cls_token",
    "transformer.positions": "VIT.pos_embed",
    "transformer.norm": "VIT.norm",
    "excitation.gate.0": "VIT.se_block.linear1",
    "excitation.gate.2": "VIT.se_block.linear2",
    "head.mu": "VIT.head_vae.fc_mu",
    "head.log_variance": "VIT.head_vae.fc_logvar",
    "head": "VIT.head.linear",
}
IN_BLOCK = {
    "attention_norm": "norm1",
    "query_key_value": "attn.qkv",
    "project": "attn.proj",
    "mlp_norm": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}


def load_authors_state(model: nn.Module, weights: Mapping[str, Any] | str | Path) -> None:
    """Copy weights saved by the public code of POSTER++ or POSTER-Var into a network of snnfer.

    Accepted are

    - checkpoints of POSTER++ (repository ``Talented-Q/POSTER_V2``) for `poster_v2`, and of POSTER-Var
      (``lg2578/poster-var``, 761 tensors) for `poster_var`;
    - ``ir50.pth`` and ``mobilefacenet_model_best.pth.tar``, from which their training starts, for ``model.backbone``
      and ``model.landmarks``; these two also take their part of a whole checkpoint;
    - each of them behind ``module.`` (saved from several GPUs), or under ``state_dict`` or ``model`` of a dictionary.

    Left out are the parts of the public networks without effect on their result: the heads ``output_layer`` of both
    branches (and ``body4``); in ``VIT`` ``patch_embed``, ``eca_block``, ``CON1``, ``IRLinear1``, ``IRLinear2``, the
    ``conv`` of each block, and the one of ``head`` and ``head_vae`` that the model does not have;
    ``relative_position_index``, which follows from the size; ``level_embeds`` that are zero, for a model without level
    embeddings. A file that lacks counters ``num_batches_tracked`` (of old versions of torch) leaves them as they are.

    Args:
        model: Made by `poster_v2` or `poster_var`, or its ``backbone`` or ``landmarks``.
        weights: A file of ``torch.save``, of which only the tensors are read, or what ``torch.load`` gave.

    Raises:
        CheckpointError: the model is another one, the file cannot be read, or names or shapes do not fit; then the
            model is unchanged.

    Examples:
        >>> from snnfer.models import create_model
        >>> model = create_model("poster_v2")
        >>> load_authors_state(model.backbone, "ir50.pth")  # doctest: +SKIP
        >>> load_authors_state(model.landmarks, "mobilefacenet_model_best.pth.tar")  # doctest: +SKIP
        >>> load_authors_state(model, "raf-db-model_best.pth")  # doctest: +SKIP
    """
    rename = _renaming(model)
    state = _tensors(read_weights(weights) if isinstance(weights, str | Path) else weights)
    prefix = IN_POSTER.get(type(model), "")
    if prefix and any(key.startswith(prefix) for key in state):
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    own = model.state_dict()
    names = {key: rename(key) for key in own}
    names = {key: name for key, name in names.items() if name in state or not name.endswith(COUNTER)}
    used = set(names.values())
    given = {key: value for key, value in state.items() if key in used or not _without_effect(key, value)}
    problems = mismatches(names, {key: own[key] for key in names}, given)
    if problems:
        raise CheckpointError(
            f"the weights do not fit this {type(model).__name__}: {'; '.join(problems)}",
            cause="weights of another architecture or number of classes",
            fix=_advice(model, state),
        )
    model.load_state_dict({**own, **{key: given[name] for key, name in names.items()}})


def _tensors(weights: Any) -> dict[str, torch.Tensor]:
    inner = weights.get("model") if isinstance(weights, Mapping) else None
    return plain_state(inner if isinstance(inner, Mapping) else weights)


def _without_effect(key: str, value: torch.Tensor) -> bool:
    return bool(UNUSED.match(key)) or (key == "level_embeds" and not value.any())


def _renaming(model: nn.Module) -> Any:
    """The function from names of `model` to those of the authors."""
    if isinstance(model, MobileFaceNet):
        return _rename_landmarks
    if isinstance(model, IR50):
        return _rename_backbone
    if not isinstance(getattr(model, "backbone", None), IR50):
        raise CheckpointError(
            f"a {type(model).__name__}",
            expected="a model made by 'poster_v2' or 'poster_var', or its backbone or landmarks",
        )
    return _rename_variational if _is_variational(model) else _rename


def _is_variational(model: nn.Module) -> bool:
    return isinstance(model.fusion_norm, nn.LayerNorm)


def _rename_variational(key: str) -> str:
    return _rename(key).replace("embed_v.proj.", "embed_v.0.")


def _rename(key: str) -> str:
    """Authors' name of a tensor of a whole network."""
    part, _, rest = key.partition(".")
    if part == "landmarks":
        return IN_POSTER[MobileFaceNet] + _rename_landmarks(rest)
    if part == "backbone":
        return IN_POSTER[IR50] + _rename_backbone(rest)
    if part == "fusions":
        level, _, rest = rest.partition(".")
        return _look_up(IN_FUSION, rest).format(int(level) + 1)
    if part == "embeddings":
        level, layer, tensor = rest.split(".")
        return f"{EMBEDDINGS[int(level)]}.{'proj' if level == '2' else layer}.{tensor}"
    if key.startswith("transformer.blocks."):
        _, _, block, rest = key.split(".", 3)
        return f"VIT.blocks.{block}.{_look_up(IN_BLOCK, rest)}"
    return _look_up(ELSEWHERE, key)


def _look_up(names: Mapping[str, str], key: str) -> str:
    """`key` with its start replaced by the first entry of `names` that it begins with."""
    start = next(name for name in names if key == name or key.startswith(f"{name}."))
    return names[start] + key.removeprefix(start)


def _rename_backbone(key: str) -> str:
    part, _, rest = key.partition(".")
    if part == "stem":
        return f"input_layer.{rest}"
    body, block, path, rest = rest.split(".", 3)
    return f"body{int(body) + 1}.{block}.{'res_layer' if path == 'residual' else 'shortcut_layer'}.{rest}"


def _rename_landmarks(key: str) -> str:
    part, *rest, layer, tensor = key.split(".")
    last = f"{UNIT[layer]}.{tensor}"
    if part == "output":
        return f"conv_6_sep.{last}"
    if part == "stem":
        return f"{'conv1' if rest == ['0'] else 'conv2_dw'}.{last}"
    block, unit = rest
    strided, residual = LANDMARK_STAGES[int(part.removeprefix("level"))]
    stage = strided if block == "0" else f"{residual}.model.{int(block) - 1}"
    return f"{stage}.{UNIT_OF_BLOCK[unit]}.{last}"


def _advice(model: nn.Module, state: Mapping[str, torch.Tensor]) -> str:
    parts = {"conv2_dw.conv.weight": MobileFaceNet, "input_layer.0.weight": IR50}
    part = next((kind for key, kind in parts.items() if key in state), None)
    if part is not None and not isinstance(model, part):
        return f"these weights are those of one branch: load them into model.{PART[part]}"
    if type(model) in PART or "VIT.cls_token" not in state:
        return "create the model with the sizes that these weights were trained with"
    if ("fusion_norm.weight" in state) != _is_variational(model):
        return f"create_model('{'poster_v2' if _is_variational(model) else 'poster_var'}')"
    if "level_embeds" in state and model.level_embeddings is None and state["level_embeds"].any():
        return "create_model('poster_var', level_embeddings=True)"
    n_classes = len(state["VIT.head.linear.weight"]) if "VIT.head.linear.weight" in state else "..."
    return f"create_model(..., n_classes={n_classes}), and the sizes that these weights were trained with"
