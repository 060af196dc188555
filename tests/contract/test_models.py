"""The contract that every registered model keeps.

A model joins with a row in SMALL, one in CHANGES and its parameter counts in PARAMETERS. What is asked of it follows
from what it is: a classifier or a reconstruction model, with or without streaming, spiking or not.
"""

import copy
import inspect
import itertools
import json
import pickle

import pytest
import torch

from snnfer.converters.check import check_export
from snnfer.datasets import ClipInput
from snnfer.errors import ConfigError, ShapeError, StateError
from snnfer.models import create_model, list_models, model_reads, register_model
from snnfer.models._registry import _MODELS
from snnfer.neurons import Neuron
from snnfer.representations import list_representations

SMALL = {
    "au_snn": {"n_classes": 4, "size": [16, 16], "channels": 8, "hidden": 32},
    "au_cnn3d": {"n_classes": 4, "size": [16, 16], "channels": [4, 8, 8, 8], "hidden": 16},
    "c3d": {"n_classes": 4, "size": [16, 16], "channels": [4, 8, 8, 8], "hidden": 16, "neuron": "soft_spiking"},
    "cs3d_factorized": {"n_classes": 4, "size": [16, 16], "channels": [4, 8, 8, 8], "hidden": 16},
    "cs3d": {"n_classes": 4, "size": [16, 16], "channels": [4, 8, 8, 8], "hidden": 16},
    "asynet_vgg13": {"n_classes": 4, "size": [16, 16], "channels": [4, 8, 8], "hidden": 16},
    "est_resnet34": {"n_classes": 4, "size": [16, 16], "channels": [4, 4, 8, 8], "blocks": [1, 1, 1, 1], "lstm": True},
    "vit_b16": {"n_classes": 4, "size": [16, 16], "patch_size": 8, "width": 16, "depth": 2, "heads": 2, "lstm": True},
    "evtransfer": {"n_classes": 4, "size": [16, 16], "width": 4, "hidden": 16},
    "poster_v2": {
        "n_classes": 4,
        "size": [64, 64],
        "widths": [4, 8, 8],
        "depths": [1, 1, 1],
        "landmark_depths": [1, 1, 1],
        "heads": [2, 2, 2],
        "embed_dim": 16,
        "vit_depth": 1,
        "vit_heads": 2,
        "freeze_landmarks": False,
    },
    "poster_var": {
        "n_classes": 4,
        "size": [64, 64],
        "widths": [4, 8, 8],
        "depths": [1, 1, 1],
        "landmark_depths": [1, 1, 1],
        "heads": [2, 2, 2],
        "embed_dim": 16,
        "vit_depth": 1,
        "vit_heads": 2,
        "freeze_landmarks": False,
    },
    "rgbd_fer": {
        "n_classes": 4,
        "size": [32, 64],
        "backbone": "test_efficientnet",
        "n_masks": 2,
        "width": 16,
        "depth": 2,
        "heads": 2,
    },
    "evtransfer_lstm": {"n_classes": 4, "size": [16, 16], "width": 4, "hidden": 16},
    "spiking_fer": {"n_classes": 4, "size": [16, 16], "n_steps": 16, "width": 4, "blocks": [1, 2]},
    "spiking_fer_ann": {"n_classes": 4, "size": [16, 16], "n_steps": 16, "width": 4, "blocks": [1, 2]},
    "pix2pix": {"size": [16, 16], "width": 4},
    "cvae": {"size": [12, 16], "widths": [4, 8], "latent": 3, "hidden": 16},
}
PARAMETERS = {
    ("au_snn", ()): 4_312_470,
    ("au_snn", (("in_channels", 3),)): 4_312_470 + 288,
    ("au_snn", (("bias", False),)): 4_311_748,
    ("au_snn", (("downsampling", "stride"),)): 4_312_470,
    ("au_snn", (("blocks", 3),)): 4_312_470 + (9 * 32 * 32 + 2 * 32 + 1) - (8192 - 2048) * 512,
    ("au_cnn3d", ()): 13_060_437,
    ("au_cnn3d", (("in_channels", 3),)): 13_062_165,
    ("au_cnn3d", (("batch_norm", True),)): 13_062_357,
    ("au_cnn3d", (("batch_norm", True), ("in_channels", 3))): 13_064_085,
    ("c3d", ()): 62_100_871,
    ("c3d", (("neuron", "soft_spiking"),)): 62_100_871,
    ("c3d", (("n_steps", 32),)): 62_100_871 + 8192 * 4096,
    ("cs3d_factorized", ()): 51_607_440,
    ("cs3d", ()): 51_607_440 + 3 * (64**2 + 128**2 + 256**2 + 2 * 512**2) + 18 * (64 + 128 + 256 + 2 * 512),
    ("cs3d", (("placement", "after_pool"),)): 53_464_848,
    ("asynet_vgg13", ()): 3_551_207,
    ("asynet_vgg13", (("sparse", True),)): 3_551_207,
    ("asynet_vgg13", (("n_classes", 8),)): 3_552_744,
    ("asynet_vgg13", (("n_classes", 101),)): 3_695_685,
    ("asynet_vgg13", (("in_channels", 30),)): 3_555_239,
    ("est_resnet34", ()): 21_336_324,
    ("est_resnet34", (("n_classes", 101),)): 21_384_546,
    ("est_resnet34", (("lstm", True),)): 21_336_324 + 6_303_744,
    ("vit_b16", ()): 85_804_039,
    ("vit_b16", (("lstm", True),)): 85_804_039 + 3 * 8 * 768 * (768 + 1),
    ("evtransfer", ()): 19_673_799,
    ("evtransfer_lstm", ()): 25_977_543,
    ("poster_v2", ()): 43_753_941,
    ("poster_v2", (("n_classes", 8),)): 43_753_941 + 769,
    ("poster_var", ()): 43_753_941 + 3 * 768 + 2 * 768 + 5_383,
    ("poster_var", (("head", "linear"), ("level_embeddings", False))): 43_753_941 + 2 * 768,
    ("rgbd_fer", ()): 43_814_307,
    ("rgbd_fer", (("n_classes", 6),)): 43_813_538,
    ("spiking_fer", ()): 11_439_104,
    ("spiking_fer_ann", ()): 11_207_808,
    ("pix2pix", ()): 54_419_459,
    ("cvae", ()): 289_228_049,
}
CHANGES = {  # every argument with another value than in SMALL
    "au_snn": {
        "n_classes": 5,
        "in_channels": 3,
        "size": [20, 12],
        "channels": 6,
        "hidden": 20,
        "votes": 3,
        "dropout": 0.5,
        "init_tau": 4.0,
        "bias": False,
        "blocks": 3,
        "downsampling": "stride",
    },
    "au_cnn3d": {
        "n_classes": 5,
        "in_channels": 3,
        "size": [32, 16],
        "channels": [2, 3, 4, 5],
        "hidden": 20,
        "dropout": 0.5,
        "batch_norm": True,
    },
    "c3d": {
        "n_classes": 5,
        "in_channels": 2,
        "size": [32, 16],
        "n_steps": 24,
        "channels": [2, 3, 4],
        "hidden": 20,
        "dropout": 0.2,
        "neuron": "relu",
        "theta": 0.3,
        "beta": 2.0,
    },
    "cs3d_factorized": {
        "n_classes": 5,
        "in_channels": 2,
        "size": [32, 16],
        "n_steps": 24,
        "channels": [2, 3, 4],
        "hidden": 20,
        "dropout": 0.2,
        "neuron": "relu",
        "theta": 0.3,
        "beta": 2.0,
    },
    "cs3d": {
        "n_classes": 5,
        "in_channels": 2,
        "size": [32, 16],
        "n_steps": 24,
        "channels": [2, 3, 4],
        "hidden": 20,
        "dropout": 0.2,
        "neuron": "relu",
        "theta": 0.3,
        "beta": 2.0,
        "ta": "bottleneck",
        "ta_kernel": 1,
        "sa_out": "single",
        "sa_kernel": [3, 3, 3],
        "placement": "after_pool",
    },
    "asynet_vgg13": {
        "n_classes": 5,
        "in_channels": 3,
        "size": [20, 16],
        "sparse": True,
        "channels": [3, 5, 6],
        "hidden": 12,
    },
    "est_resnet34": {
        "n_classes": 5,
        "in_channels": 4,
        "size": [32, 24],
        "sensor_size": [24, 32],
        "channels": [4, 4, 4, 6],
        "blocks": [1, 2, 1, 1],
        "lstm": False,
        "n_windows": 4,
        "lstm_layers": 2,
        "pretrained": False,
    },
    "vit_b16": {
        "n_classes": 5,
        "in_channels": 2,
        "size": [16, 24],
        "patch_size": 4,
        "width": 24,
        "depth": 1,
        "heads": 4,
        "lstm": False,
        "n_windows": 4,
        "lstm_layers": 2,
        "pretrained": False,
    },
    "evtransfer": {"n_classes": 5, "in_channels": 2, "size": [32, 32], "width": 6, "hidden": 20, "dropout": 0.2},
    "evtransfer_lstm": {
        "n_classes": 5,
        "in_channels": 2,
        "size": [32, 32],
        "width": 6,
        "hidden": 20,
        "dropout": 0.2,
        "n_windows": 4,
        "lstm_layers": 2,
    },
    "poster_v2": {
        "n_classes": 5,
        "in_channels": 1,
        "size": [64, 96],
        "widths": [8, 8, 16],
        "depths": [1, 2, 1],
        "landmark_depths": [2, 1, 1],
        "heads": [4, 2, 4],
        "embed_dim": 24,
        "vit_depth": 2,
        "vit_heads": 4,
        "drop_path": [0.1, 0.2, 0.3],
        "freeze_landmarks": True,
        "freeze_norm": True,
        "backbone_weights": "",
        "landmark_weights": "",
    },
    "poster_var": {
        "n_classes": 5,
        "in_channels": 1,
        "size": [64, 96],
        "widths": [8, 8, 16],
        "depths": [1, 2, 1],
        "landmark_depths": [2, 1, 1],
        "heads": [4, 2, 4],
        "embed_dim": 24,
        "vit_depth": 2,
        "vit_heads": 4,
        "drop_path": [0.1, 0.2, 0.3],
        "freeze_landmarks": True,
        "freeze_norm": True,
        "level_embeddings": False,
        "head": "linear",
        "backbone_weights": "",
        "landmark_weights": "",
    },
    "rgbd_fer": {
        "n_classes": 5,
        "in_channels": 4,  # follows from the ablation
        "size": [64, 33],
        "backbone": "test_convnext",
        "n_masks": 3,
        "reduction": 4,
        "fusion": "sum",
        "width": 24,
        "depth": 1,
        "heads": 4,
        "ablation": "no_vit",
        "pretrained": False,
        "backbone_weights": "",
    },
    "spiking_fer": {
        "n_classes": 5,
        "in_channels": 3,
        "size": [32, 24],
        "n_steps": 7,
        "width": 6,
        "blocks": [1, 1, 1],
        "dropout": 0.2,
    },
    "spiking_fer_ann": {
        "n_classes": 5,
        "in_channels": 3,
        "size": [32, 24],
        "n_steps": 7,
        "width": 6,
        "blocks": [1, 1, 1],
    },
    "pix2pix": {"in_channels": 2, "out_channels": 1, "size": [32, 32], "width": 6, "dropout": 0.2},
    "cvae": {
        "in_channels": 2,
        "out_channels": 3,
        "size": [13, 18],
        "widths": [2, 4, 6],
        "latent": 5,
        "hidden": 8,
    },
}
STARTS = ("pretrained", "backbone_weights", "landmark_weights")
UNPRINTED = ("in_channels", "size", "sensor_size", "heads", *STARTS)  # no layer has to show them
NOT_IN_FORWARD = "representation."  # a part that only ``forward_events`` uses
FIXED_STEPS = ("spiking_fer_ann",)  # these take one number of steps alone
CLASSIFIERS = list_models(task="classification")
RECONSTRUCTION = list_models(task="reconstruction")
STREAMING = [name for name in SMALL if hasattr(create_model(name, **SMALL[name]), "forward_with_state")]
SPIKING = [
    name
    for name in STREAMING
    if any(isinstance(module, Neuron) for module in create_model(name, **SMALL[name]).modules())
]


