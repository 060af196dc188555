"""Spiking-FER against spikingjelly's SEW-ResNet-18 with the same weights, and its read-out against sums by hand."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from snnfer.errors import ShapeError
from snnfer.models.spiking_fer import spiking_fer
from snnfer.models.spiking_fer_ann import spiking_fer_ann
from snnfer.neurons import observe


@pytest.fixture(scope="module")
def theirs():
    """SEW-ResNet-18 with the read-out of Spiking-FER, in float64; every weight random, so that all neurons fire."""
    sew_resnet = pytest.importorskip("spikingjelly.activation_based.model.sew_resnet", exc_type=ImportError)
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    torch.manual_seed(0)
    network = sew_resnet.sew_resnet18(
        cnf="ADD", spiking_neuron=neuron.IFNode, surrogate_function=surrogate.ATan(), detach_reset=True
    )
    network.conv1 = layer.Conv2d(2, 64, 7, stride=2, padding=3, bias=False)
    membrane = neuron.IFNode(v_threshold=math.inf, detach_reset=True, surrogate_function=surrogate.ATan())
    membrane.store_v_seq = True
    network.fc = nn.Sequential(layer.Linear(512, 512), membrane)
    network.classifier = nn.Linear(512, 6, bias=False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, 0.1, 0.7)
    functional.set_step_mode(network, "m")
    return network.double()


def our_name(name):
    """Our parameter or buffer for one of spikingjelly's network."""
    parts = name.split(".")
    if parts[0] in ("conv1", "bn1"):
        return f"layers.stem.{'conv' if parts[0] == 'conv1' else 'norm'}.{parts[1]}"
    if parts[0] == "fc":
        return f"layers.read_out.linear.{parts[2]}"
    if parts[0] == "classifier":
        return "layers.read_out.classifier.weight"
    stage, block, part = f"layers.stage{parts[0][-1]}", parts[1], parts[2]
    if part == "downsample":
        return f"{stage}.{block}.shortcut.{('conv', 'norm')[int(parts[3])]}.{parts[4]}"
    return f"{stage}.{block}.conv{part[-1]}.{'conv' if part.startswith('conv') else 'norm'}.{parts[3]}"


@pytest.mark.parametrize("training", [True, False])
def test_scores_and_gradients_equal_spikingjelly(theirs, training):
    from spikingjelly.activation_based import functional

    model: Any = spiking_fer(size=(32, 32), dropout=0.0).double()
    model.load_state_dict({our_name(name): value for name, value in theirs.state_dict().items()})
    x = torch.randint(0, 2, (4, 2, 2, 32, 32), generator=torch.Generator().manual_seed(1)).double()
    theirs.train(training)
    model.train(training)
    functional.reset_net(theirs)
    theirs(x)
    expected = theirs.classifier(theirs.fc[1].v_seq)  # [T, N, K]
    rates = {}
    with observe(model, lambda name, neuron, x, y, state: rates.setdefault(name, []).append(float(y.detach().mean()))):
        steps = model.forward_steps(x)
    torch.testing.assert_close(steps, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model(x, lengths=torch.tensor([4, 2])), expected[[3, 1], [0, 1]], rtol=1e-9, atol=1e-9)
    assert min(sum(rate) for name, rate in rates.items() if "membrane" not in name) > 0.005
    theirs.zero_grad()
    expected[-1].square().sum().backward()
    model.zero_grad()
    steps[-1].square().sum().backward()
    ours = dict(model.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours[our_name(name)].grad, parameter.grad, rtol=1e-7, atol=1e-9)


def small(build: Any = spiking_fer, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return build(**{"size": (16, 16), "width": 4, "blocks": (1, 1), **kwargs})


def test_residual_branches_start_silent():
    names = [name for name, weight in small().named_parameters() if name.endswith("norm.weight") and not weight.any()]
    assert names == ["layers.stage1.0.conv2.norm.weight", "layers.stage2.0.conv2.norm.weight"]


def test_scores_are_sums_over_the_steps():
    model = small().eval()
    features = []
    model.layers.mean.register_forward_hook(lambda module, inputs, output: features.append(output[0]))
    x = 5 * torch.rand(5, 3, 2, 16, 16)
    scores = model.forward_steps(x)
    linear, classifier = model.layers.read_out.linear, model.layers.read_out.classifier
    for t in range(5):
        total = sum(linear(feature) for feature in features[: t + 1])
        torch.testing.assert_close(scores[t], classifier(total))


def test_the_twin_sees_every_step_as_its_own_channels():
    model = small(spiking_fer_ann, n_steps=3).eval()
    x = torch.rand(3, 2, 2, 16, 16)
    seen = []
    model.features.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(x, lengths=torch.tensor([3, 2]))
    for t in range(3):
        for c in range(2):
            assert torch.equal(seen[0][0, 2 * t + c], x[t, 0, c])
    assert not seen[0][1, 4:].any()  # after the two valid steps
    assert torch.equal(seen[0][1, :4], x[:2, 1].flatten(0, 1))


def test_the_twin_is_timms_resnet18_on_all_channels():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model("resnet18", in_chans=6, num_classes=0)
    for norm in (module for module in theirs.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    model: Any = spiking_fer_ann(n_steps=3, size=(32, 32))
    model.features.load_state_dict(dict(zip(model.features.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.rand(3, 2, 2, 32, 32)
    expected = theirs.train()(torch.cat([x[0], x[1], x[2]], dim=1)) @ model.classifier.weight.T
    torch.testing.assert_close(model.train()(x), expected, rtol=1e-4, atol=1e-5)


def test_another_number_of_steps_is_refused_by_the_twin():
    with pytest.raises(
        ShapeError, match=r"the input has 5 time steps .*expected 6, .*create_model\(\.\.\., n_steps=5\)"
    ):
        small(spiking_fer_ann)(torch.rand(5, 1, 2, 16, 16))


@pytest.mark.parametrize("build", [spiking_fer, spiking_fer_ann])
@pytest.mark.parametrize("wrong", [{"width": 0}, {"blocks": (1, 0)}, {"blocks": ()}, {"n_steps": 0}])
def test_impossible_arguments_are_refused(build, wrong):
    with pytest.raises(ShapeError, match=f"{next(iter(wrong))} = .*expected numbers above 0"):
        small(build, **wrong)
