"""Asynet against its layers written out, its updates against the whole computation, its counts against the paper."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnfer.errors import ShapeError, StateError
from snnfer.events import EventStream
from snnfer.layers import MaskedMap
from snnfer.models import create_model
from snnfer.profiling import count_operations
from snnfer.representations import CountFrames

SIZE = (24, 31)


def make_model(*, sparse=True, dtype=torch.float64, **kwargs):
    """A small network in evaluation mode with running statistics and gains that are not 0 and 1."""
    torch.manual_seed(0)
    arguments = {"n_classes": 4, "size": SIZE, "channels": (4, 6, 8), "hidden": 10, "sparse": sparse, **kwargs}
    model = create_model("asynet_vgg13", **arguments)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if "running_var" in name or name.endswith("norm.weight"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif "running_mean" in name or name.endswith("norm.bias"):
            tensor.normal_(0, 0.3, generator=generator)
    return model.to(dtype).eval()


def make_histograms(*shape, density=0.15, seed=0, dtype=torch.float64):
    return torch.poisson(torch.full(shape, density), generator=torch.Generator().manual_seed(seed)).to(dtype)


def make_events(n_events, *, size=SIZE, seed=0):
    """Channel, row, column of events around the middle."""
    generator = np.random.default_rng(seed)
    rows = np.clip(generator.normal(size[0] / 2, size[0] / 6, n_events), 0, size[0] - 1)
    columns = np.clip(generator.normal(size[1] / 2, size[1] / 6, n_events), 0, size[1] - 1)
    return torch.from_numpy(np.stack([generator.integers(0, 2, n_events), rows, columns], 1).astype(np.int64))


def count(events, size=SIZE, dtype=torch.float64):
    """Histogram ``[1, 2, H, W]``, event by event."""
    histogram = torch.zeros(1, 2, *size, dtype=dtype)
    for channel, row, column in events.tolist():
        histogram[0, channel, row, column] += 1
    return histogram


def test_multiply_accumulates_of_the_paper():
    """0.809 G by hand: maps of 191 x 255, 95 x 127, 47 x 63, 23 x 31, 11 x 15, 5 x 7 and 2 x 3."""
    pixels = [191 * 255, 95 * 127, 47 * 63, 23 * 31, 11 * 15]
    pairs = [(2, 16), (16, 32), (32, 64), (64, 128), (128, 256)]
    blocks = sum(9 * n * (a * b + b * b) for n, (a, b) in zip(pixels, pairs, strict=True))
    by_hand = blocks + 9 * (35 * 256 * 512 + 6 * 512 * 256) + 1536 * 7
    assert by_hand == pytest.approx(0.809e9, abs=0.0005e9)
    model = create_model("asynet_vgg13")
    assert count_operations(model, torch.zeros(1, 1, 2, 191, 255)).dense_macs == by_hand
    state = model.eval().start()  # a dense network computes every site once
    assert state.macs == by_hand - 1536 * 7
    torch.testing.assert_close(state.scores, model.score(torch.zeros(1, 2, 191, 255))[0], rtol=0, atol=1e-5)


def test_dense_equals_its_layers_written_out():
    model = make_model(sparse=False)
    x = make_histograms(3, 2, *SIZE)
    y = x
    for layer in model.features:
        if isinstance(layer, nn.MaxPool2d):
            y = F.max_pool2d(y, 3, 2)
            continue
        last = layer is model.features[-1]
        y = F.conv2d(y, layer.conv.weight, stride=2 if last else 1, padding=0 if last else 1)
        shape = (1, -1, 1, 1)
        norm = layer.norm
        y = (y - norm.running_mean.view(shape)) / (norm.running_var + 1e-5).sqrt().view(shape)
        y = F.relu(y * norm.weight.view(shape) + norm.bias.view(shape))
    assert y.shape[1:] == (10, 2, 3)
    expected = F.linear(y.flatten(1), model.classifier.weight, model.classifier.bias)
    torch.testing.assert_close(model.score(x), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(model(torch.stack([x, 2 * x])), (expected + model.score(2 * x)) / 2)


@pytest.mark.parametrize("density", [0.0, 0.01, 0.2, 3.0])
def test_sparse_equals_masked(density):
    model = make_model()
    x = make_histograms(3, 2, *SIZE, density=density)
    torch.testing.assert_close(model.score(x), model.score(MaskedMap.from_dense(x)), rtol=0, atol=1e-10)


def test_sparse_differs_from_dense_where_pixels_are_empty():
    """Both kinds have the same parameters and names; they agree where every pixel has events, and there alone."""
    dense, sparse = make_model(sparse=False), make_model()
    sparse.load_state_dict(dense.state_dict())
    full = make_histograms(2, 2, *SIZE) + 1
    torch.testing.assert_close(sparse.score(full), dense.score(full), rtol=0, atol=1e-10)
    assert not torch.allclose(
        sparse.score(make_histograms(2, 2, *SIZE)), dense.score(make_histograms(2, 2, *SIZE)), atol=1e-3
    )


class TestSparse:
    """What the contract tests ask of the dense network."""

    def test_training_reaches_every_parameter(self):
        model = make_model().train()
        model(make_histograms(2, 3, 2, *SIZE)).square().sum().backward()
        for key, parameter in model.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.abs().sum() > 0, key

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("sparse", [True, False])
    def test_padding_has_no_effect(self, training, sparse):
        """In training neither on the scores nor on the running statistics."""
        model = make_model(sparse=sparse).train(training)
        other = copy.deepcopy(model)
        x = make_histograms(4, 1, 2, *SIZE)
        expected = model(x[:3])
        torch.testing.assert_close(other(x, lengths=torch.tensor([3])), expected, rtol=0, atol=1e-12)
        for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)

    def test_empty_batch_and_empty_histograms(self):
        model = make_model()
        assert model(make_histograms(2, 0, 2, *SIZE)).shape == (0, 4)
        nothing = model(torch.zeros(2, 3, 2, *SIZE))
        assert torch.equal(nothing, model.classifier.bias.expand(3, 4))
        assert torch.equal(model.start().scores, model.classifier.bias)

    def test_any_dtype_of_input(self):
        model = make_model(dtype=torch.float32)
        x = make_histograms(2, 3, 2, *SIZE)
        assert torch.equal(model(x.to(torch.uint8)), model(x))


@pytest.mark.parametrize("sparse", [True, False])
class TestUpdates:
    @pytest.mark.parametrize("largest", [1, 7, 200])
    def test_random_chunks_of_a_sliding_window(self, sparse, largest):
        """300 events of which the last 60 stay in the window: pixels turn active and inactive all the time."""
        model, events = make_model(sparse=sparse), make_events(300)
        generator = np.random.default_rng(largest)
        state, begin, end, n_checked = model.start(), 0, 0, 0
        while end < len(events):
            new_end = min(end + int(generator.integers(1, largest + 1)), len(events))
            new_begin = max(new_end - 60, 0)
            scores, state = model.update_counts(state, events[end:new_end], left=events[begin:new_begin])
            begin, end = new_begin, new_end
            if largest > 1 or end % 10 == 0:
                histogram = count(events[begin:end])
                torch.testing.assert_close(state.maps[0].to_dense(), histogram[0])
                torch.testing.assert_close(scores, model.score(histogram)[0], rtol=0, atol=1e-10)
                n_checked += 1
        assert n_checked > 1
        scores, state = model.update_counts(state, events[:0], left=events[begin:])
        torch.testing.assert_close(scores, model.start().scores, rtol=0, atol=1e-10)
        assert not sparse or not any(each.active.any() or each.features.any() for each in state.maps)

    def test_cuts_give_the_same_in_float32(self, sparse):
        model, events = make_model(sparse=sparse, dtype=torch.float32), make_events(200)
        expected = model.score(count(events, dtype=torch.float32))[0]
        for chunk in (1, 13, 200):
            state = model.start()
            for part in events.split(chunk):
                scores, state = model.update_counts(state, part, in_place=True)
            torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)

    def test_whole_numbers_give_the_same_bits(self, sparse):
        """With weights of -1, 0 and 1 and unit normalisation all sums are exact, and so equal in any order."""
        model, events = make_model(sparse=sparse), make_events(150)
        generator = torch.Generator().manual_seed(0)
        for module in model.modules():
            if hasattr(module, "running_var"):
                module.eps = 0.0
        for name, tensor in model.state_dict().items():
            if name.endswith(("conv.weight", "classifier.weight", "classifier.bias")):
                tensor.copy_(torch.randint(-1, 2, tensor.shape, generator=generator))
            elif tensor.ndim:
                tensor.fill_(float(name.endswith(("norm.weight", "running_var"))))
        state = model.start()
        for part in events.split(11):
            scores, state = model.update_counts(state, part)
        assert torch.equal(scores, model.score(count(events))[0])
        assert scores.unique().numel() > 1

    def test_any_values(self, sparse):
        """Thirty channels of a queue: negative values, and pixels set back to zero."""
        model = make_model(sparse=sparse, in_channels=30)
        generator = torch.Generator().manual_seed(3)
        x, state = torch.zeros(1, 30, *SIZE, dtype=torch.float64), model.start()
        for _ in range(8):
            flat = torch.randperm(SIZE[0] * SIZE[1], generator=generator)[:150]
            positions = torch.stack([flat // SIZE[1], flat % SIZE[1]], 1)
            values = torch.randn(150, 30, generator=generator, dtype=torch.float64)
            values[:70] = 0
            x[0, :, positions[:, 0], positions[:, 1]] = values.T
            scores, state = model.update(state, positions, values)
            torch.testing.assert_close(scores, model.score(x)[0], rtol=0, atol=1e-10)

    def test_the_state_before_stays_unless_in_place(self, sparse):
        model, events = make_model(sparse=sparse), make_events(100)
        _, first = model.update_counts(model.start(), events[:50])
        kept = first.clone()
        expected, _ = model.update_counts(first, events[50:])
        for a, b in zip(first.maps, kept.maps, strict=True):
            assert torch.equal(a.features, b.features)
            assert torch.equal(a.active, b.active)
        scores, second = model.update_counts(kept, events[50:], in_place=True)
        assert torch.equal(scores, expected)
        assert second.maps[3].features.data_ptr() == kept.maps[3].features.data_ptr()

    def test_a_state_goes_on_with_the_weights_of_its_start(self, sparse):
        model, events = make_model(sparse=sparse), make_events(30)
        state = model.start()
        expected, _ = model.update_counts(state, events)
        with torch.no_grad():
            model.features[0].conv.weight.zero_()
        assert torch.equal(model.update_counts(state, events)[0], expected)

    def test_no_events_change_nothing(self, sparse):
        model = make_model(sparse=sparse)
        _, state = model.update_counts(model.start(), make_events(10))
        scores, after = model.update_counts(state, torch.zeros(0, 3, dtype=torch.int64))
        assert torch.equal(scores, state.scores)
        assert after.macs == 0
        assert set(after.computed) == {0}


def test_the_events_of_a_recording_give_the_scores_of_its_count_frame():
    """Channel 0 OFF and 1 ON, rows before columns, as in `CountFrames`."""
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, SIZE[1], 80), generator.integers(0, SIZE[0], 80)
    stream = EventStream.from_arrays(np.arange(80), x, y, generator.integers(0, 2, 80), SIZE[1], SIZE[0])
    model = make_model()
    columns = [stream.events[name].astype(np.int64) for name in ("p", "y", "x")]
    scores, _ = model.update_counts(model.start(), torch.from_numpy(np.stack(columns, 1)))
    frame = CountFrames(window_us=1000)(stream).to(torch.float64)
    torch.testing.assert_close(scores, model(frame[:, None])[0], rtol=0, atol=1e-10)


def test_one_event_at_the_size_of_the_paper_costs_little():
    """One new event far from all others: 1 site in both layers of the first block, and less than 2 % of all MACs."""
    model = create_model("asynet_vgg13", sparse=True).eval()
    scores, state = model.update_counts(model.start(), torch.tensor([[1, 100, 120]]))
    assert state.computed[:2] == (1, 1)
    assert 0 < state.macs < 0.02 * 0.809e9
    histogram = count(torch.tensor([[1, 100, 120]]), (191, 255), torch.float32)
    torch.testing.assert_close(scores, model.score(histogram)[0], rtol=0, atol=1e-5)


def test_what_does_not_fit_is_refused():
    model = make_model()
    state = model.start()
    ones = torch.ones(1, 2)
    with pytest.raises(
        ShapeError, match=r"pixels between \[0, 31\] and \[0, 31\] \(row, column\); expected .* 24 x 31"
    ):
        model.update(state, torch.tensor([[0, 31]]), ones)
    with pytest.raises(ShapeError, match=r"pixels between \[-1, 3\]"):
        model.update(state, torch.tensor([[-1, 3]]), ones)
    with pytest.raises(ShapeError, match=r"positions \[1, 2\] with values \[1, 3\]; expected \[M, 2\] .* \[M, 2\]"):
        model.update(state, torch.tensor([[0, 3]]), torch.ones(1, 3))
    with pytest.raises(ShapeError, match="a pixel is given twice"):
        model.update(state, torch.tensor([[0, 3], [0, 3]]), torch.ones(2, 2))
    with pytest.raises(ShapeError, match=r"pixels of type torch\.float32; expected int64"):
        model.update(state, torch.tensor([[0.0, 3.0]]), ones)
    with pytest.raises(ShapeError, match=r"events of shape \[1, 2\]; expected \[M, 3\]: channel, row, column"):
        model.update_counts(state, torch.tensor([[0, 3]]))
    with pytest.raises(ShapeError, match="events of channels -1 to -1; expected channels 0 to 1"):
        model.update_counts(state, torch.tensor([[-1, 0, 0]]))
    with pytest.raises(ShapeError, match=r"pixels between \[24, 0\]"):
        model.update_counts(state, torch.tensor([[0, 24, 0]]))
    other = make_model(size=(16, 16))
    with pytest.raises(StateError, match=r"input of \[2, 24, 31\]; expected 8 layers for an input of \[2, 16, 16\]"):
        other.update(state, torch.tensor([[0, 3]]), ones)
    with pytest.raises(ShapeError, match=r"size = \(126, 200\); expected at least 127 x 127 pixels, because 5 blocks"):
        create_model("asynet_vgg13", size=(126, 200))
    with pytest.raises(ShapeError, match=r"channels = \(\)"):
        create_model("asynet_vgg13", channels=())
