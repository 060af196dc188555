"""Changes of colour against Pillow and colorsys, erasing against its definition."""

import colorsys

import numpy as np
import pytest
import torch

from snnfer._config import build_config, config_hash
from snnfer.datasets import ArrayCache, ClipInput, ClipTensors, ManifestDataset
from snnfer.errors import ConfigError, ShapeError
from snnfer.training import TrainConfig, train_network
from snnfer.training.augmentation import random_erasing
from snnfer.training.color import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, random_color


def images(*shape, seed=0):
    """Raw values 0 to 255."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("ours", "theirs", "levels"),
    [(adjust_brightness, "Brightness", 1), (adjust_contrast, "Contrast", 2), (adjust_saturation, "Color", 2)],
)
def test_brightness_contrast_and_saturation_are_those_of_pillow(ours, theirs, levels):
    image, enhance = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageEnhance")
    x, factors = images(2, 3, 3, 9, 8), (0.6, 1.0, 1.5)
    result = ours(x.float(), torch.tensor(factors))
    for step in range(2):
        for n, factor in enumerate(factors):
            picture = image.fromarray(x[step, n].permute(1, 2, 0).numpy())
            expected = np.asarray(getattr(enhance, theirs)(picture).enhance(factor)).astype(float)
            # Pillow rounds grey values and results to whole numbers
            assert np.abs(result[step, n].permute(1, 2, 0).numpy() - expected).max() <= levels


def test_hue_is_that_of_colorsys():
    x = images(1, 2, 3, 16, 16)
    x[0, :, :, 0] = torch.tensor([[0, 255, 77, 10], [0, 255, 77, 200], [0, 255, 77, 200]]).repeat(1, 4)  # greys, ties
    turns = (0.37, -0.21)
    result = adjust_hue(x.float(), torch.tensor(turns))
    for n, turn in enumerate(turns):
        for y, column in np.ndindex(16, 16):
            h, s, v = colorsys.rgb_to_hsv(*(x[0, n, :, y, column].double() / 255).tolist())
            expected = np.array(colorsys.hsv_to_rgb((h + turn) % 1, s, v)) * 255
            assert np.allclose(result[0, n, :, y, column].numpy(), expected, atol=0.01)


def test_a_third_of_the_circle_turns_red_into_green_and_none_changes_nothing():
    red = torch.tensor([200.0, 0, 0]).view(1, 1, 3, 1, 1)
    assert torch.allclose(adjust_hue(red, torch.tensor([1 / 3])).flatten(), torch.tensor([0.0, 200, 0]), atol=1e-3)
    x = images(1, 1, 3, 8, 8).float()
    for change, neutral in (
        (adjust_brightness, 1.0),
        (adjust_contrast, 1.0),
        (adjust_saturation, 1.0),
        (adjust_hue, 0.0),
    ):
        assert torch.allclose(change(x, torch.tensor([neutral])), x, atol=1e-3)


def test_each_sample_has_its_own_colours_the_same_in_all_steps_and_depth_keeps_its_values():
    torch.manual_seed(0)
    clip = images(1, 1, 4, 6, 6).float()
    clip[:, :, 3] = clip[:, :, 3] * 100  # depth in sensor units, far above 255
    x = clip.expand(3, 40, 4, 6, 6)
    changed = random_color(x, amount=0.2, hue=0.1)
    assert torch.equal(changed[:, :, 3], x[:, :, 3])
    assert torch.equal(changed[0], changed[2])
    assert len({tuple(changed[0, n, :3].flatten().tolist()) for n in range(40)}) == 40
    assert changed[:, :, :3].min() >= 0
    assert changed[:, :, :3].max() <= 255
    assert random_color(x, amount=0.0, hue=0.0) is x
    dark = random_color(torch.zeros(2, 3, 3, 4, 4), amount=0.5, hue=0.5)
    assert not dark.any()  # the padding of short clips stays padding


def test_the_amounts_are_the_limits():
    torch.manual_seed(0)
    grey = torch.full((1, 2000, 3, 1, 1), 100.0)  # no contrast, no saturation: brightness alone
    factors = random_color(grey, amount=0.2, hue=0.3)[0, :, 0].flatten() / 100
    assert 0.8 <= factors.min() < 0.81
    assert 1.19 < factors.max() <= 1.2
    red = torch.tensor([200.0, 0, 0]).view(1, 1, 3, 1, 1).expand(1, 2000, 3, 1, 1)
    turned = random_color(red, amount=0.0, hue=0.1)[0].flatten(1) / 200
    hues = np.array([colorsys.rgb_to_hsv(*map(float, colour))[0] for colour in turned])
    hues = (hues + 0.5) % 1 - 0.5
    assert -0.1 - 1e-6 <= hues.min() < -0.099
    assert 0.099 < hues.max() <= 0.1 + 1e-6


def test_erased_rectangles_have_the_asked_sizes_and_the_same_place_in_all_steps_and_channels():
    torch.manual_seed(0)
    x = torch.full((2, 400, 2, 50, 40), 9.0)
    erased = random_erasing(x, probability=0.7, scale=(0.05, 0.2), fill=(1.0, 2.0))
    hit = erased != 9
    assert torch.equal(hit[0], hit[1])
    assert torch.equal(hit[:, :, 0], hit[:, :, 1])
    assert set(erased[:, :, 0][hit[:, :, 0]].tolist()) == {1.0}
    assert set(erased[:, :, 1][hit[:, :, 1]].tolist()) == {2.0}
    masks = hit[0, :, 0]
    chosen = masks.flatten(1).any(1)
    assert 0.62 < float(chosen.float().mean()) < 0.78
    areas, ratios = [], []
    for mask in masks[chosen]:
        rows, columns = mask.any(1), mask.any(0)
        height, width = int(rows.sum()), int(columns.sum())
        assert int(mask.sum()) == height * width  # one full rectangle
        areas.append(height * width / 2000)
        ratios.append(height / width)
    assert 0.045 < min(areas) < 0.06
    assert 0.18 < max(areas) < 0.21
    assert 0.25 < min(ratios) < 0.5
    assert 2 < max(ratios) < 4
    assert random_erasing(x, probability=0.0, scale=(0.05, 0.2), fill=(0.0, 0.0)) is x
    assert x.min() == 9  # the input is left alone


@pytest.fixture
def make_clips(toy_manifest, tmp_path):
    def make(modality):
        data = ManifestDataset.read(toy_manifest)
        reader = ClipInput(modality, n_steps=3, size=(16, 16))
        return ClipTensors(data, reader, ArrayCache(tmp_path / "cache"), show_progress=False)

    return make


def trained(clips, folder, **config):
    recipe = TrainConfig(epochs=1, batch_size=4, loss="cross_entropy", **config)
    args = {"channels": 4, "hidden": 16}
    options = {"model": "au_snn", "model_args": args, "train": range(8), "seed": 0, "checkpoint_dir": folder}
    return train_network(clips, config=recipe, **options).model.state_dict()


def test_each_setting_changes_the_training_of_frames(make_clips, tmp_path):
    clips = make_clips("rgb")
    settings = (
        {},
        {"color_jitter": 0.3},
        {"hue_jitter": 0.2},
        {"erasing": 1.0},
        {"erasing": 1.0, "erasing_scale": (0.5, 0.6)},
    )
    weights = [
        tuple(next(iter(trained(clips, tmp_path / f"{i}", **s).values())).flatten().tolist())
        for i, s in enumerate(settings)
    ]
    assert len(set(weights)) == len(settings)


@pytest.mark.parametrize("setting", ["color_jitter", "hue_jitter"])
def test_clips_without_colours_are_refused_in_one_sentence(make_clips, tmp_path, setting):
    with pytest.raises(ConfigError, match=f"train.{setting} = 0.1 for the modality 'events'; expected rgb or rgbd"):
        trained(make_clips("events"), tmp_path / "run", **{setting: 0.1})
    for modality in ("rgb", "rgbd"):
        TrainConfig(**{setting: 0.1}).check_modality(modality)
    with pytest.raises(ShapeError, match="a clip with 2 channels"):
        random_color(torch.zeros(1, 1, 2, 4, 4), amount=0.1, hue=0.0)


def test_a_benchmark_refuses_them_before_it_starts():
    from snnfer.benchmark.config import BenchmarkConfig, ModelConfig

    models = (ModelConfig("au_snn", modalities=("rgb",)), ModelConfig("au_cnn3d", train={"hue_jitter": 0.1}))
    with pytest.raises(ConfigError, match="train.hue_jitter = 0.1 for the modality 'events'"):
        BenchmarkConfig("b", models=models, modalities=("rgb", "events"), train=TrainConfig(color_jitter=0.0))
    BenchmarkConfig("b", models=models, modalities=("rgb",), train=TrainConfig(color_jitter=0.1))


def test_erasing_is_for_events_too(make_clips, tmp_path):
    clips = make_clips("events")
    plain, erased = (trained(clips, tmp_path / f"{p}", erasing=p) for p in (0.0, 1.0))
    assert any(not torch.equal(plain[name], erased[name]) for name in plain)


@pytest.mark.parametrize(
    "wrong",
    [
        {"color_jitter": 1.5},
        {"hue_jitter": 0.6},
        {"erasing": -0.1},
        {"erasing_scale": (0.0, 0.2)},
        {"erasing_scale": (0.3, 0.2)},
    ],
)
def test_impossible_augmentation_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainConfig(**wrong)


def test_lists_of_a_config_file_are_the_same_setting():
    given = build_config(TrainConfig, {"erasing_scale": [0.02, 0.25]})
    assert config_hash(given) == config_hash(TrainConfig())
    assert build_config(TrainConfig, {"erasing_scale": [0.02, 0.1]}).erasing_scale == (0.02, 0.1)
