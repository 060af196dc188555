"""The module of a sigma-delta network, and its conversion with a report."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from snnfer.converters import ann_to_snn
from snnfer.converters.ann_to_snn import SigmaDeltaSNN
from snnfer.converters.loihi.sigma_delta import SigmaDeltaGraph, SigmaDeltaLayer
from snnfer.converters.loihi.sigma_delta_twin import run_sigma_delta
from snnfer.errors import ConfigError, ConversionError, ShapeError, SnnferError, StateError
from snnfer.models import create_model


def make_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 6, 4, stride=2, padding=1), nn.BatchNorm2d(6), nn.LeakyReLU(0.2),
        nn.Conv2d(6, 8, 4, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(32, 3),
    ).eval()  # fmt: skip


def make_layer(**changed) -> SigmaDeltaLayer:
    """Two inputs, two neurons; one bit of an accumulator is cut off."""
    facts = {
        "name": "fc", "kind": "dense", "weight": np.array([[2, 0], [4, -2]], np.int32), "bias": np.array([1, 0]),
        "threshold": 0, "state_exp": 1, "payload_scale": 2.0, "shape": (2,), "input_pairs": 0, "paired_output": False,
    }  # fmt: skip
    return SigmaDeltaLayer(**{**facts, **changed})


def test_by_pencil_over_three_steps():
    """Encoder round(3 x). Input (1, 0), (1, 2), (0.4, 2) is (3, 0), (3, 6), (1, 6): changes (3, 0), (0, 6), (-2, 0).

    Neuron 0: sigma 6, 6, 2; bias 1 << 1 = 2; activation 8, 8, 4; change 8, 0, -4; message 4, 0, -2; sum 4, 4, 2.
    Neuron 1: sigma 12, 0, -8; activation 12, 0, 0; change 12, -12, 0; message 6, -6, 0; sum 6, 0, 0.
    A unit of activation is 2 units of the sum.
    """
    snn = SigmaDeltaSNN.from_graph(SigmaDeltaGraph((make_layer(),), (2,), 3.0))
    x = torch.tensor([[[1.0, 0.0]], [[1.0, 2.0]], [[0.4, 2.0]]])  # [T, N, F]
    assert snn.forward_steps(x)[:, 0].tolist() == [[2.0, 3.0], [2.0, 0.0], [1.0, 0.0]]
    torch.testing.assert_close(snn(x), torch.tensor([[5 / 3, 1.0]]))  # the mean over the clip
    assert snn(x, lengths=torch.tensor([2])).tolist() == [[2.0, 1.5]]
    assert snn(x[0]).tolist() == [[2.0, 3.0]]  # images from rest
    assert snn(x[2]).tolist() == [[1.0, 0.0]]  # (1, 6): activations 2 + 2 and max(0, 4 - 12)


def test_a_threshold_keeps_what_it_does_not_send_for_later():
    """Threshold 3 << 1 = 6 on neuron 0, whose activation is 2 + 2 s for the summed input s = 1, 2, 3.

    Activation 4, 6, 8: change 4 is kept; 2 + 4 = 6 is sent as 3; change 2 is kept.
    """
    layer = make_layer(weight=np.array([[2, 0], [0, 0]], np.int32), threshold=3)
    snn = SigmaDeltaSNN.from_graph(SigmaDeltaGraph((layer,), (2,), 1.0))
    x = torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]], [[3.0, 0.0]]])
    assert snn.forward_steps(x)[:, 0, 0].tolist() == [0.0, 1.5, 1.5]


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1), (3, 1), (4,)])
def test_any_cut_into_chunks_gives_the_same_bits(cuts):
    x = torch.rand(4, 3, 2, 8, 8)
    snn, _ = ann_to_snn(make_network(), calibration=x, method="sigma_delta", input_shape=(2, 8, 8))
    whole, end = snn.forward_with_state(x)
    parts: list[torch.Tensor] = []
    state = ()
    for chunk in x.split(cuts):
        part, state = snn.forward_with_state(chunk, state)
        parts.append(part)
    assert torch.equal(torch.cat(parts), whole)
    for mine, theirs in zip(state, end, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    with pytest.raises(StateError, match="a batch of another size"):
        snn.forward_with_state(x[:, :2], end)
    with pytest.raises(ConfigError, match="free-running"):
        run_sigma_delta(snn.graph, x, mode="free_running", state=end)


def test_state_dict_and_config_build_the_same_network():
    x = torch.rand(2, 3, 2, 8, 8)
    snn, _ = ann_to_snn(make_network(), calibration=x, method="sigma_delta", input_shape=(2, 8, 8))
    again = SigmaDeltaSNN(**{key: value for key, value in snn.config.items() if key != "name"})
    again.load_state_dict(snn.state_dict())
    assert torch.equal(again(x), snn(x))
    assert {value.dtype for value in snn.state_dict().values()} == {torch.int16}
    assert torch.equal(snn.half()(x), again(x)), "integers stay as they are"


def test_report_of_images_and_of_clips():
    network, x = make_network(), torch.rand(3, 4, 2, 8, 8)
    labels = torch.arange(12) % 3
    images = x.flatten(0, 1)
    with torch.no_grad():
        wanted = network(images)
    snn, report = ann_to_snn(
        network, calibration=images, evaluation=images, labels=labels, method="sigma_delta", input_shape=(2, 8, 8)
    )
    found = snn(images)
    relative = float(torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted))
    assert relative < 0.05
    assert report.run.layers[-1].relative_l2 == pytest.approx(relative, rel=1e-3)
    assert report.ann_accuracy == pytest.approx(float((wanted.argmax(1) == labels).float().mean()))
    assert report.accuracy == pytest.approx(float((found.argmax(1) == labels).float().mean()))
    assert report.agreement == pytest.approx(float((found.argmax(1) == wanted.argmax(1)).float().mean()))
    assert (report.n_calibration, report.n_evaluation, report.separate_evaluation) == (12, 12, True)
    assert "12 images measured, other images than the calibration data" in report.table()
    assert report.to_dict()["method"] == "sigma_delta"

    still = x[:1].expand(3, -1, -1, -1, -1).contiguous()  # nothing moves: only the first image sends
    _, moving = ann_to_snn(network, calibration=x, evaluation=x, method="sigma_delta", input_shape=(2, 8, 8))
    _, resting = ann_to_snn(network, calibration=x, evaluation=still, method="sigma_delta", input_shape=(2, 8, 8))
    _, first = ann_to_snn(network, calibration=x, evaluation=x[0], method="sigma_delta", input_shape=(2, 8, 8))
    assert resting.messages == pytest.approx(first.messages / 3)
    assert moving.messages > resting.messages
    assert "in clips of 3" in moving.table()
    assert moving.accuracy is None


def test_maps_are_an_output_too():
    model = create_model("evtransfer", n_classes=3, size=(16, 16), width=2).eval()
    x = torch.rand(8, 3, 16, 16)
    encoder = model.get_submodule("encoder")
    snn, report = ann_to_snn(encoder, calibration=x, method="sigma_delta")
    with torch.no_grad():
        wanted = encoder(x)
    assert torch.linalg.norm(snn(x).flatten(1) - wanted) < 0.1 * torch.linalg.norm(wanted)
    assert report.agreement is None
    assert "same prediction" not in report.table()
    with pytest.raises(ShapeError, match="an encoder without its classifier"):
        ann_to_snn(encoder, calibration=x, labels=torch.zeros(8, dtype=torch.int64), method="sigma_delta")


class PlusOne(nn.Module):
    """A network whose forward pass is more than its layers say."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.fc(x)) * 2


@pytest.mark.parametrize(
    ("network", "match", "kind"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.GELU()), "GELU", ConversionError),
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.LSTM(3, 3)), "LSTM", ConversionError),
        (PlusOne(), "mul|differs", ConversionError),
    ],
)
def test_what_cannot_be_converted_is_refused(network, match, kind: type[SnnferError]):
    with pytest.raises(kind, match=match):
        ann_to_snn(network, calibration=torch.rand(8, 4), method="sigma_delta", input_shape=(4,))


def test_bad_arguments():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with pytest.raises(ShapeError, match="labels"):
        ann_to_snn(network, calibration=torch.rand(8, 4), labels=torch.zeros(7), method="sigma_delta")
    with pytest.raises(ShapeError, match="calibration"):
        ann_to_snn(network, calibration=torch.rand(8, 5), method="sigma_delta")
    snn, _ = ann_to_snn(network, calibration=torch.rand(8, 4), method="sigma_delta")
    with pytest.raises(ShapeError, match="the input"):
        snn(torch.rand(2, 5))
