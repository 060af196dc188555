"""Weights under the names of the public POSTER++ and POSTER-Var code.

The public networks are written down here as a table of names and shapes, and as a forward pass that reads such a table
step by step with torch's functions alone.
"""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from snnfer.errors import CheckpointError
from snnfer.models import create_model
from snnfer.models.poster import load_authors_state

FULL = {"widths": (64, 128, 256), "depths": (3, 4, 14), "marks": (4, 6, 2), "heads": (2, 4, 8), "dim": 768, "side": 224}
TINY = {"widths": (4, 6, 8), "depths": (1, 2, 1), "marks": (1, 2, 1), "heads": (2, 3, 2), "dim": 16, "side": 64}
KINDS = ("poster_v2", "poster_var")


def conv(name, out, inp, k=1, *, bias=False):
    return {f"{name}.weight": (out, inp, k, k), **({f"{name}.bias": (out,)} if bias else {})}


def linear(name, out, inp):
    return {f"{name}.weight": (out, inp), f"{name}.bias": (out,)}


def affine(name, c):
    return {f"{name}.weight": (c,), f"{name}.bias": (c,)}


def norm(name, c):
    return affine(name, c) | {
        f"{name}.running_mean": (c,),
        f"{name}.running_var": (c,),
        f"{name}.num_batches_tracked": (),
    }


def linear_unit(name, out, inp, k=1):
    return conv(f"{name}.conv", out, inp, k) | norm(f"{name}.bn", out)


def unit(name, out, inp, k=1):
    return linear_unit(name, out, inp, k) | {f"{name}.prelu.weight": (out,)}


def landmark_table(widths, marks):
    a, b, c = widths

    def block(name, inp, expanded, out):
        inner = unit(f"{name}.conv", expanded, inp) | unit(f"{name}.conv_dw", expanded, 1, 3)
        return inner | linear_unit(f"{name}.project", out, expanded)

    table = unit("conv1", a, 3, 3) | unit("conv2_dw", a, 1, 3)
    stages = (
        ("conv_23", "conv_3", a, a, 2 * a),
        ("conv_34", "conv_4", a, b, 2 * b),
        ("conv_45", "conv_5", b, b, 4 * b),
    )
    for (strided, residual, inp, out, expanded), depth in zip(stages, marks, strict=True):
        table |= block(strided, inp, expanded, out)
        for i in range(depth):
            table |= block(f"{residual}.model.{i}", out, 2 * out, out)
    table |= unit("conv_6_sep", 2 * c, b)
    tail = linear_unit("output_layer.conv_6_dw", 2 * c, 1, 7) | {"output_layer.linear.weight": (136, 2 * c)}
    return table | tail | norm("output_layer.bn", 136)


def backbone_table(widths, depths):
    table = conv("input_layer.0", widths[0], 3, 3) | norm("input_layer.1", widths[0])
    table |= {"input_layer.2.weight": (widths[0],)}
    inputs = widths[0]
    for body, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        for i in range(depth):
            name = f"body{body}.{i}"
            table |= norm(f"{name}.res_layer.0", inputs) | conv(f"{name}.res_layer.1", width, inputs, 3)
            table |= {f"{name}.res_layer.2.weight": (width,)} | conv(f"{name}.res_layer.3", width, width, 3)
            table |= norm(f"{name}.res_layer.4", width)
            if inputs != width:
                table |= conv(f"{name}.shortcut_layer.0", width, inputs) | norm(f"{name}.shortcut_layer.1", width)
            inputs = width
    return table | norm("output_layer.0", 512) | linear("output_layer.3", 512, 25088) | norm("output_layer.4", 512)


