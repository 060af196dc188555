"""Weights under the names of the public evTransFER code, with a network of those names written for the test."""

import copy

import pytest
import torch
from torch import nn

from snnfer.errors import CheckpointError
from snnfer.models import create_model
from snnfer.models.evtransfer import load_authors_state

WIDTHS = (2, 4, 8, 16, 16, 16, 16)  # at 256 x 256 and width 2
SMALL = {"width": 2}


class Named(nn.Module):
    """Modules by name, with no forward of their own."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def named_generator():
    stages = {}
    inputs = (3, *WIDTHS)
    for i, width in enumerate(WIDTHS):
        norm = {"bn": nn.BatchNorm2d(width)} if i else {}
        stages[f"e{i + 1}"] = Named(conv=nn.Conv2d(inputs[i], width, 4, 2, 1), **norm)
    stages["bottleneck"] = nn.Sequential(nn.Conv2d(16, 16, 4, 2, 1), nn.ReLU())
    inputs = (16, *(2 * width for width in WIDTHS[::-1]))
    for i, width in enumerate(WIDTHS[::-1]):
        deconv = nn.ConvTranspose2d(inputs[i], width, 4, 2, 1)
        stages[f"d{i + 1}"] = Named(deconv=deconv, bn=nn.BatchNorm2d(width))
    stages["out_conv"] = nn.ConvTranspose2d(inputs[-1], 3, 4, 2, 1)
    network = Named(**stages)
    for module in network.modules():  # every tensor another one than a new model has
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_mean, module.running_var):
                nn.init.uniform_(tensor.data, 0.5, 1.5)
    return network


def named_classifier(n_lstm_layers=0):
    head = (nn.Linear(16, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 7))
    encoder = Named(encoder_unet=named_generator())
    if not n_lstm_layers:
        return Named(encoder=encoder, classifier=nn.Sequential(nn.Flatten(), *head))
    lstm = nn.LSTM(16, 16, num_layers=n_lstm_layers, batch_first=True)
    return Named(encoder=encoder, lstm=lstm, classifier=nn.Sequential(*head))


def run_generator(network, x):
    """Forward pass of the named generator, and the bottleneck."""
    skips = []
    for i in range(7):
        block = getattr(network, f"e{i + 1}")
        x = block.conv(x)
        x = nn.functional.leaky_relu(block.bn(x) if i else x, 0.2)
        skips.append(x)
    x = bottleneck = network.bottleneck(x)
    for i, skip in enumerate(skips[::-1]):
        block = getattr(network, f"d{i + 1}")
        x = torch.cat([block.bn(block.deconv(x)), skip], dim=1).relu()
    return network.out_conv(x).tanh(), bottleneck.flatten(1)


@pytest.fixture
def image():
    return torch.rand(1, 2, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_generator(image):
    source, model = named_generator().eval(), create_model("pix2pix", **SMALL).eval()
    load_authors_state(model, source.state_dict())
    torch.testing.assert_close(model(image)[0], run_generator(source, image[0])[0])


@pytest.mark.parametrize("wrap", ["plain", "module", "state_dict"])
def test_encoder_from_either_kind_of_file(image, wrap):
    for source in (named_generator().eval(), named_classifier().eval(), named_classifier(3).eval()):
        state = source.state_dict()
        if wrap == "module":
            state = {f"module.{key}": value for key, value in state.items()}
        if wrap == "state_dict":
            state = {"state_dict": state}
        encoder = create_model("evtransfer", **SMALL).eval().encoder
        load_authors_state(encoder, state)
        generator = source.encoder.encoder_unet if hasattr(source, "encoder") else source
        torch.testing.assert_close(encoder(image[0]), run_generator(generator, image[0])[1])


def test_classifier_without_lstm(image):
    source, model = named_classifier().eval(), create_model("evtransfer", **SMALL).eval()
    load_authors_state(model, source.state_dict())
    features = run_generator(source.encoder.encoder_unet, image[0])[1]
    torch.testing.assert_close(model(image), source.classifier(features))


@pytest.mark.parametrize("n_layers", [1, 3])
def test_classifier_with_lstm(image, n_layers):
    source = named_classifier(n_layers).eval()
    model = create_model("evtransfer_lstm", **SMALL, lstm_layers=n_layers).eval()
    load_authors_state(model, source.state_dict())
    images = torch.cat([image, image.flip(1), -image])
    features = torch.stack([run_generator(source.encoder.encoder_unet, x)[1] for x in images], dim=1)
    torch.testing.assert_close(model(images), source.classifier(source.lstm(features)[0][:, -1]))


def without(state, start):
    return {key: value for key, value in state.items() if not key.startswith(start)}


@pytest.mark.parametrize(
    ("name", "kwargs", "make_state", "message"),
    [
        ("pix2pix", {}, lambda: without(named_generator().state_dict(), "e7.bn.w"), r"1 missing \(e7\.bn\.weight\)"),
        ("pix2pix", {}, lambda: named_generator().state_dict() | {"e8.w": torch.ones(1)}, r"1 unexpected \(e8\.w\)"),
        ("pix2pix", {"width": 4}, lambda: named_generator().state_dict(), r"e1\.conv\.weight \[2, 3, 4, 4\] instead"),
        (
            "pix2pix",
            {"size": (64, 64)},
            lambda: named_generator().state_dict(),
            r"unexpected \(e6\.conv.* more\)",
        ),
        ("evtransfer", {}, lambda: named_generator().state_dict(), "a generator: load it into model.encoder"),
        ("evtransfer", {}, lambda: named_classifier(3).state_dict(), r"use evtransfer_lstm\(lstm_layers=3\)"),
        ("evtransfer", {"n_classes": 8}, lambda: named_classifier().state_dict(), r"\[7, 256\] instead of \[8, 256\]"),
        ("evtransfer_lstm", {}, lambda: named_classifier(1).state_dict(), r"evtransfer_lstm\(lstm_layers=1\)"),
        ("evtransfer_lstm", {}, lambda: named_classifier().state_dict(), r"use evtransfer\(\), which has no LSTM"),
        ("pix2pix", {}, lambda: [1], "the weights are a list; expected a dictionary"),
        ("pix2pix", {}, lambda: {"epoch": 3}, "the weights hold other things than tensors"),
        ("au_snn", {}, lambda: {}, "a SpikingClassifier; expected a model made by 'pix2pix'"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_changed(name, kwargs, make_state, message):
    small = {"size": (16, 16), "channels": 2, "hidden": 4} if name == "au_snn" else SMALL
    model = create_model(name, **{**small, **kwargs})
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointError, match=message):
        load_authors_state(model, make_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
