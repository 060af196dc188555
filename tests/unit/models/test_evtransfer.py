"""pix2pix, PatchGAN and the evTransFER classifiers against functional calls and hand-written loops."""

import copy

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from snnfer.errors import CheckpointError, ConfigError, ShapeError, SnnferError
from snnfer.models import PatchDiscriminator, UNetEncoder, create_model, encoder_from

SMALL = {"size": (32, 32), "width": 4}


def make_model(name, **kwargs):
    """A model in evaluation mode whose normalisation layers have seen data."""
    torch.manual_seed(0)
    model = create_model(name, **{**SMALL, **kwargs})
    model(make_input(16))
    return model.eval()


def make_input(n_steps, n_samples=2, side=32):
    return torch.rand(n_steps, n_samples, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def normalise(x, state, name):
    names = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(state[f"{name}.{key}"] for key in names))


def functional_encoder(x, state):
    """Skips and bottleneck by functional calls."""
    skips = []
    for i in range(4):  # 32 -> 16 -> 8 -> 4 -> 2
        x = F.conv2d(x, state[f"blocks.{i}.conv.weight"], state[f"blocks.{i}.conv.bias"], stride=2, padding=1)
        if i > 0:
            x = normalise(x, state, f"blocks.{i}.norm")
        x = torch.where(x > 0, x, 0.2 * x)
        skips.append(x)
    return F.conv2d(x, state["bottleneck.weight"], state["bottleneck.bias"], stride=2, padding=1).clamp(min=0), skips


def test_golden_sizes():
    with torch.device("meta"):
        model, discriminator = create_model("evtransfer_lstm"), PatchDiscriminator()
        with FlopCounterMode(display=False) as counter:
            create_model("evtransfer").eval().forward_steps(torch.rand(1, 1, 3, 256, 256))
    assert sum(p.numel() for p in model.encoder.parameters()) == 19_540_672
    assert sum(p.numel() for p in model.lstm.parameters()) == 6_303_744
    assert sum(p.numel() for p in discriminator.parameters()) == 6_965_441
    assert counter.get_total_flops() // 2 == pytest.approx(2.018e9, rel=5e-4)  # multiply-accumulates of one image


def test_names_in_the_state_dict_are_a_format():
    model = create_model("evtransfer_lstm", size=(16, 16), width=2, hidden=4, lstm_layers=1)
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {f"encoder.blocks.{i}.conv.{key}" for i in range(3) for key in ("weight", "bias")}
    expected |= {f"encoder.blocks.{i}.norm.{key}" for i in (1, 2) for key in norm}
    expected |= {
        f"{layer}.{key}" for layer in ("encoder.bottleneck", "classifier.0", "classifier.3") for key in norm[:2]
    }
    expected |= {f"lstm.{key}_{gate}_l0" for key in ("weight", "bias") for gate in ("ih", "hh")}
    assert set(model.state_dict()) == expected


