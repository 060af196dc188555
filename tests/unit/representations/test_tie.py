"""TIE against the paper's equations, one event and one bin at a time, with percentiles by sorting."""

import os
from itertools import pairwise

import numpy as np
import pytest
import torch

import snnfer.events as ev
from snnfer.errors import CheckpointError, ConfigError, SnnferError
from snnfer.representations import TIE
from snnfer.representations._kernels import est_kernel, kernel_of_file, triangle
from snnfer.representations.tie import nearest_rank, to_grey_levels

VARIANTS = [(measure, kernel) for measure in ("t", "t0") for kernel in ("t", "t0")]


def stream_of(n, *, width=30, height=20, span_us=100_000, start_us=0, seed=0):
    rng = np.random.default_rng(seed)
    return ev.EventStream.from_arrays(
        start_us + np.sort(rng.integers(0, span_us, n)),
        np.clip(rng.normal(width / 2, width / 8, n).astype(int), 0, width - 1),
        rng.integers(0, height, n),
        rng.integers(0, 2, n),
        width,
        height,
    )


def est(tau):
    """The kernel of the specification: a triangle inside [-1, 1], the measured tail outside."""
    if tau < -1:
        return -0.037 * (-tau - 1)
    if tau <= 1 - 1 / 14:
        return max(0.0, 1 - 14 * abs(tau))
    nodes = [(1 - 1 / 14, 0), (1, -0.0011), (1.5, 0.0108), (2, 0.0347), (5, 0.2533), (1e5, 6543)]
    for (x0, y0), (x1, y1) in pairwise(nodes):
        if tau <= x1:
            return y0 + (y1 - y0) * (tau - x0) / (x1 - x0)
    raise ValueError(tau)


def triangular(tau):
    return max(0.0, 1 - 8 * abs(tau))


def sums_by_loop(window, width, height, origin_us, measure, kernel, kappa):
    """Equations (4) to (8): 18 maps, then three groups of six."""
    t_min, t_max = window["t"].min(), window["t"].max()
    volume = np.zeros((2, 9, height, width))
    for t_us, x, y, p in window.tolist():
        clocks = {
            "t": float(np.float32((t_us - origin_us) / 1e6)),
            "t0": float((t_us - t_min) / (t_max - t_min)) if t_max > t_min else 1.0,
        }
        for i in range(9):
            volume[p, i, y, x] += clocks[measure] * kappa(clocks[kernel] - i / 8)
    return volume.reshape(3, 6, height, width).sum(1)


def grey_by_sorting(channel):
    in_order = np.sort(channel.ravel())
    low, high = (in_order[round(0.01 * q * (channel.size - 1))] for q in (1, 99))
    if low == high:
        return np.where(channel > low, 255.0, 0.0)
    return np.floor(np.clip(255 * (channel - low) / (high - low), 0, 255))


def tie_by_loop(stream, window_us, measure, kernel, kappa, *, start_us, origin_us, n_steps):
    out = np.zeros((n_steps, 3, stream.height, stream.width), np.float32)
    for k in range(n_steps):
        inside = (stream.events["t"] >= start_us + k * window_us) & (
            stream.events["t"] < start_us + (k + 1) * window_us
        )
        if inside.any():
            window = stream.events[inside]
            sums = sums_by_loop(window, stream.width, stream.height, origin_us, measure, kernel, kappa)
            out[k] = [grey_by_sorting(channel) for channel in sums]
    return out


