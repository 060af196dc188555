"""au_snn in the modules of spikingjelly and snnTorch, whole or with parts taken out."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from snnfer.models import create_model
from snnfer.neurons import PLIF


def settled(size: int, n_steps: int) -> tuple[nn.Module, torch.Tensor]:
    """An au_snn with statistics and time constants of its own, and clips of random counts."""
    torch.manual_seed(0)
    model = create_model("au_snn", size=(size, size), channels=8, hidden=64)
    x = torch.poisson(torch.full((n_steps, 2, 2, size, size), 0.3))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, PLIF):
                module.w.add_(0.4 * torch.randn(()))
            if isinstance(module, nn.BatchNorm2d):
                module.bias.uniform_(-0.3, 0.3)
                module.momentum = 1.0
            if isinstance(module, nn.Linear):
                module.weight.mul_(4)
        model.train()(x)
    return model.eval(), x


def parts_of(model: Any, without: set[str]) -> Iterator[tuple[str, Any]]:
    """The layers of au_snn as torch modules of no library, and neurons as their time constants."""
    for block in (model.layers.conv1, model.layers.conv2):
        conv = nn.Conv2d(block.conv.in_channels, block.conv.out_channels, 3, padding=1, bias=False)
        conv.weight.data = block.conv.weight.data.clone()
        norm = nn.BatchNorm2d(block.norm.num_features).eval()
        norm.load_state_dict(block.norm.state_dict())
        if "batch normalisation" in without:
            fused = fuse_conv_bn_eval(conv.eval(), norm)
            if "biases" in without:
                fused.bias = None
            yield "weights", fused
        else:
            yield "weights", conv
            yield "norm", norm
        yield "neurons", block.neuron
        if "pooling" not in without:
            yield "pool", nn.AvgPool2d(2, 2) if "max pooling" in without else nn.MaxPool2d(2, 2)
    yield "flatten", nn.Flatten()
    for block in (model.layers.fc1, model.layers.fc2):
        if "dropout" not in without:
            yield "dropout", nn.Dropout(0.2)
        n_in = block.linear.in_features * (16 if block is model.layers.fc1 and "pooling" in without else 1)
        linear = nn.Linear(n_in, block.linear.out_features, bias="biases" not in without)
        linear.weight.data = block.linear.weight.data.repeat(1, n_in // block.linear.in_features)
        if linear.bias is not None:
            linear.bias.data = block.linear.bias.data.clone()
        yield "weights", linear
        yield "neurons", block.neuron
    if "voting" not in without:
        yield "vote", 10


def in_spikingjelly(model: nn.Module, without: set[str]) -> nn.Sequential:
    """The network of spikingjelly's modules, in single-step mode."""
    from spikingjelly.activation_based import layer, neuron

    layers: list[nn.Module] = []
    for kind, part in parts_of(model, without):
        if kind == "neurons" and "learned time constants" in without:
            layers.append(neuron.LIFNode(tau=part.tau, decay_input=False, v_threshold=1.0, v_reset=0.0))
        elif kind == "neurons":
            plif = neuron.ParametricLIFNode(init_tau=2.0, decay_input=False, v_threshold=1.0, v_reset=0.0)
            plif.w.data = part.w.data.clone()
            layers.append(plif)
        else:
            layers.append(layer.VotingLayer(part) if kind == "vote" else _of_layer(layer, part))
    return nn.Sequential(*layers).eval()


def _of_layer(layer: Any, part: nn.Module) -> nn.Module:
    """spikingjelly's own class for a layer of torch, with the same contents."""
    if isinstance(part, nn.Dropout):
        return layer.Dropout(part.p)
    part.__class__ = getattr(layer, type(part).__name__)
    part._step_mode = "s"  # what their constructors set
    return part


def in_snntorch(model: Any, without: set[str]) -> nn.Sequential:
    """The network of snnTorch's neurons and torch's layers; snnTorch has no voting layer.

    Every neuron has a decay and a threshold of its own, because the exporter cannot type files with shared ones.
    """
    import snntorch

    layers: list[nn.Module] = []
    x = torch.zeros(1, model.in_channels, *model.size)
    for kind, part in parts_of(model, {*without, "voting"}):
        if kind == "neurons":
            beta, threshold = torch.full(x.shape[1:], 1 - 1 / part.tau), torch.ones(x.shape[1:])
            part = snntorch.Leaky(beta, threshold, init_hidden=True, reset_mechanism="zero", reset_delay=False)
        else:
            x = part.eval()(x)
        layers.append(part)
    return nn.Sequential(*layers).eval()


def steps(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Outputs ``[T, N, F]`` of a network that keeps its state."""
    with torch.inference_mode():
        return torch.stack([network(frame) for frame in x])