def biases_before_norm(model):
    """Names of biases that the batch normalisation behind them subtracts: their gradient is 0 but for rounding."""
    return {
        f"{name}.{i}.bias"
        for name, chain in model.named_modules()
        if isinstance(chain, torch.nn.Sequential)
        for i, (first, second) in enumerate(itertools.pairwise(chain))
        if isinstance(first, torch.nn.Conv2d | torch.nn.Conv3d)
        and isinstance(second, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d)
    }


VOTING = [name for name in SPIKING if not hasattr(create_model(name, **SMALL[name]), "integrates")]


def make_input(model, *, n_samples=3):
    config = model.config
    shape = (config.get("n_steps", 16), n_samples, config["in_channels"], *config["size"])
    return torch.poisson(torch.full(shape, 0.4), generator=torch.Generator().manual_seed(0))


def make_model(name, **kwargs):
    """A small model whose layers are all active: running statistics that fit the input, and gains that make it fire."""
    torch.manual_seed(0)
    model = create_model(name, **{**SMALL[name], **kwargs})
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.mul_(3)
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
                module.momentum = 1.0
                if not module.weight.any():  # a residual branch that starts silent
                    module.weight.fill_(1)
        model(make_input(model))
    return model.eval()


def test_the_tables_cover_every_model_and_argument():
    assert sorted(SMALL) == sorted(CHANGES) == list_models()
    for name, changes in CHANGES.items():
        assert {"name", *changes} == set(create_model(name, **SMALL[name]).config)