class TestUNet:
    def test_encoder_equals_functional_calls(self):
        encoder = make_model("evtransfer").encoder
        x = make_input(1)[0]
        expected, _ = functional_encoder(x, encoder.state_dict())
        assert expected.shape == (2, 32, 1, 1)
        torch.testing.assert_close(encoder(x), expected[:, :, 0, 0])
        assert encoder(x).abs().sum() > 0

    def test_generator_equals_functional_calls(self):
        generator = make_model("pix2pix")
        x = make_input(1)
        state = generator.state_dict()
        y, skips = functional_encoder(x[0], generator.encoder.state_dict())
        for i, skip in enumerate(reversed(skips)):
            name = f"decoder.{i}"
            y = F.conv_transpose2d(y, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], stride=2, padding=1)
            y = torch.cat([normalise(y, state, f"{name}.norm"), skip], dim=1).clamp(min=0)
        y = F.conv_transpose2d(y, state["output.weight"], state["output.bias"], stride=2, padding=1).tanh()
        torch.testing.assert_close(generator(x)[0], y)
        torch.testing.assert_close(generator.reconstruct(x)[0], (y + 1) / 2)

    def test_dropout_in_the_first_three_decoder_stages_and_in_training_mode_only(self):
        generator = create_model("pix2pix", size=(64, 64), width=2, dropout=0.3)
        assert [block.dropout.p for block in generator.decoder] == [0.3, 0.3, 0.3, 0, 0]
        x = make_input(1, side=64)
        assert not torch.equal(generator(x), generator(x))
        generator.eval()
        assert torch.equal(generator(x), generator(x))

    def test_training_reaches_every_parameter(self):
        generator = create_model("pix2pix", **SMALL)
        generator(make_input(4)).square().sum().backward()
        for name, parameter in generator.named_parameters():
            assert parameter.grad.abs().sum() > 0, name

    @pytest.mark.parametrize(("size", "n_stages"), [(16, 4), (32, 5), (128, 7), (256, 8)])
    def test_the_bottleneck_is_one_pixel_at_every_size(self, size, n_stages):
        encoder = UNetEncoder(size=(size, size), width=2)
        assert len(encoder.blocks) + 1 == n_stages
        bottleneck, skips = encoder.encode(torch.rand(2, 3, size, size))
        assert bottleneck.shape == (2, 16, 1, 1)
        assert [skip.shape[1] for skip in skips] == [2, 4, 8, 16, 16, 16, 16][: n_stages - 1]

    def test_initial_weights(self):
        torch.manual_seed(0)
        for network in (create_model("pix2pix", width=16), PatchDiscriminator(width=32)):
            for name, parameter in ((name, p.detach()) for name, p in network.named_parameters()):
                if name.endswith("bias"):
                    assert not parameter.any(), name
                elif parameter.ndim == 1:
                    assert abs(parameter.mean() - 1) < 0.01
                    assert parameter.std() == pytest.approx(0.02, rel=0.35)
                elif parameter.numel() > 5000:
                    assert abs(parameter.mean()) < 0.001
                    assert parameter.std() == pytest.approx(0.02, rel=0.05)

    @pytest.mark.parametrize("size", [(8, 8), (48, 48), (32, 64), (0, 0)])
    def test_sizes_that_do_not_halve_to_one_pixel_are_refused(self, size):
        with pytest.raises(ShapeError, match=r"expected a square whose side is a power of two from 16"):
            UNetEncoder(size=size)

    def test_the_encoder_refuses_other_images(self):
        with pytest.raises(ShapeError, match=r"shape \[1, 3, 16, 16\]; expected \[B, 3, 32, 32\]"):
            UNetEncoder(**SMALL)(torch.rand(1, 3, 16, 16))

    def test_only_a_generator_gives_an_encoder(self):
        with pytest.raises(
            ConfigError, match="model 'au_snn' has no U-Net encoder; expected a model made by 'pix2pix'"
        ):
            encoder_from(create_model("au_snn", size=(16, 16), channels=2, hidden=4))


class TestPatchDiscriminator:
    @pytest.mark.parametrize(("n_layers", "field", "side"), [(4, 142, 14), (3, 70, 30)])
    def test_one_score_sees_one_patch(self, n_layers, field, side):
        discriminator = PatchDiscriminator(width=2, n_layers=n_layers).eval()
        source = torch.rand(1, 3, 256, 256, requires_grad=True)
        scores = discriminator(source, torch.rand(1, 3, 256, 256))
        assert scores.shape == (1, 1, side, side)
        scores[0, 0, side // 2, side // 2].backward()
        rows = source.grad.abs().sum((0, 1, 3)).nonzero()
        assert int(rows.max() - rows.min()) + 1 == field == discriminator.receptive_field

    def test_scores_are_logits(self):
        torch.manual_seed(0)
        discriminator = PatchDiscriminator(width=4, n_layers=3)
        scores = 50 * discriminator(torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64))
        assert scores.min() < 0 or scores.max() > 1

    def test_refusals(self):
        discriminator = PatchDiscriminator(width=2)
        x = torch.rand(1, 3, 64, 64)
        with pytest.raises(ShapeError, match="expected images of one size"):
            discriminator(x, x[..., 1:])
        with pytest.raises(ShapeError, match=r"expected 6 channels together; fix: PatchDiscriminator\(in_channels=4\)"):
            discriminator(x, x[:, :1])
        with pytest.raises(
            ShapeError, match="expected at least 48 x 48 pixels .*smaller n_layers .train.discriminator_layers"
        ):
            discriminator(x[..., :32, :32], x[..., :32, :32])
        with pytest.raises(SnnferError, match="n_layers = 0"):
            PatchDiscriminator(n_layers=0)


