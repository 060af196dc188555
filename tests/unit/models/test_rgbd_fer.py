"""The RGB-D network against its parts written out, timm's trunk, and the counts of its equation."""

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from snnfer.errors import CheckpointError, ConfigError, ShapeError
from snnfer.models import create_model

TINY = {"n_classes": 4, "size": (64, 64), "backbone": "test_efficientnet", "width": 16, "depth": 2, "heads": 2}


def make_model(**kwargs):
    torch.manual_seed(0)
    model = create_model("rgbd_fer", **{**TINY, **kwargs})
    for _ in range(20):  # running statistics that differ from their start
        model(torch.rand(1, 4, kwargs.get("in_channels", 4), 64, 64))
    return model.eval()


@pytest.fixture(scope="module")
def x():
    return torch.rand(3, 2, 4, 64, 64, generator=torch.Generator().manual_seed(1))


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


class TestCounts:
    """7,202,562: timm's 7,700,994 without conv_head (352 x 1408) and its normalisation (2 x 1408)."""

    def test_parts_of_the_full_size(self):
        with torch.device("meta"):
            model = create_model("rgbd_fer")
        trunk = 7_700_994 - 352 * 1408 - 2 * 1408
        lanet = (352 * 44 + 44) + 2 * 44 + (44 + 1) + 2
        block = 4 * 768 + (768 * 2304 + 2304) + (768 * 768 + 768) + (768 * 3072 + 3072) + (3072 * 768 + 768)
        vit = (352 * 768 + 768) + 768 + 82 * 768 + 4 * block + 2 * 768
        assert n_parameters(model.encoder["rgb"]) == n_parameters(model.encoder["depth"]) == trunk == 7_202_562
        assert n_parameters(model.fusion) == 8 * lanet == 125_336
        assert n_parameters(model.pool) == vit == 271_104 + 28_416_768
        assert n_parameters(model.classifier) == (768 * 768 + 768) + (768 * 7 + 7)

    @pytest.mark.parametrize(
        ("ablation", "expected"),
        [
            ("no_attention", 43_814_307 - 125_336),
            ("no_vit", 14_405_124 + 125_336 + (352 * 768 + 768) + (768 * 7 + 7)),
            ("sum_fusion", 14_405_124 + (352 * 768 + 768) + (768 * 7 + 7)),
            ("rgb_only", 43_814_307 - 7_202_562 - 125_336 // 2),
        ],
    )
    def test_ablations(self, ablation, expected):
        with torch.device("meta"):
            model = create_model("rgbd_fer", ablation=ablation, in_channels=3 if ablation == "rgb_only" else 4)
        assert n_parameters(model) == expected

    def test_multiply_accumulates(self):
        with torch.device("meta"):
            model = create_model("rgbd_fer").eval()
            with FlopCounterMode(display=False) as counter:
                model(torch.empty(1, 1, 4, 260, 260))
        tokens, width = 82, 768
        block = 12 * width**2 * tokens + 2 * tokens**2 * width
        masks = 2 * 4 * 81 * (352 * 44 + 44)
        expected = 2 * 952_008_976 + masks + 81 * 352 * width + 4 * block + width * width + 7 * width
        assert counter.get_total_flops() == 2 * expected
        assert round(expected / 1e9, 2) == 4.30


def trunk_features(model, name, images):
    """Features of a trunk in a whole network of timm."""
    network = timm.create_model("test_efficientnet")
    missing = network.load_state_dict(model.encoder[name].state_dict(), strict=False).missing_keys
    assert {key.split(".")[0] for key in missing} == {"conv_head", "bn2", "classifier"}
    network.eval()
    return network.blocks(network.bn1(network.conv_stem(images)))


def mask_of(model, name, features):
    masks = [chain(features) for chain in model.fusion.masks[name].masks]
    return torch.maximum(torch.maximum(masks[0], masks[1]), torch.maximum(masks[2], masks[3]))


def written_out(model, images):
    """Embedding of images ``[N, 4, H, W]``, equation by equation."""
    config = model.config
    rgb = trunk_features(model, "rgb", images[:, :3])
    depth = trunk_features(model, "depth", images[:, [3, 3, 3]]) if config["ablation"] != "rgb_only" else None
    if config["ablation"] in ("sum_fusion", "no_attention"):
        fused = rgb + depth
    elif config["ablation"] == "rgb_only":
        fused = mask_of(model, "rgb", rgb) * rgb
    elif config["fusion"] == "sum":
        fused = mask_of(model, "rgb", rgb) * rgb + mask_of(model, "depth", depth) * depth
    else:
        fused = (mask_of(model, "rgb", rgb) + mask_of(model, "depth", depth)) / 2 * rgb
    if config["ablation"] in ("sum_fusion", "no_vit"):
        return fused.flatten(2).mean(2)
    vit = model.pool
    tokens = torch.einsum("nchw,dc->nhwd", fused, vit.patch_embed.proj.weight[:, :, 0, 0]).flatten(1, 2)
    tokens = tokens + vit.patch_embed.proj.bias
    tokens = torch.cat([vit.cls_token.expand(len(tokens), -1, -1), tokens], dim=1) + vit.pos_embed
    for block in vit.blocks:
        tokens = transformer_block(block, tokens, heads=config["heads"])
    return vit.norm(tokens)[:, 0]


def transformer_block(block, tokens, *, heads):
    """Pre-norm: ``x + attention(norm(x))``, then ``x + mlp(norm(x))``."""
    query, key, value = (part.unflatten(2, (heads, -1)).transpose(1, 2)
                         for part in block.attn.qkv(block.norm1(tokens)).chunk(3, dim=2))  # fmt: skip
    weights = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(-1)
    tokens = tokens + block.attn.proj((weights @ value).transpose(1, 2).flatten(2))
    hidden = torch.nn.functional.gelu(block.mlp.fc1(block.norm2(tokens)))
    return tokens + block.mlp.fc2(hidden)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"fusion": "sum"},
        {"ablation": "no_vit"},
        {"ablation": "no_attention"},
        {"ablation": "sum_fusion"},
        {"ablation": "rgb_only", "in_channels": 3},
    ],
    ids=str,
)
@torch.no_grad()
def test_the_network_is_its_equations(x, kwargs):
    model = make_model(**kwargs)
    images = x[:, :, : model.config["in_channels"]]
    scores, details = model.forward_with_details(images, lengths=torch.tensor([3, 2]))
    steps = torch.stack([written_out(model, step) for step in images])
    torch.testing.assert_close(
        details["embedding"], torch.stack([steps[:, 0].mean(0), steps[:2, 1].mean(0)]), rtol=1e-4, atol=1e-5
    )
    first, relu, last = model.classifier
    assert isinstance(relu, torch.nn.ReLU)
    each = last(first(steps).clamp(min=0))
    torch.testing.assert_close(model.forward_steps(images), each, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores, torch.stack([each[:, 0].mean(0), each[:2, 1].mean(0)]), rtol=1e-4, atol=1e-5)