@pytest.mark.parametrize(("name", "kwargs"), list(PARAMETERS))
def test_parameter_count(name, kwargs):
    with torch.device("meta"):
        model = create_model(name, **dict(kwargs))
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name, kwargs]


@pytest.mark.parametrize("name", list_models())
class TestModel:
    def test_config_rebuilds_the_model(self, name):
        model = make_model(name, **CHANGES[name])
        config = json.loads(json.dumps(model.config))
        assert config["name"] == name
        rebuilt = create_model(**config).eval()
        rebuilt.load_state_dict(model.state_dict())
        assert rebuilt.config == model.config
        assert torch.equal(rebuilt(make_input(model)), model(make_input(model)))

    def test_every_argument_reaches_the_model(self, name):
        expected = str(create_model(name, **SMALL[name]))
        for key, value in CHANGES[name].items():
            changed = create_model(name, **{**SMALL[name], key: value})
            assert changed.config[key] == value
            assert str(changed) != expected or key in UNPRINTED, key

    def test_unknown_arguments_are_refused(self, name):
        with pytest.raises(ConfigError, match=f"unknown argument 'colour' of model '{name}'; expected one of"):
            create_model(name, colour="red")

    def test_samples_are_independent(self, name):
        model = make_model(name)
        x = make_input(model)
        order = torch.tensor([2, 0, 1])
        shuffled, outputs = model(x[:, order]), model(x)
        expected = outputs[order] if name in CLASSIFIERS else outputs[:, order]
        torch.testing.assert_close(shuffled, expected, rtol=1e-5, atol=1e-6)

    def test_any_dtype_of_input(self, name):
        model = make_model(name)
        x = make_input(model)
        for dtype in (torch.uint8, torch.int64, torch.float64, torch.float16):
            assert torch.equal(model(x.to(dtype)), model(x))
        double = copy.deepcopy(model).double()
        assert double(x).dtype == torch.float64

    def test_state_dict_deepcopy_and_pickle(self, name):
        model = make_model(name)
        x = make_input(model)
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(x), model(x))
            assert other.config == model.config
        assert not any("state" in key for key in model.state_dict())

    def test_with_and_without_gradients_the_result_is_the_same(self, name):
        model = make_model(name)
        x = make_input(model)
        with torch.no_grad():
            expected = model(x)  # torch's LSTM has another kernel here, which rounds differently
        torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-6)

    def test_what_it_reads_is_what_it_takes(self, name):
        reads, arguments = model_reads(name), inspect.signature(_MODELS[name]).parameters
        given = ClipInput(
            reads.modality, representation=reads.representation or "count_frames", size=(16, 16), slicing=reads.slicing
        )
        assert given.n_channels == arguments["in_channels"].default
        assert "n_steps" not in arguments or reads.n_steps == arguments["n_steps"].default
        assert reads.modality != "events" or reads.representation in list_representations()

    def test_the_export_check_says_what_is_against_each_layer(self, name):
        check = check_export(create_model(name, **SMALL[name]))
        refused = [verdict for layer in check.layers for verdict in (layer.lava, layer.nir) if verdict.answer == "no"]
        assert all(verdict.reason and verdict.fix for verdict in refused)
        assert not any("cannot be traced" in verdict.reason for verdict in refused)
        assert (name == "au_snn") == check.exportable("lava") == check.exportable("nir")

    def test_nothing_is_kept(self, name):
        model = make_model(name)
        x = make_input(model)
        assert torch.equal(model(x), model(x))

    def test_wrong_shapes_are_refused(self, name):
        model = make_model(name)
        x = make_input(model)
        _, _, n_channels, height, width = x.shape
        with pytest.raises(ShapeError, match=rf"input has shape \[16, {n_channels}, .*; expected 5 dimensions"):
            model(x[:, 0])
        other = x[:, :, :1].expand(-1, -1, n_channels + 1, -1, -1)
        message = rf"has {n_channels + 1} channels .*fix: create_model\(\.\.\., in_channels={n_channels + 1}\)"
        with pytest.raises(ShapeError, match=message):
            model(other)
        message = rf"the input has {height} x {width - 1} pixels .*expected {height} x {width} pixels"
        with pytest.raises(ShapeError, match=message):
            model(x[..., 1:])
        with pytest.raises(ShapeError, match="at least one time step"):
            model(x[:0])


