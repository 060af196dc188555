"""Fixtures of the tests of commands."""

import dataclasses

import pytest
import torch

from snnfer import create_model
from snnfer.datasets import ClipInput
from snnfer.training.checkpoint import TrainedModel


@pytest.fixture(scope="session")
def make_trained():
    """Builds a small spiking network for the toy manifest, whose neurons fire, as if trained on anna and ben."""

    def make(**changed):
        torch.manual_seed(0)
        model = create_model("au_snn", n_classes=3, size=(16, 16), channels=4, hidden=8, votes=2).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(3)
        trained = TrainedModel(
            model=model,
            input=ClipInput(window_us=30_000, n_steps=8, size=(16, 16), representation="binary_frames"),
            class_names=("AU2", "AU12", "AU45"),
            mean=(0.0, 0.0),
            std=(1.0, 1.0),
            training={"data": "toy", "train_subjects": ["anna", "ben"], "validation_subjects": [], "crop": "none"},
        )
        return dataclasses.replace(trained, **changed)

    return make
