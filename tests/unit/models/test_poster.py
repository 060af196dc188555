"""POSTER++ and POSTER-Var: counts, parts against timm and closed forms, the variational head, what is frozen."""

import math

import pytest
import thop
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from snnfer.errors import ConfigError, ShapeError, SnnferError
from snnfer.models import create_model
from snnfer.models._poster_parts import ClassTokenTransformer, DropPath, VariationalHead, draw_scores
from snnfer.models._window_attention import WindowCrossAttention, relative_index

SMALL = {"size": (64, 64), "widths": (4, 8, 8), "depths": (1, 1, 1), "landmark_depths": (1, 1, 1), "embed_dim": 16}
LANDMARK_TAIL = 512 * 49 + 2 * 512 + 512 * 136 + 2 * 136  # depthwise 7 x 7, its norm, linear, norm: unused in POSTER++


def small(name="poster_var", **kwargs):
    torch.manual_seed(0)
    return create_model(name, **{**SMALL, "heads": (2, 2, 2), **kwargs})


def images(n_steps=1, n=2):
    return torch.rand(n_steps, n, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "macs", "thop_g", "thop_m"),
    [("poster_v2", 8_592_404_224, 8.482, 43.72), ("poster_var", 8_592_409_600, 8.4827, 43.731)],
)
@pytest.mark.filterwarnings("ignore:This API is being deprecated")  # in thop
def test_counts_are_those_of_the_public_networks(name, macs, thop_g, thop_m):
    with torch.device("meta"):
        model, x = create_model(name).eval(), torch.empty(1, 1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        model(x)
    assert counter.get_total_flops() == 2 * macs
    counted, parameters = thop.profile(model, (x,), verbose=False)
    # the public code also runs the regression of landmarks, whose result is not used
    assert round((counted + LANDMARK_TAIL) / 1e9, len(str(thop_g)) - 2) == thop_g
    assert round((parameters + LANDMARK_TAIL) / 1e6, len(str(thop_m)) - 3) == thop_m


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 3), (2, 4)])
def test_relative_index_is_one_row_per_distance(height, width):
    index = relative_index(height, width)
    pixels = [(row, column) for row in range(height) for column in range(width)]
    rows = {}
    for a, (ya, xa) in enumerate(pixels):
        for b, (yb, xb) in enumerate(pixels):
            rows.setdefault((ya - yb, xa - xb), set()).add(int(index[a, b]))
    assert all(len(found) == 1 for found in rows.values())
    assert sorted(row for (row,) in rows.values()) == list(range((2 * height - 1) * (2 * width - 1)))
    timm_index = timm.layers.gen_relative_position_index((height, width))
    assert torch.equal(index, timm_index)


def test_cross_attention_equals_multi_head_attention():
    attention = WindowCrossAttention(8, 2, (3, 4)).double()
    x, queries = torch.randn(2, 5, 3, 4, 8, dtype=torch.float64)
    oracle = torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([torch.eye(8), attention.key_value.weight]))  # queries as they are
        oracle.in_proj_bias.copy_(torch.cat([torch.zeros(8), attention.key_value.bias]))
        oracle.out_proj.load_state_dict(attention.project.state_dict())
        bias = attention.bias_table[relative_index(3, 4)].permute(2, 0, 1).repeat(5, 1, 1)  # [N * heads, L, L]
    flat = x.flatten(1, 2)
    expected, _ = oracle(queries.flatten(1, 2), flat, flat, attn_mask=bias)
    torch.testing.assert_close(attention(x, queries).flatten(1, 2), expected)


def test_transformer_equals_timm():
    own = ClassTokenTransformer(5, 16, depth=2, heads=4).double()
    kwargs = {"embed_dim": 16, "depth": 2, "num_heads": 4, "num_classes": 0, "img_size": (1, 5), "patch_size": 1}
    oracle = timm.models.VisionTransformer(**kwargs).double().eval()
    names = {"attention_norm": "norm1", "query_key_value": "attn.qkv", "project": "attn.proj", "mlp_norm": "norm2"}
    state = {"patch_embed.proj.weight": oracle.patch_embed.proj.weight, "patch_embed.proj.bias": torch.zeros(16)}
    for key, value in own.state_dict().items():
        for name, given in {**names, "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}.items():
            key = key.replace(f".{name}.", f".{given}.")
        state[key.replace("class_token", "cls_token").replace("positions", "pos_embed")] = torch.rand_like(value) - 0.5
        own.get_parameter(key_of(own, value)).data.copy_(state[list(state)[-1]])
    oracle.load_state_dict(state)
    tokens = torch.randn(3, 5, 16, dtype=torch.float64)
    oracle.patch_embed = torch.nn.Identity()  # tokens go in directly
    torch.testing.assert_close(own(tokens), oracle(tokens))


def key_of(module, value):
    return next(key for key, own in module.state_dict().items() if own.data_ptr() == value.data_ptr())


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(20_000, 2, 3)
    y = drop(x)
    kept = y[:, 0, 0] != 0
    assert torch.equal(y, kept[:, None, None] * x / 0.75)
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=4 * math.sqrt(0.75 * 0.25 / 20_000))
    assert torch.equal(drop.eval()(x), x)