@pytest.mark.parametrize("name", CLASSIFIERS)
class TestClassifier:
    def test_scores_have_one_row_per_sample(self, name):
        model = make_model(name)
        scores = model(make_input(model))
        assert scores.shape == (3, 4)
        assert scores.std() > 0

    def test_padding_with_lengths_gives_the_result_of_the_clip(self, name):
        model = make_model(name)
        x, lengths = make_input(model), torch.tensor([16, 11, 8])
        clips = [x[:length, i : i + 1] for i, length in enumerate(lengths.tolist())]
        if name in FIXED_STEPS:
            clips = [torch.cat([clip, x.new_zeros(16 - len(clip), *clip.shape[1:])]) for clip in clips]
        alone = torch.cat([model(clip) for clip in clips])
        for padding in (0.0, 7.0):
            padded = x.clone()
            for i, length in enumerate(lengths.tolist()):
                padded[length:, i] = padding
            torch.testing.assert_close(model(padded, lengths=lengths), alone, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(model(x), alone)

    def test_training_reaches_every_parameter(self, name):
        model = make_model(name).train()
        model(make_input(model), lengths=torch.tensor([16, 12, 9])).square().sum().backward()
        for key, parameter in model.named_parameters():
            if key.startswith(NOT_IN_FORWARD) or key in biases_before_norm(model):
                continue
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().sum() > 0, key

    def test_wrong_lengths_are_refused(self, name):
        model = make_model(name)
        x = make_input(model)
        with pytest.raises(ShapeError, match=r"lengths has shape \[2\]; expected \[3\]"):
            model(x, lengths=torch.tensor([16, 16]))
        for lengths in ([16, 16, 17], [0, 16, 16], [9.0, 9.0, 9.0]):
            with pytest.raises(ShapeError, match="whole numbers of time steps between 1 and 16"):
                model(x, lengths=torch.tensor(lengths))

    def test_a_size_too_small_is_refused(self, name):
        with pytest.raises(ShapeError, match=r"size = \(3, 64\)"):
            create_model(name, size=(3, 64))

    def test_empty_batch(self, name):
        model = make_model(name)
        assert model(make_input(model)[:, :0]).shape == (0, 4)


@pytest.mark.parametrize("name", STREAMING)
class TestStreamingModel:
    def test_the_score_is_the_mean_over_steps_or_that_of_the_last(self, name):
        model = make_model(name)
        x = make_input(model)
        steps = model.forward_steps(x)
        assert steps.shape == (16, 3, 4)
        first = getattr(model, "n_windows", 1) - 1  # the steps before it see too few windows to count
        integrates = getattr(model, "integrates", False)
        torch.testing.assert_close(model(x), steps[-1] if integrates else steps[first:].mean(0))

    @pytest.mark.parametrize("chunks", [[1] * 16, [3, 13], [15, 1]])
    def test_streaming_equals_the_whole_bit_for_bit(self, name, chunks):
        model = make_model(name)
        x = make_input(model)
        whole = model.forward_steps(x)
        outputs, state = [], None
        for chunk in x.split(chunks):
            y, state = model.forward_with_state(chunk, state)
            outputs.append(y)
        assert torch.equal(torch.cat(outputs), whole)
        assert state is not None

    def test_a_state_of_another_batch_is_refused(self, name):
        model = make_model(name)
        x = make_input(model)
        _, state = model.forward_with_state(x)
        with pytest.raises(StateError, match="expected a state of shape"):
            model.forward_with_state(x[:, :2], state)
        with pytest.raises(StateError, match="a state of dict"):
            model.forward_with_state(x, {})


@pytest.mark.parametrize("name", VOTING)
def test_votes_are_rates(name):
    model = make_model(name)
    votes = model.forward_steps(make_input(model))
    assert 0 <= votes.min() <= votes.max() <= 1
    assert 0 < votes.mean() < 1


@pytest.mark.parametrize("name", SPIKING)
class TestSpikingModel:
    def test_with_and_without_gradients_the_bits_are_the_same(self, name):
        model = make_model(name)
        x = make_input(model)
        with torch.no_grad():
            expected = model(x)
        assert torch.equal(model(x), expected)

    def test_a_state_of_another_model_is_refused(self, name):
        model = make_model(name)
        x = make_input(model)
        _, state = model.forward_with_state(x)
        with pytest.raises(StateError, match=r"a state of 2 entries for a chain of \d modules"):
            model.forward_with_state(x, state[:2])


@pytest.mark.parametrize("name", RECONSTRUCTION)
class TestReconstructionModel:
    def test_one_image_in_unit_range_per_step_and_sample(self, name):
        model = make_model(name)
        images = model.reconstruct(make_input(model))
        assert images.shape == (16, 3, model.config["out_channels"], *model.config["size"])
        assert 0 <= images.min() <= images.max() <= 1
        assert images.std() > 0
        assert model(make_input(model)).shape == images.shape

    def test_steps_are_independent(self, name):
        model = make_model(name)
        x = make_input(model)
        images = model.reconstruct(x)
        torch.testing.assert_close(model.reconstruct(x.flip(0)), images.flip(0), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(images[0], images[1], atol=1e-4)

    def test_training_reaches_parameters(self, name):
        model = make_model(name).train()
        model(make_input(model)).square().sum().backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0
        assert all(gradient.isfinite().all() for gradient in gradients)

    def test_an_empty_size_is_refused(self, name):
        with pytest.raises(ShapeError, match=r"size = \(0, 64\)"):
            create_model(name, size=(0, 64))

    def test_empty_batch(self, name):
        model = make_model(name)
        images = model.reconstruct(make_input(model)[:, :0])
        assert images.shape == (16, 0, model.config["out_channels"], *model.config["size"])


def test_registering_a_name_twice_is_refused():
    def au_snn():
        raise AssertionError("never called")

    with pytest.raises(ConfigError, match="'au_snn' is registered twice"):
        register_model(au_snn)


def test_unknown_models_are_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown model 'au_snm'; .*fix: use 'au_snn'"):
        create_model("au_snm")


def test_short_clips_are_refused_by_the_3d_network():
    model = make_model("au_cnn3d")
    x = make_input(model)
    with pytest.raises(ShapeError, match="a clip of 7 time steps; expected at least 8"):
        model(x[:7])
    with pytest.raises(ShapeError, match="a clip of 5 time steps; expected at least 8"):
        model(x, lengths=torch.tensor([16, 16, 5]))
