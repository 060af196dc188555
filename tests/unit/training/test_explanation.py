"""Grad-CAM against class activation maps, features in front of the last layer, and their maps."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from snnfer import create_model
from snnfer.errors import ConfigError, ShapeError
from snnfer.training.embedding import embed, embedding_map
from snnfer.training.explanation import grad_cam, last_convolution


class LinearNet(nn.Module):
    """Convolution, global average pooling, linear layer on every image; the mean over the valid images."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3, padding=1, stride=2)
        self.fc = nn.Linear(5, 4)

    def forward(self, x, *, lengths=None):
        scores = self.fc(self.conv(x.flatten(0, 1)).mean((2, 3))).unflatten(0, x.shape[:2])  # [T, N, K]
        lengths = torch.full(x.shape[1:2], len(x)) if lengths is None else lengths
        valid = torch.arange(len(x))[:, None] < lengths
        return (scores * valid[..., None]).sum(0) / lengths[:, None]


class LinearNet3d(nn.Module):
    """The same with a convolution that also goes over time, with stride 2."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(2, 5, 3, padding=1, stride=(2, 1, 1))
        self.fc = nn.Linear(5, 4)

    def forward(self, x, *, lengths=None):
        return self.fc(self.conv(x.movedim(0, 2)).mean((2, 3, 4)))


class InPlace(LinearNet):
    """Works in place on the output of its convolution."""

    def forward(self, x, *, lengths=None):
        maps = self.conv(x.flatten(0, 1)).relu_()
        return self.fc(maps.mean((2, 3))).unflatten(0, x.shape[:2]).mean(0)


def class_activation_map(maps, weights):
    """``ReLU(sum_c w_c A_c)`` of maps ``[t, N, C, h, w]`` and weights ``[N, C]`` of the classes: Zhou et al., 2016."""
    return functional.relu(torch.einsum("tnchw,nc->tnhw", maps, weights))


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.rand(4, 3, 2, 8, 6)


class TestAgainstClassActivationMaps:
    @pytest.mark.parametrize("target", [2, torch.tensor([0, 3, 1])])
    def test_per_image(self, x, target):
        model = LinearNet()
        weights = model.fc.weight[torch.as_tensor(target).expand(3)]  # [N, C]
        maps = model.conv(x.flatten(0, 1)).unflatten(0, (4, 3))
        expected = functional.interpolate(class_activation_map(maps, weights), (8, 6), mode="bilinear")
        expected = expected / expected.amax((0, 2, 3), keepdim=True)
        torch.testing.assert_close(grad_cam(model, x, target=target), expected)

    def test_over_time(self, x):
        model = LinearNet3d()
        maps = model.conv(x.movedim(0, 2))  # [N, C, 2, h, w]
        best = model(x).argmax(1)
        cam = class_activation_map(maps.movedim(2, 0), model.fc.weight[best])  # [2, N, h, w]
        expected = functional.interpolate(cam.movedim(1, 0)[:, None], (4, 8, 6), mode="trilinear")[:, 0].movedim(1, 0)
        torch.testing.assert_close(grad_cam(model, x), expected / expected.amax((0, 2, 3), keepdim=True))

    def test_layers_in_place_do_not_matter(self, x):
        model = InPlace()
        maps = model.conv(x.flatten(0, 1)).detach().requires_grad_()
        scores = model.fc(functional.relu(maps).mean((2, 3))).unflatten(0, (4, 3)).mean(0)
        (gradient,) = torch.autograd.grad(scores[:, 1].sum(), maps)
        cam = functional.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1)).unflatten(0, (4, 3))
        expected = functional.interpolate(cam, (8, 6), mode="bilinear")
        torch.testing.assert_close(
            grad_cam(model, x, target=1), expected / expected.amax((0, 2, 3), keepdim=True), rtol=1e-4, atol=1e-5
        )


def test_what_speaks_against_a_class_is_not_shown(x):
    model = LinearNet()
    with torch.no_grad():
        model.conv.weight.abs_()
        model.conv.bias.zero_()
        model.fc.weight.copy_(torch.tensor([[-1.0], [1], [1], [1]]).expand(4, 5))
    assert torch.equal(grad_cam(model, x, target=0), torch.zeros(4, 3, 8, 6))
    assert grad_cam(model, x, target=1).amax((0, 2, 3)).tolist() == [1.0, 1.0, 1.0]


def test_padding_is_not_shown_and_does_not_matter(x):
    model = LinearNet()
    cam = grad_cam(model, x, target=1, lengths=torch.tensor([4, 2, 3]))
    assert not cam[2:, 1].any()
    torch.testing.assert_close(cam[:2, 1:2], grad_cam(model, x[:2, 1:2], target=1))


def test_the_model_is_left_as_it_was(x):
    model = LinearNet().requires_grad_(False)
    before = x.clone()
    with torch.no_grad():
        cam = grad_cam(model, x)
    assert cam.max() == 1
    assert not cam.requires_grad
    assert not x.requires_grad
    assert torch.equal(x, before)
    assert not model.conv._forward_hooks
    assert all(parameter.grad is None for parameter in model.parameters())


MODELS = {
    "au_snn": {"channels": 4, "hidden": 32},
    "au_cnn3d": {"channels": [4, 8, 8, 8], "hidden": 16},
    "evtransfer_lstm": {"width": 4, "hidden": 16},
    "rgbd_fer": {"size": [64, 64], "backbone": "test_efficientnet", "width": 16, "depth": 1, "heads": 2},
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_every_kind(name):
    torch.manual_seed(0)
    model = create_model(name, **{"n_classes": 4, "size": [16, 16], **MODELS[name]}).eval()
    config = model.config
    x = torch.poisson(torch.full((9, 2, config["in_channels"], *config["size"]), 1.0)).to(torch.uint8)
    cam = grad_cam(model, x)
    assert cam.shape == (9, 2, *config["size"])
    assert cam.amin() == 0
    assert cam.amax((0, 2, 3)).tolist() == [1.0, 1.0]
    alone = grad_cam(model, x[:, 1:])
    torch.testing.assert_close(cam[:, 1:], alone, rtol=1e-3, atol=1e-4)


def test_masks_of_attention_are_no_features():
    model = create_model("cs3d", n_classes=4, in_channels=2, size=(32, 32), n_steps=16, channels=(4, 4, 4, 4, 4))
    assert "spatial" not in last_convolution(model)
    assert "temporal" not in last_convolution(model)
    assert grad_cam(model.eval(), torch.rand(16, 2, 2, 32, 32)).shape == (16, 2, 32, 32)


class Shrinking(nn.Module):
    """8 x 8, 4 x 4 and 2 x 2 positions."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(2, 2, 3, padding=1, stride=stride) for stride in (1, 2, 2))
        self.fc = nn.Linear(2, 4)

    def forward(self, x, *, lengths=None):
        steps = [self.c(self.b(self.a(step)).relu()).relu().mean((2, 3)) for step in x]  # one call per step
        return self.fc(torch.stack(steps)).mean(0)