def poster_table(kind, *, widths, depths, marks, heads, dim, side, n_classes=7):
    variational = kind == "poster_var"
    table = {f"face_landback.{key}": shape for key, shape in landmark_table(widths, marks).items()}
    table |= {f"ir_back.{key}": shape for key, shape in backbone_table(widths, depths).items()}
    for i, (width, n_heads) in enumerate(zip(widths, heads, strict=True), start=1):
        window = side // 2 ** (i + 2)
        table |= {f"attn{i}.relative_position_bias_table": ((2 * window - 1) ** 2, n_heads)}
        table |= {f"attn{i}.relative_position_index": (window**2, window**2)}
        table |= linear(f"attn{i}.qkv", 2 * width, width) | linear(f"attn{i}.proj", width, width)
        table |= affine(f"window{i}.norm", width) | conv(f"conv{i}", width, width, 3, bias=True)
        table |= {f"ffn{i}.gamma1": (width,), f"ffn{i}.gamma2": (width,)} | affine(f"ffn{i}.norm", width)
        table |= linear(f"ffn{i}.mlp.fc1", 4 * width, width) | linear(f"ffn{i}.mlp.fc2", width, 4 * width)
    table |= conv("last_face_conv", widths[2], 2 * widths[2], 3, bias=True)
    table |= conv("embed_q.0", dim, widths[0], 3, bias=True)
    table |= conv(f"embed_q.{2 if variational else 1}", dim, dim, 3, bias=True)
    table |= conv("embed_k.0", dim, widths[1], 3, bias=True)
    table |= conv("embed_v.0" if variational else "embed_v.proj", dim, widths[2], bias=True)
    if variational:
        table |= {"level_embeds": (3, 1, dim)} | affine("fusion_norm", dim)
    return table | {f"VIT.{key}": shape for key, shape in transformer_table(variational, dim, side, n_classes).items()}


