"""Baselines on networks of timm: the path from events, the head, and pretrained weights that are out of reach."""

import subprocess
import sys

import pytest
import torch

from snnfer.errors import CheckpointError, ShapeError
from snnfer.models import create_model, list_models

EST = {"size": (32, 32), "sensor_size": (24, 40), "channels": (4, 4, 8, 8), "blocks": (1, 1, 1, 1)}
VIT = {"size": (16, 16), "patch_size": 8, "width": 16, "depth": 1, "heads": 2}


@pytest.fixture
def events():
    """Events of one sample ``[M, 4]``: x, y, t, p."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([40.0, 24.0, 33_000.0, 2.0])
    return (torch.rand(500, 4, generator=generator) * scale).floor()


def make_est(**kwargs):
    torch.manual_seed(0)
    model = create_model("est_resnet34", **{**EST, **kwargs})
    model(torch.rand(4, 4, 18, 32, 32))
    return model.eval()


class TestEvents:
    def test_the_centred_square_reaches_the_network(self, events):
        model = make_est()
        x = model.represent([[events]])
        voxels = model.representation([events])[0]  # [18, 24, 40]
        assert x.shape == (1, 1, 18, 32, 32)
        rows = [i * 24 // 32 for i in range(32)]
        expected = torch.stack([voxels[:, r][:, [8 + c for c in rows]] for r in rows], dim=1)
        torch.testing.assert_close(x[0, 0], expected)
        torch.testing.assert_close(model.forward_events([[events]]), model(x))

    def test_the_kernel_learns_with_the_rest(self, events):
        model = make_est(lstm=True).train()
        model.forward_events([[events, events[:100]]] * 3).square().sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
        assert all(parameter.grad.abs().sum() > 0 for parameter in model.representation.parameters())
        assert sum(parameter.numel() for parameter in model.representation.parameters()) == 1021

    def test_windows_hold_one_number_of_samples(self, events):
        with pytest.raises(ShapeError, match=r"windows of \[1, 2\] samples; expected one number"):
            make_est().forward_events([[events], [events, events]])
        with pytest.raises(ShapeError, match=r"windows of \[\] samples"):
            make_est().forward_events([])


@pytest.mark.parametrize(("name", "small"), [("est_resnet34", EST), ("vit_b16", VIT)])
class TestBaselines:
    def test_lstm_equals_torch_on_pooled_features(self, name, small):
        torch.manual_seed(0)
        model = create_model(name, **small, lstm=True).eval()
        config = model.config
        x = torch.rand(3, 2, config["in_channels"], *config["size"])
        features = torch.stack([model.encoder.network(image) for image in x])
        torch.testing.assert_close(model(x), model.classifier(model.lstm(features)[0][-1]))

    def test_a_frozen_encoder_keeps_its_weights(self, name, small):
        model = create_model(name, **small, lstm=True).train()
        model.freeze_encoder()
        model(torch.rand(3, 2, model.config["in_channels"], *model.config["size"])).sum().backward()
        assert all(parameter.grad is None for parameter in model.encoder.parameters())
        assert all(parameter.grad is not None for parameter in model.lstm.parameters())

    def test_encoders_can_be_exchanged(self, name, small):
        model, other = create_model(name, **small), create_model(name, **small)
        model.load_encoder(other.encoder)
        for key, value in model.encoder.state_dict().items():
            assert torch.equal(value, other.encoder.state_dict()[key])
        with pytest.raises(CheckpointError, match="an encoder with backbone = .*in_channels = 6"):
            model.load_encoder(create_model(name, **{**small, "in_channels": 6}).encoder)

    def test_pretrained_weights_out_of_reach_are_one_clear_error(self, name, small, monkeypatch, tmp_path):
        constants = pytest.importorskip("huggingface_hub.constants")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(CheckpointError, match=r"no pretrained weights for timm's '.*fix: pass pretrained=False"):
            create_model(name, **small, pretrained=True)


def test_refused_arguments():
    for kwargs in ({"channels": (4, 4)}, {"blocks": (1, 0, 1, 1)}):
        with pytest.raises(ShapeError, match="expected four numbers above 0 of each"):
            create_model("est_resnet34", **{**EST, **kwargs})
    with pytest.raises(ShapeError, match="in_channels = 9; expected twice the time bins"):
        create_model("est_resnet34", **{**EST, "in_channels": 9})
    with pytest.raises(ShapeError, match=r"size = \(20, 16\); expected multiples of patch_size = 8"):
        create_model("vit_b16", **{**VIT, "size": (20, 16)})
    with pytest.raises(ShapeError, match="width = 16 with heads = 3"):
        create_model("vit_b16", **{**VIT, "heads": 3})


def test_a_model_that_is_built_again_downloads_nothing(monkeypatch):
    timm = pytest.importorskip("timm")
    build = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **kwargs: build(name, **kwargs))
    model = create_model("vit_b16", **VIT, pretrained=True)
    assert model.config["pretrained"] is False


def test_without_timm_the_extra_is_named():
    script = "import sys; sys.modules['timm'] = None\nfrom snnfer.models import create_model\ncreate_model('vit_b16')"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "'timm' is not installed" in result.stderr
    assert "fix: pip install 'snnfer[baselines]'" in result.stderr
    assert "vit_b16" in list_models()