class TestWhichLayer:
    @pytest.mark.parametrize(("size", "layer"), [(16, "c"), (8, "b"), (4, "a"), (2, "a")])
    def test_the_deepest_with_enough_positions(self, size, layer):
        torch.manual_seed(0)
        model, x = Shrinking(), torch.rand(3, 2, 2, size, size)
        assert torch.equal(grad_cam(model, x, target=1), grad_cam(model, x, target=1, layer=layer))
        assert grad_cam(model, x, target=1, layer="c").shape == (3, 2, size, size)  # a named one is taken as it is

    def test_the_layer_that_a_model_names_needs_positions_too(self):
        model = create_model("rgbd_fer", **MODELS["rgbd_fer"]).eval()
        x = torch.rand(1, 2, 4, 64, 64)
        assert not torch.equal(grad_cam(model, x), grad_cam(model, x, layer="fusion"))


class TestWrongInput:
    def test_layers(self, x):
        model = LinearNet()
        with pytest.raises(ConfigError, match="layer = 'convs'; expected .* such as 'conv'"):
            grad_cam(model, x, layer="convs")
        with pytest.raises(ConfigError, match=r"layer = 'fc' gives shape \[12, 4\]; expected feature maps"):
            grad_cam(model, x, layer="fc")
        model.unused = nn.Conv2d(2, 2, 1)
        with pytest.raises(ConfigError, match="layer = 'unused', which the model does not call"):
            grad_cam(model, x, layer="unused")

    def test_a_network_without_convolutions(self, x):
        with pytest.raises(ConfigError, match="a Linear without torch convolutions"):
            grad_cam(nn.Linear(2, 2), x)

    def test_targets(self, x):
        for target in (4, -1, torch.tensor([0, 1, 4]), torch.tensor([0, 1])):
            with pytest.raises(ShapeError, match="class indices from 0 to 3, one for all or one for each of 3 samples"):
                grad_cam(LinearNet(), x, target=target)

    def test_another_layout(self, x):
        with pytest.raises(ShapeError, match=r"shape \[3, 2, 8, 6\]; expected \[T, N, C, H, W\]"):
            grad_cam(LinearNet(), x[0])