def assert_same_levels(ours, expected):
    """Equal, but for values that fall on the edge of a grey level: at most 1 level, on at most 0.1 % of the pixels."""
    difference = np.abs(ours.numpy() - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-3


@pytest.mark.parametrize(("measure", "kernel"), VARIANTS)
@pytest.mark.parametrize("shape", ["est", "triangular"])
@pytest.mark.parametrize("origin_us", [None, -200_000, -1_040_000, -3_000_000, 40_000])
def test_variants_against_the_loop(measure, kernel, shape, origin_us):
    stream = stream_of(2500)
    tie = TIE(measure=measure, kernel=kernel, kernel_shape=shape)
    out = tie(stream, t_origin_us=origin_us)
    kappa = {"est": est, "triangular": triangular}[shape]
    start = stream.t_start_us
    origin = start if origin_us is None else origin_us
    expected = tie_by_loop(stream, 33_333, measure, kernel, kappa, start_us=start, origin_us=origin, n_steps=len(out))
    assert_same_levels(out, expected)
    assert tie.variant == f"{measure}_{kernel}"
    assert tie.needs_origin == (tie.variant != "t0_t0")


def test_sums_against_the_loop():
    """The sums before grey levels, which the percentiles cannot hide; float64, so to 1e-9."""
    stream = stream_of(3000)
    for measure, kernel in VARIANTS:
        ours = TIE(measure=measure, kernel=kernel).add_events(stream.events, 30, 20, origin_us=-700_000)  # type: ignore[arg-type]
        expected = sums_by_loop(stream.events, 30, 20, -700_000, measure, kernel, est)
        np.testing.assert_allclose(ours.reshape(3, 20, 30), expected, rtol=1e-9, atol=1e-9)


def made_up_state(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"mlp.0": (30, 1), "mlp.1": (30, 30), "mlp.2": (1, 30)}
    state = {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return state | {f"{name}.bias": torch.randn(shape[0], generator=generator) for name, shape in shapes.items()}


def network(state, tau):
    """The value layer with torch's own operations, in float64."""
    x = torch.as_tensor(tau, dtype=torch.float64).reshape(-1, 1)
    for i in range(3):
        x = torch.nn.functional.linear(x, state[f"mlp.{i}.weight"].double(), state[f"mlp.{i}.bias"].double())
        x = torch.nn.functional.leaky_relu(x, 0.1) if i < 2 else x
    return x[:, 0].numpy()


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "trilinear_init.pth"
    torch.save(made_up_state(), path)
    return path


class TestKernels:
    def test_measured_values(self):
        """Values of the shipped network, to the accuracy at which it fits a triangle (0.016)."""
        measured = {0: 0.98386, 0.0625: 0.12549, -0.0625: 0.13310, 0.125: -0.001, -0.125: -0.001}
        for tau, value in measured.items():
            assert est_kernel()(tau) == pytest.approx(value, abs=0.017)
        tail = {1: -0.0011, 1.25: 0.00485, 1.5: 0.0108, 2: 0.0347, 5: 0.2533, 1e5: 6543, -2: -0.037, -3: -0.074}
        for tau, value in tail.items():
            assert est_kernel()(tau) == pytest.approx(value, rel=1e-8)

    def test_triangle_and_loop(self):
        tau = np.linspace(-1, 6, 2001)
        np.testing.assert_allclose(est_kernel()(tau), [est(t) for t in tau], atol=1e-12)
        np.testing.assert_allclose(triangle(1 / 8)(tau), [triangular(t) for t in tau], atol=1e-12)

    def test_sum_over_bins(self):
        time = np.linspace(-2, 4, 3001)
        for kernel, of_one in ((est_kernel(), est), (triangle(1 / 8), triangular)):
            for bins in (range(6), range(3, 9)):
                expected = [sum(of_one(t - i / 8) for i in bins) for t in time]
                np.testing.assert_allclose(kernel.summed(np.array(bins) / 8)(time), expected, atol=1e-8)

    def test_network_as_nodes(self, weights):
        """A network of rectifiers is piecewise linear: its nodes give the network back everywhere."""
        kernel = kernel_of_file(str(weights))
        for tau in (np.linspace(-3, 3, 5001), np.linspace(-1e3, 1e5, 5001)):
            expected = network(made_up_state(), tau)
            np.testing.assert_allclose(kernel(tau), expected, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("flat", ["mlp.0.weight", "mlp.1.weight", "mlp.2.weight"])
    def test_network_without_slopes(self, tmp_path, flat):
        state = made_up_state()
        state[flat].zero_()
        torch.save(state, tmp_path / "flat.pth")
        tau = np.linspace(-20, 20, 1001)
        expected = network(state, tau)
        np.testing.assert_allclose(kernel_of_file(str(tmp_path / "flat.pth"))(tau), expected, rtol=1e-9, atol=1e-9)


class TestWeights:
    @pytest.mark.parametrize(("measure", "kernel"), VARIANTS)
    def test_network_of_a_file_is_the_kernel(self, weights, measure, kernel):
        stream, state = stream_of(400), made_up_state()
        tie = TIE(100_000, measure=measure, kernel=kernel, weights=weights)
        ours = tie.add_events(stream.events, 30, 20, origin_us=-2_000_000)
        kappa = lambda tau: network(state, tau)[0]  # noqa: E731
        expected = sums_by_loop(stream.events, 30, 20, -2_000_000, measure, kernel, kappa)
        np.testing.assert_allclose(ours.reshape(3, 20, 30), expected, rtol=1e-8, atol=1e-8)

    def test_is_read_again_when_it_changes(self, weights):
        tie, stream = TIE(weights=str(weights)), stream_of(500)
        before = tie.add_events(stream.events, 30, 20, origin_us=0)
        torch.save(made_up_state(seed=1), weights)
        os.utime(weights, ns=(0, 0))
        assert not np.allclose(tie.add_events(stream.events, 30, 20, origin_us=0), before)

    def test_errors(self, tmp_path, weights):
        with pytest.raises(CheckpointError, match=r"no file '.*missing\.pth'; expected a PyTorch file .*fix: download"):
            TIE(weights=tmp_path / "missing.pth")
        (tmp_path / "text.pth").write_text("not a network")
        with pytest.raises(CheckpointError, match=r"cannot be loaded.*likely cause: not a PyTorch file"):
            TIE(weights=tmp_path / "text.pth")
        for foreign in (
            {"fc.weight": torch.zeros(3, 2)},
            torch.zeros(3),
            made_up_state() | {"more": torch.zeros(1)},
            made_up_state() | {"more": 1},
            {**made_up_state(), "mlp.1.weight": torch.zeros(20, 20)},
        ):
            torch.save(foreign, tmp_path / "foreign.pth")
            with pytest.raises(CheckpointError, match=r"foreign\.pth' holds .*likely cause: another checkpoint"):
                TIE(weights=tmp_path / "foreign.pth")
        with pytest.raises(ConfigError, match="weights and kernel_shape = 'triangular'"):
            TIE(weights=weights, kernel_shape="triangular")


class TestGreyLevels:
    def test_sparse_window_is_all_or_nothing(self):
        """Two pixels of 600: both percentiles are 0, so that what lies above becomes 255, and nothing is NaN."""
        stream = ev.EventStream.from_arrays([0, 10, 20], [3, 4, 5], [2, 2, 2], [0, 0, 1], 30, 20)
        out = TIE(measure="t0", kernel="t0")(stream)
        assert out.isfinite().all()
        assert set(out.unique().tolist()) == {0, 255}
        assert out[0, 0, 2, 4] == 255  # OFF, half way: bin 4
        assert out[0, 2, 2, 5] == 255  # ON, last: bin 8
        assert out[0, :, 2, 3].sum() == 0  # the first event has t0 = 0, it adds nothing

    def test_one_time_only(self):
        stream = ev.EventStream.from_arrays([5, 5], [3, 4], [2, 2], [0, 1], 30, 20)
        out = TIE(measure="t0", kernel="t0")(stream)
        assert out.isfinite().all()
        assert out[0, 1, 2, 3] == 255  # t0 = 1: OFF in bin 8
        assert out[0, 2, 2, 4] == 255

    @pytest.mark.parametrize("share_active", [0.0, 0.005, 0.3, 0.995, 1.0])
    @pytest.mark.parametrize("share_negative", [0.0, 0.5, 1.0])
    def test_percentiles_against_sorting(self, share_active, share_negative):
        rng = np.random.default_rng(0)
        sums = np.where(rng.random(5003) < share_active, rng.random(5003) + 0.1, 0)
        sums *= np.where(rng.random(5003) < share_negative, -1, 1)
        levels = np.empty(5003, np.float32)
        to_grey_levels(sums, levels)
        np.testing.assert_array_equal(levels, grey_by_sorting(sums))
        active = sums[sums != 0]
        for q in (1, 50, 99):
            rank = 1 + round(0.01 * q * (len(sums) - 1))
            assert nearest_rank(active, len(sums), q) == torch.from_numpy(sums).kthvalue(rank).values.item()


class TestWindows:
    def test_late_recording_needs_the_tail(self):
        """After 1.125 s a triangle of half width 1/8 hits no bin; the tail of the network still makes an image."""
        stream = stream_of(1500, start_us=2_000_000, span_us=30_000)
        assert not TIE(kernel_shape="triangular")(stream, t_origin_us=0).any()
        assert TIE()(stream, t_origin_us=0).any()
        assert TIE(kernel="t0", kernel_shape="triangular")(stream, t_origin_us=0).any()

    def test_pieces_with_the_origin_equal_the_whole(self):
        stream = stream_of(4000, start_us=2**31 - 50_000, span_us=200_000)
        start = stream.t_start_us
        whole = TIE()(stream)
        cuts = range(start, start + 200_000, 33_333)
        pieces = [TIE()(stream.slice_time(t, t + 33_333), t_start_us=t, t_origin_us=start) for t in cuts]
        assert torch.equal(torch.cat(pieces), whole)
        assert not torch.equal(TIE()(stream, t_start_us=cuts[3]), whole[3:])

    def test_resize_against_pillow(self):
        image = pytest.importorskip("PIL.Image")
        stream, box = stream_of(4000, width=120, height=90), (20, 10, 80, 70)
        cut, small = TIE()(stream, box=box), TIE(size=(32, 48))(stream, box=box)
        for before, after in zip(cut.flatten(0, 1), small.flatten(0, 1), strict=True):
            theirs = image.fromarray(before.numpy()).resize((48, 32), image.Resampling.BILINEAR)
            assert np.abs(np.asarray(theirs) - after.numpy()).max() <= 0.51  # theirs is not rounded
        assert torch.equal(small, small.round())

    def test_real_face(self, samples):
        """The first second of a face against the loop over its events."""
        stream = ev.read(samples / "events" / "dvxplorer_face.aedat4")
        start = stream.t_start_us
        out = TIE()(stream)
        assert out.shape == (44, 3, 240, 320)
        window = stream.slice_time(start + 3 * 33_333, start + 4 * 33_333)
        sums = sums_by_loop(window.events, 320, 240, start, "t0", "t", est)
        assert_same_levels(out[3:4], np.stack([grey_by_sorting(channel) for channel in sums])[None])

    def test_errors(self):
        for parameters in ({"measure": "t1"}, {"kernel": "us"}, {"kernel_shape": "gauss"}):
            with pytest.raises(SnnferError, match="expected one of"):
                TIE(**parameters)  # type: ignore[arg-type]