def test_depth_matters_except_without_it(x):
    model, other = make_model(), x.clone()
    other[:, :, 3] = 0
    assert not torch.allclose(model(x), model(other), atol=1e-4)


class TestTrunkWeights:
    """hsemotion's file is the state dict of a whole timm network whose classifier is a chain of one layer."""

    def state(self):
        torch.manual_seed(5)
        state = timm.create_model("test_efficientnet").state_dict()
        state = {key.replace("classifier.", "classifier.0."): value for key, value in state.items()}
        return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}

    def test_both_trunks(self):
        model, state = make_model(), self.state()
        rest = {key: value.clone() for key, value in model.state_dict().items() if not key.startswith("encoder.")}
        model.load_trunks({"state_dict": {f"module.{key}": value for key, value in state.items()}})
        for trunk in model.encoder.values():
            for key, value in trunk.state_dict().items():
                assert key.endswith("num_batches_tracked") or torch.equal(value, state[key]), key
        for key, value in rest.items():
            assert torch.equal(model.state_dict()[key], value)

    def test_one_trunk(self):
        model, state = make_model(), self.state()
        before = model.encoder["depth"].conv_stem.weight.clone()
        model.load_trunks(state, modalities=["rgb"])
        assert torch.equal(model.encoder["rgb"].conv_stem.weight, state["conv_stem.weight"])
        assert torch.equal(model.encoder["depth"].conv_stem.weight, before)

    def test_from_a_file(self, tmp_path):
        state = self.state()
        torch.save(state, tmp_path / "state.pt")
        model = create_model("rgbd_fer", **TINY, backbone_weights=str(tmp_path / "state.pt"))
        for trunk in model.encoder.values():
            assert torch.equal(trunk.conv_stem.weight, state["conv_stem.weight"])
        assert model.config["backbone_weights"] == ""
        create_model(**model.config)

    def test_a_whole_pickled_network_is_refused(self, tmp_path):
        torch.save(timm.create_model("test_efficientnet"), tmp_path / "network.pt")
        with pytest.raises(CheckpointError, match="expected a dictionary of tensors"):
            create_model("rgbd_fer", **TINY, backbone_weights=str(tmp_path / "network.pt"))

    def test_what_does_not_fit_changes_nothing(self):
        model, state = make_model(), self.state()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        broken = {**state, "conv_stem.weight": torch.zeros(4, 3, 3, 3), "extra": torch.zeros(1)}
        del broken["bn1.bias"]
        with pytest.raises(CheckpointError, match="1 missing.*bn1.bias.*1 unexpected.*extra.*1 of another shape"):
            model.load_trunks(broken)
        with pytest.raises(ConfigError, match=r"modalities = \['thermal'\]; expected trunks of the model: rgb, depth"):
            model.load_trunks(state, modalities=["thermal"])
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class TestWrongInput:
    def test_depth_without_rgb_and_the_other_way_round(self, x):
        model = make_model()
        for refuse in (lambda: create_model("rgbd_fer", in_channels=1), lambda: model(x[:, :, 3:])):
            with pytest.raises(ShapeError, match="1 channel for rgbd_fer; .* a depth map without its RGB image; fix: "):
                refuse()
        for refuse in (lambda: create_model("rgbd_fer", in_channels=3), lambda: model(x[:, :, :3])):
            with pytest.raises(ShapeError, match="an RGB image without its depth map; fix: .*ablation='rgb_only'"):
                refuse()

    def test_rgb_only_reads_no_depth(self, x):
        with pytest.raises(ShapeError, match="4 channels for rgbd_fer with ablation='rgb_only'; expected 3 channels"):
            create_model("rgbd_fer", ablation="rgb_only")
        with pytest.raises(ShapeError, match="fix: use the modality rgb"):
            make_model(ablation="rgb_only", in_channels=3)(x)

    @pytest.mark.parametrize(
        ("kwargs", "error", "message"),
        [
            ({"backbone": "efficientnet_b99"}, ConfigError, "backbone = 'efficientnet_b99'; expected the name of"),
            ({"backbone": "test_vit"}, ConfigError, "backbone = 'test_vit', which divides the size by 16"),
            ({"ablation": "no_depth"}, ConfigError, "ablation = 'no_depth'; expected one of none, no_vit"),
            ({"fusion": "max"}, ConfigError, "fusion = 'max'; expected one of average_rgb, sum"),
            ({"heads": 3}, ShapeError, "width = 16 with heads = 3"),
            ({"reduction": 65}, ShapeError, "reduction = 65; expected 1 to the 64 channels"),
        ],
    )
    def test_arguments(self, kwargs, error, message):
        with pytest.raises(error, match=message):
            create_model("rgbd_fer", **{**TINY, **kwargs})