class TestEmbed:
    def test_the_last_layer_gives_the_scores_of_it(self):
        model = create_model("au_cnn3d", size=(16, 16), channels=(4, 8, 8, 8), hidden=16).eval()
        x, lengths = torch.rand(12, 3, 2, 16, 16), torch.tensor([12, 9, 8])
        features = embed(model, x, lengths=lengths)
        torch.testing.assert_close(model.classifier[-1](features), model(x, lengths=lengths))
        assert embed(model, x[:, :0]).shape == (0, 16)

    def test_of_every_step_the_valid_ones_count(self):
        model = create_model("evtransfer", n_classes=4, size=(16, 16), width=4, hidden=16).eval()
        x, lengths = torch.rand(6, 2, 3, 16, 16), torch.tensor([6, 4])
        features = embed(model, x, lengths=lengths)
        last = next(module for module in reversed(list(model.modules())) if isinstance(module, nn.Linear))
        torch.testing.assert_close(last(features), model(x, lengths=lengths))  # both are means over steps

    def test_the_embedding_that_a_model_names(self):
        model = create_model("rgbd_fer", **MODELS["rgbd_fer"]).eval()
        x = torch.rand(1, 2, 4, 64, 64)
        assert torch.equal(embed(model, x), model.forward_with_details(x)[1]["embedding"])

    def test_a_network_without_a_linear_layer(self, x):
        with pytest.raises(ConfigError, match="expected a network with a fully connected layer"):
            embed(Pooled(), x)


class Pooled(nn.Module):
    def forward(self, x, *, lengths=None):
        return x.mean((0, 3, 4))


class TestEmbeddingMap:
    def test_principal_components_against_scikit_learn(self):
        from sklearn.decomposition import PCA

        features = np.random.default_rng(0).normal(size=(20, 6)) * [5, 4, 1, 1, 1, 1]
        ours, theirs = embedding_map(features, method="pca"), PCA(2).fit_transform(features)
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)
        np.testing.assert_allclose(embedding_map(features, method="pca"), ours, rtol=0, atol=0)

    def test_tsne_keeps_groups_together_and_is_seeded(self):
        rng = np.random.default_rng(0)
        labels = np.repeat([0, 1, 2], 12)
        features = torch.from_numpy(10 * np.eye(8)[labels] + rng.normal(size=(36, 8)))
        points = embedding_map(features, perplexity=8, seed=3)
        assert points.shape == (36, 2)
        np.testing.assert_array_equal(points, embedding_map(features, perplexity=8, seed=3))
        distance = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(36)
        assert (labels[distance.argmin(1)] == labels).all()

    def test_wrong_input(self):
        with pytest.raises(ShapeError, match="at least 3 samples"):
            embedding_map(np.zeros((2, 5)))
        with pytest.raises(ConfigError, match="perplexity = 30.0 for 9 samples; .*fix: perplexity=3, or method='pca'"):
            embedding_map(np.eye(9))