def test_drawn_scores_have_the_distribution_of_the_head():
    torch.manual_seed(0)
    mu, log_variance = torch.tensor([1.0, -2.0]), torch.tensor([0.0, math.log(9.0)])
    drawn = draw_scores(mu.expand(40_000, 2), log_variance.expand(40_000, 2))
    torch.testing.assert_close(drawn.mean(0), mu, atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.std(0), torch.tensor([1.0, 3.0]), atol=0.06, rtol=0)


def test_training_draws_and_evaluation_gives_the_mean():
    model = small().eval()
    with torch.no_grad():
        model.head.log_variance.bias.fill_(2.0)
    x = images()
    scores, details = model.forward_with_details(x)
    assert torch.equal(scores, details["mu"])
    assert torch.equal(scores, model(x))
    assert details["log_variance"].shape == (2, 7)
    model.train()
    seeds = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seeds.append(model(x))
    assert torch.equal(seeds[0], seeds[1])
    assert not torch.allclose(seeds[0], seeds[2])
    scores, details = model.forward_with_details(x)
    scores.sum().backward()
    assert model.head.log_variance.weight.grad.abs().sum() > 0  # the noise reaches the variance


def test_details_and_scores_are_means_over_valid_images():
    model, x = small().eval(), images(4)
    lengths = torch.tensor([4, 2])
    steps = [model.forward_with_details(step[None])[1] for step in x]
    scores, details = model.forward_with_details(x, lengths=lengths)
    torch.testing.assert_close(model.forward_steps(x), torch.stack([step["mu"] for step in steps]))
    for key, value in details.items():
        first = torch.stack([step[key][0] for step in steps]).mean(0)
        second = torch.stack([step[key][1] for step in steps[:2]]).mean(0)
        torch.testing.assert_close(value, torch.stack([first, second]))
    assert torch.equal(scores, details["mu"])


def test_a_linear_head_has_no_details():
    scores, details = small("poster_v2").eval().forward_with_details(images())
    assert scores.shape == (2, 7)
    assert details == {}
    assert isinstance(small().head, VariationalHead)


@pytest.mark.parametrize("freeze_norm", [False, True])
def test_frozen_landmarks(freeze_norm):
    model = small(freeze_norm=freeze_norm).train()
    before = {key: value.clone() for key, value in model.landmarks.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(images()).square().sum().backward()
    optimizer.step()
    moved = {key for key, value in model.landmarks.state_dict().items() if not torch.equal(value, before[key])}
    assert all("running" in key or "num_batches" in key for key in moved)
    assert bool(moved) is not freeze_norm  # the statistics follow the batches unless they are frozen as well
    assert all(parameter.grad is not None for parameter in model.backbone.parameters())


@pytest.mark.parametrize("size", [(32, 64), (64, 80), (224, 112), (64,)])
def test_sizes_that_the_levels_do_not_divide_are_refused(size):
    with pytest.raises(ShapeError, match=r"size = \(.*multiples of 32, at least 64"):
        small(size=size)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"widths": (4, 8)}, ConfigError, r"widths = \[4, 8\]; expected three values"),
        ({"drop_path": (0.0, 0.5, 1.0)}, ConfigError, r"drop_path = .*expected probabilities from 0 to below 1"),
        ({"heads": (2, 3, 2)}, ShapeError, "8 channels with 3 heads; expected channels that are a multiple"),
        ({"vit_heads": 5}, ShapeError, "16 channels with 5 heads"),
        ({"head": "vae"}, SnnferError, "head = 'vae'; expected one of linear, vich"),
        ({"depths": (1, 0, 1)}, SnnferError, "a depth of the image branch = 0"),
        ({"landmark_depths": (0, 1, 1)}, SnnferError, "a depth of the landmark branch = 0"),
        ({"vit_depth": 0}, SnnferError, "vit_depth = 0"),
        ({"n_classes": 0}, SnnferError, "n_classes = 0"),
    ],
)
def test_impossible_arguments_are_refused(kwargs, error, message):
    with pytest.raises(error, match=message):
        small(**kwargs)