def transformer_table(variational, dim, side, n_classes):
    length = 1 + 3 * (side // 32) ** 2
    table = {"cls_token": (1, 1, dim), "pos_embed": (1, length, dim)}
    for i in range(2):
        name = f"blocks.{i}"
        table |= affine(f"{name}.norm1", dim) | affine(f"{name}.norm2", dim)
        table |= {f"{name}.conv.weight": (length, length, 1), f"{name}.conv.bias": (length,)}
        table |= linear(f"{name}.attn.qkv", 3 * dim, dim) | linear(f"{name}.attn.proj", dim, dim)
        table |= linear(f"{name}.mlp.fc1", 4 * dim, dim) | linear(f"{name}.mlp.fc2", dim, 4 * dim)
    table |= affine("norm", dim) | linear("se_block.linear1", dim, dim) | linear("se_block.linear2", dim, dim)
    table |= linear("head.linear", n_classes, dim)
    if variational:
        table |= linear("head_vae.fc_mu", n_classes, dim) | linear("head_vae.fc_logvar", n_classes, dim)
        table |= norm("head_vae.batchnorm", dim) | affine("head_vae.layernorm", dim)
    unused = conv("patch_embed.proj", 768, 256, bias=True) | {"eca_block.conv.weight": (1, 1, 5)}
    unused |= conv("CON1", 768, 256) | linear("IRLinear1", 768, 1024) | linear("IRLinear2", 512, 768)
    return table | unused


def fill(table, seed=0):
    """Random tensors of these shapes, each of a size that keeps signals alive."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(name, shape):
        if name.endswith("num_batches_tracked"):
            return torch.tensor(3)
        noise = torch.rand(shape, generator=generator, dtype=torch.float64)
        if name.endswith("running_var") or len(shape) == 1:  # scales, biases, variances
            return 0.5 + noise
        if name.endswith(("running_mean", "pos_embed", "cls_token", "bias_table", "level_embeds")):
            return noise - 0.5
        return (noise - 0.5) * 4 / math.sqrt(math.prod(shape[1:]))

    return {name: tensor(name, shape) for name, shape in table.items()}


class Run:
    """Forward pass of the public networks from their state dict."""

    def __init__(self, state, kind, sizes):
        self.state, self.variational, self.sizes = state, kind == "poster_var", sizes

    def conv(self, name, x, stride=1, padding=0, groups=1):
        return F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), stride, padding, 1, groups)

    def norm(self, name, x):
        mean, var, weight, bias = (
            self.state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def layer_norm(self, name, x, eps):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
        return x * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def linear(self, name, x):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def prelu(self, name, x):
        return torch.where(x > 0, x, x * self.state[f"{name}.weight"][:, None, None])

    def unit(self, name, x, **kwargs):
        x = self.norm(f"{name}.bn", self.conv(f"{name}.conv", x, **kwargs))
        return self.prelu(f"{name}.prelu", x) if f"{name}.prelu.weight" in self.state else x

    def depthwise(self, name, x, stride=1):
        y = self.unit(f"{name}.conv", x)
        y = self.unit(f"{name}.conv_dw", y, stride=stride, padding=1, groups=y.shape[1])
        y = self.unit(f"{name}.project", y)
        return y if stride == 2 else x + y

    def landmarks(self, x, prefix="face_landback."):
        x = self.unit(f"{prefix}conv1", x, stride=2, padding=1)
        x = self.unit(f"{prefix}conv2_dw", x, padding=1, groups=x.shape[1])
        levels = []
        for strided, residual, depth in zip((23, 34, 45), (3, 4, 5), self.sizes["marks"], strict=True):
            x = self.depthwise(f"{prefix}conv_{strided}", x, stride=2)
            for i in range(depth):
                x = self.depthwise(f"{prefix}conv_{residual}.model.{i}", x)
            levels.append(x)
        return [*levels[:2], self.unit(f"{prefix}conv_6_sep", x)]

    def backbone(self, x, prefix="ir_back."):
        x = self.conv(f"{prefix}input_layer.0", x, padding=1)
        x = self.prelu(f"{prefix}input_layer.2", self.norm(f"{prefix}input_layer.1", x))
        levels = []
        for body, depth in enumerate(self.sizes["depths"], start=1):
            for i in range(depth):
                name, stride = f"{prefix}body{body}.{i}", 2 if i == 0 else 1
                y = self.conv(f"{name}.res_layer.1", self.norm(f"{name}.res_layer.0", x), padding=1)
                y = self.conv(f"{name}.res_layer.3", self.prelu(f"{name}.res_layer.2", y), stride, 1)
                y = self.norm(f"{name}.res_layer.4", y)
                if f"{name}.shortcut_layer.0.weight" in self.state:
                    x = self.norm(f"{name}.shortcut_layer.1", self.conv(f"{name}.shortcut_layer.0", x, stride))
                else:
                    x = x[:, :, ::stride, ::stride]
                x = x + y
            levels.append(x)
        return levels

    def bias(self, i, window):
        """Bias of each pair of pixels, looked up one pair at a time."""
        table = self.state[f"attn{i}.relative_position_bias_table"]
        out = table.new_empty(table.shape[1], window**2, window**2)
        for a in range(window**2):
            for b in range(window**2):
                rows, columns = a // window - b // window, a % window - b % window
                out[:, a, b] = table[(rows + window - 1) * (2 * window - 1) + columns + window - 1]
        return out

    def fuse(self, i, image, marks):
        x = self.conv(f"conv{i}", image, 2, 1)
        n, width, window, _ = x.shape
        x = self.layer_norm(f"window{i}.norm", x.flatten(2).transpose(1, 2), 1e-5)  # [N, pixels, width]
        n_heads = self.sizes["heads"][i - 1]
        d = width // n_heads
        q = marks.flatten(2).transpose(1, 2)
        kv = self.linear(f"attn{i}.qkv", x)
        bias, heads = self.bias(i, window), []
        for h in range(n_heads):
            own = slice(h * d, (h + 1) * d)
            k, v = kv[..., own], kv[..., width + h * d : width + (h + 1) * d]
            weights = (torch.einsum("nad,nbd->nab", q[..., own], k) / math.sqrt(d) + bias[h]).softmax(-1)
            heads.append(torch.einsum("nab,nbd->nad", weights, v))
        x = x + self.state[f"ffn{i}.gamma1"] * self.linear(f"attn{i}.proj", torch.cat(heads, -1))
        y = F.gelu(self.linear(f"ffn{i}.mlp.fc1", self.layer_norm(f"ffn{i}.norm", x, 1e-5)))
        x = x + self.state[f"ffn{i}.gamma2"] * self.linear(f"ffn{i}.mlp.fc2", y)
        return x.transpose(1, 2).reshape(n, width, window, window)

    def embed(self, levels):
        gelu = F.gelu if self.variational else lambda x: x
        fine = gelu(self.conv("embed_q.0", levels[0], 2, 1))
        fine = gelu(self.conv("embed_q.2" if self.variational else "embed_q.1", fine, 2, 1))
        middle = gelu(self.conv("embed_k.0", levels[1], 2, 1))
        coarse = gelu(self.conv("embed_v.0" if self.variational else "embed_v.proj", levels[2]))
        tokens = [level.flatten(2).transpose(1, 2) for level in (fine, middle, coarse)]
        if not self.variational:
            return torch.cat(tokens, 1)
        tokens = [level + self.state["level_embeds"][i] for i, level in enumerate(tokens)]
        return self.layer_norm("fusion_norm", torch.cat(tokens, 1), 1e-5)

    def transformer(self, tokens):
        x = (
            torch.cat([self.state["VIT.cls_token"].expand(len(tokens), -1, -1), tokens], 1)
            + self.state["VIT.pos_embed"]
        )
        for i in range(2):
            name, width = f"VIT.blocks.{i}", x.shape[-1]
            attended, _ = F.multi_head_attention_forward(
                *[self.layer_norm(f"{name}.norm1", x, 1e-6).transpose(0, 1)] * 3,
                width,
                8,
                self.state[f"{name}.attn.qkv.weight"],
                self.state[f"{name}.attn.qkv.bias"],
                None,
                None,
                False,
                0.0,
                self.state[f"{name}.attn.proj.weight"],
                self.state[f"{name}.attn.proj.bias"],
                training=False,
                need_weights=False,
            )
            x = x + attended.transpose(0, 1)
            y = F.gelu(self.linear(f"{name}.mlp.fc1", self.layer_norm(f"{name}.norm2", x, 1e-6)))
            x = x + self.linear(f"{name}.mlp.fc2", y)
        return self.layer_norm("VIT.norm", x, 1e-6)[:, 0]

    def __call__(self, x, head):
        half = x[:, :, ::2, ::2]
        marks = self.landmarks(half)
        marks[2] = self.conv("last_face_conv", marks[2], padding=1)
        images = self.backbone(half)
        v = self.transformer(self.embed([self.fuse(i + 1, images[i], marks[i]) for i in range(3)]))
        gate = self.linear("VIT.se_block.linear2", self.linear("VIT.se_block.linear1", v).relu()).sigmoid()
        return self.linear(head, v * gate)


def tiny_model(kind, **kwargs):
    sizes = {"size": (64, 64), "widths": TINY["widths"], "depths": TINY["depths"], "heads": TINY["heads"]}
    return create_model(kind, **sizes, landmark_depths=TINY["marks"], embed_dim=TINY["dim"], **kwargs).double().eval()


@pytest.fixture
def image():
    return torch.rand(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


@pytest.fixture(scope="module")
def states():
    return {kind: fill(poster_table(kind, **TINY)) for kind in KINDS}


def test_the_tables_are_those_of_the_public_networks():
    assert len(poster_table("poster_var", **FULL)) == 761
    buffers = ("running_mean", "running_var", "num_batches_tracked", "relative_position_index")
    shapes = [shape for name, shape in poster_table("poster_v2", **FULL).items() if not name.endswith(buffers)]
    assert sum(math.prod(shape) for shape in shapes) == 58_316_594


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_the_full_networks_is_found(kind):
    with torch.device("meta"):
        model = create_model(kind)
        load_authors_state(model, {name: torch.empty(shape) for name, shape in poster_table(kind, **FULL).items()})


@pytest.mark.parametrize(
    ("kind", "kwargs", "head"),
    [
        ("poster_v2", {}, "VIT.head.linear"),
        ("poster_var", {}, "VIT.head_vae.fc_mu"),
        ("poster_var", {"head": "linear"}, "VIT.head.linear"),
    ],
)
def test_whole_networks(image, states, kind, kwargs, head):
    model, state = tiny_model(kind, **kwargs), states[kind]
    load_authors_state(model, state)
    expected = Run(state, kind, TINY)(image[0], head)
    assert expected.std() > 1e-3
    torch.testing.assert_close(model(image), expected)


@pytest.mark.parametrize("wrap", ["module", "state_dict", "model"])
def test_ways_in_which_a_state_is_saved(states, wrap):
    plain, wrapped = tiny_model("poster_v2"), tiny_model("poster_v2")
    state = states["poster_v2"]
    load_authors_state(plain, state)
    in_module = {f"module.{key}": value for key, value in state.items()}
    load_authors_state(wrapped, in_module if wrap == "module" else {wrap: in_module, "epoch": 3})
    own = plain.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in wrapped.state_dict().items())


def test_the_log_variance_is_that_of_the_public_head(image, states):
    model = tiny_model("poster_var")
    load_authors_state(model, states["poster_var"])
    expected = Run(states["poster_var"], "poster_var", TINY)(image[0], "VIT.head_vae.fc_logvar")
    torch.testing.assert_close(model.forward_with_details(image)[1]["log_variance"], expected)


@pytest.mark.parametrize("whole", [True, False])
def test_branches_alone_and_from_whole_checkpoints(image, states, whole):
    state, half = states["poster_v2"], image[0, :, :, ::2, ::2]
    run, model = Run(state, "poster_v2", TINY), tiny_model("poster_v2")
    for part, prefix, expected in (
        (model.landmarks, "face_landback.", run.landmarks(half)),
        (model.backbone, "ir_back.", run.backbone(half)),
    ):
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        load_authors_state(part, state if whole else own)
        for level, value in zip(part(half), expected, strict=True):
            torch.testing.assert_close(level, value)


def test_files_of_old_versions_of_torch_have_no_counters(image, states):
    state = {key: value for key, value in states["poster_v2"].items() if not key.endswith("num_batches_tracked")}
    model = tiny_model("poster_v2")
    load_authors_state(model, state)
    expected = Run(state, "poster_v2", TINY)(image[0], "VIT.head.linear")
    torch.testing.assert_close(model(image), expected)


def test_level_embeddings_are_left_out_only_where_they_are_zero(image, states):
    model, state = tiny_model("poster_var", level_embeddings=False), dict(states["poster_var"])
    with pytest.raises(CheckpointError, match=r"1 unexpected \(level_embeds\).*level_embeddings=True\)"):
        load_authors_state(model, state)
    state["level_embeds"] = torch.zeros(3, 1, TINY["dim"])
    load_authors_state(model, state)
    expected = Run(state, "poster_var", TINY)(image[0], "VIT.head_vae.fc_mu")
    torch.testing.assert_close(model(image), expected)


def branch(state, prefix):
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


@pytest.mark.parametrize(
    ("kind", "kwargs", "change", "message"),
    [
        ("poster_v2", {}, lambda s: s | {"VIT.extra.weight": torch.ones(1)}, r"1 unexpected \(VIT\.extra\.weight\)"),
        ("poster_v2", {}, lambda s: {k: v for k, v in s.items() if k != "conv2.bias"}, r"1 missing \(conv2\.bias\)"),
        ("poster_v2", {"n_classes": 8}, lambda s: s, r"head\.linear\.weight \[7, 16\] instead.*n_classes=7\)"),
        ("poster_var", {}, lambda s: s, r"embed_v\.proj\.weight.*fix: create_model\('poster_v2'\)"),
        ("poster_v2", {}, lambda s: branch(s, "ir_back."), r"load them into model\.backbone"),
        ("poster_v2", {}, lambda s: branch(s, "face_landback."), r"load them into model\.landmarks"),
        ("poster_v2", {}, lambda s: [1], "the weights are a list"),
        ("poster_v2", {}, lambda s: {"epoch": 3}, "the weights hold other things than tensors"),
        ("evtransfer", {}, lambda s: s, "a WindowClassifier; expected a model made by 'poster_v2' or 'poster_var'"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_changed(states, kind, kwargs, change, message):
    small = {"size": (16, 16), "width": 2}
    model = create_model(kind, **small) if kind == "evtransfer" else tiny_model(kind, **kwargs)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointError, match=message):
        load_authors_state(model, change(states["poster_v2"]))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_weights_of_poster_var_do_not_go_into_poster_v2(states):
    with pytest.raises(CheckpointError, match=r"fix: create_model\('poster_var'\)"):
        load_authors_state(tiny_model("poster_v2"), states["poster_var"])


def test_a_branch_of_another_model_names_where_it_belongs(states):
    with pytest.raises(CheckpointError, match=r"load them into model\.landmarks"):
        load_authors_state(tiny_model("poster_v2").backbone, branch(states["poster_v2"], "face_landback."))


def test_from_a_file(states, tmp_path):
    own = branch(states["poster_v2"], "ir_back.")
    torch.save({"state_dict": own, "epoch": 3}, tmp_path / "ir50.pth")
    backbone = tiny_model("poster_v2").backbone
    load_authors_state(backbone, tmp_path / "ir50.pth")
    assert torch.equal(backbone.stem[0].weight, own["input_layer.0.weight"])


def test_networks_start_from_files_and_are_built_again_without_them(states, tmp_path):
    paths = {}
    for part, prefix in (("backbone", "ir_back."), ("landmark", "face_landback.")):
        torch.save(branch(states["poster_var"], prefix), tmp_path / f"{part}.pth")
        paths[f"{part}_weights"] = str(tmp_path / f"{part}.pth")
    model, expected = tiny_model("poster_var", **paths), tiny_model("poster_var")
    load_authors_state(expected.backbone, states["poster_var"])
    load_authors_state(expected.landmarks, states["poster_var"])
    for part in ("backbone", "landmarks"):
        values = getattr(expected, part).state_dict()
        assert all(torch.allclose(own, values[key]) for key, own in getattr(model, part).state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.landmarks.parameters())
    assert model.config["backbone_weights"] == model.config["landmark_weights"] == ""
    with pytest.raises(CheckpointError, match=r"no file at 'nowhere\.pth'.*fix: check the path"):
        tiny_model("poster_var", backbone_weights="nowhere.pth")