class TestWindowClassifier:
    def test_single_windows_equal_encoder_and_head(self):
        model = make_model("evtransfer")
        x = make_input(1)
        w1, b1, w2, b2 = list(model.classifier.parameters())
        hidden = (model.encoder(x[0]) @ w1.T + b1).clamp(min=0)
        torch.testing.assert_close(model(x), hidden @ w2.T + b2)

    def test_lstm_equals_a_loop_over_triples(self):
        model = make_model("evtransfer_lstm", hidden=8)
        torch.manual_seed(2)
        lstm = torch.nn.LSTM(32, 32, num_layers=3, batch_first=True)
        lstm.load_state_dict(model.lstm.state_dict())
        x = make_input(7)
        scores = []
        for end in range(1, 8):
            windows = [model.encoder(image) for image in x[max(0, end - 3) : end]]
            scores.append(model.classifier(lstm(torch.stack(windows, dim=1))[0][:, -1]))
        steps = torch.stack(scores)
        torch.testing.assert_close(model.forward_steps(x), steps)
        torch.testing.assert_close(model(x), steps[2:].mean(0))
        lengths = torch.tensor([2, 5])
        expected = torch.stack([steps[1, 0], steps[2:5, 1].mean(0)])
        torch.testing.assert_close(model(x, lengths=lengths), expected)

    def test_the_lstm_counts_and_is_deep(self):
        model = make_model("evtransfer_lstm")
        x = make_input(3)
        swapped = x[[1, 0, 2]]
        assert not torch.allclose(model(x), model(swapped), atol=1e-6)
        assert sum(p.numel() for p in model.lstm.parameters()) == 3 * 4 * 32 * (32 + 32 + 2)

    def test_state_holds_the_features_of_the_last_windows(self):
        model = make_model("evtransfer_lstm", n_windows=4)
        x = make_input(6)
        features = model.encode(x)
        state = None
        for t in range(6):
            _, state = model.forward_with_state(x[t : t + 1], state)
            assert torch.equal(state, features[max(0, t - 2) : t + 1])

    def test_streaming_encodes_each_window_once(self):
        model = make_model("evtransfer_lstm")
        calls = []
        model.encoder.register_forward_hook(lambda *_: calls.append(1))
        state = None
        for image in make_input(5).split(1):
            _, state = model.forward_with_state(image, state)
        assert len(calls) == 5

    def test_without_lstm_there_is_nothing_to_keep(self):
        _, state = make_model("evtransfer").forward_with_state(make_input(3))
        assert state.shape == (0, 2, 32)


class TestTransfer:
    def test_the_encoder_arrives_and_the_rest_stays(self):
        generator, model = make_model("pix2pix"), make_model("evtransfer_lstm")
        given, before = copy.deepcopy(generator.state_dict()), copy.deepcopy(model.state_dict())
        assert not torch.equal(given["encoder.bottleneck.weight"], before["encoder.bottleneck.weight"])
        model.load_encoder(encoder_from(generator))
        for name, value in model.state_dict().items():
            assert torch.equal(value, (given if name.startswith("encoder.") else before)[name]), name
        with torch.no_grad():
            model.encoder.bottleneck.weight.add_(1)
        assert all(torch.equal(value, given[name]) for name, value in generator.state_dict().items())

    @pytest.mark.parametrize("change", [{"size": (64, 64)}, {"width": 8}, {"in_channels": 2}])
    def test_another_encoder_is_refused(self, change):
        model = make_model("evtransfer")
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(CheckpointError, match=r"an encoder with .*expected one with in_channels = 3, size = \[32"):
            model.load_encoder(UNetEncoder(**{**SMALL, **change}))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_a_frozen_encoder_does_not_move(self):
        model = make_model("evtransfer")
        model.freeze_encoder()
        model.train()
        assert model.training
        assert model.classifier.training
        before = copy.deepcopy(model.state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(make_input(4)).square().sum().backward()
        optimizer.step()
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert moved == {name for name, _ in model.classifier.named_parameters(prefix="classifier")}
        torch.testing.assert_close(model.encode(make_input(2)), model.eval().encode(make_input(2)))

    def test_a_frozen_encoder_may_follow_the_batch_statistics(self):
        model = make_model("evtransfer")
        model.freeze_encoder(freeze_norm=False)
        model.train()
        before = copy.deepcopy(model.state_dict())
        model(make_input(4)).sum().backward()
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert moved
        assert {name.rpartition(".")[2] for name in moved} == {"running_mean", "running_var", "num_batches_tracked"}
        assert all(parameter.grad is None for parameter in model.encoder.parameters())

    def test_frozen_statistics_with_trained_weights(self):
        model = make_model("evtransfer")
        model.freeze_norm()
        model.train()
        before = copy.deepcopy(model.state_dict())
        model(make_input(4)).square().sum().backward()
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert model.encoder.bottleneck.weight.grad.abs().sum() > 0
        assert not copy.deepcopy(model).train().encoder.blocks[1].norm.training
