"""EST against its equation, one event and one bin at a time; the learned kernel against finite differences."""

import copy
import time

import numpy as np
import pytest
import torch

import snnfer.events as ev
from snnfer.errors import CheckpointError, ConfigError, ShapeError, SnnferError
from snnfer.representations import EST, LearnedEST
from snnfer.representations.learned_est import fit_value_layer


def stream_of(n, *, width=12, height=9, span_us=90_000, start_us=0, seed=0):
    rng = np.random.default_rng(seed)
    t = start_us + np.sort(rng.integers(0, span_us, n))
    return ev.EventStream.from_arrays(
        t, rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n), width, height
    )


def est_by_loop(stream, window_us, n_bins, kappa):
    start = stream.t_start_us
    n_windows = -(-(stream.duration_us + 1) // window_us)
    out = np.zeros((n_windows, 2, n_bins, stream.height, stream.width))
    k_of = (stream.events["t"] - start) // window_us
    for (t, x, y, p), k in zip(stream.events.tolist(), k_of.tolist(), strict=True):
        since = stream.events["t"][k_of == k] - start - k * window_us
        share = (t - start - k * window_us) / since.max() if since.max() else 1.0
        for i in range(n_bins):
            out[k, p, i, y, x] += share * kappa(share - i / (n_bins - 1))
    return out.reshape(n_windows, 2 * n_bins, stream.height, stream.width)


class TestEST:
    @pytest.mark.parametrize(
        ("shape", "n_bins"), [("est", 9), ("est", 15), ("est", 2), ("est", 20), ("triangular", 9), ("triangular", 4)]
    )
    def test_two_bins_per_event_equal_all_bins(self, shape, n_bins):
        """Also with 20 bins, of which the kernel "est" touches up to three."""
        stream = stream_of(600, start_us=2**31 + 11)
        slope = {"est": 14, "triangular": n_bins - 1}[shape]
        expected = est_by_loop(stream, 33_333, n_bins, lambda tau: max(0.0, 1 - slope * abs(tau)))
        out = EST(n_bins=n_bins, kernel_shape=shape)(stream)
        np.testing.assert_allclose(out.numpy(), expected, atol=2e-6)  # float32 sums

    def test_triangular_weights_add_up_to_the_times(self):
        stream = stream_of(500, span_us=33_000)
        out = EST(kernel_shape="triangular")(stream)
        since = stream.events["t"] - stream.t_start_us
        assert out.sum().item() == pytest.approx((since / since.max()).sum(), rel=1e-5)

    def test_all_events_at_the_start(self):
        stream = ev.EventStream.from_arrays([50, 50], [1, 2], [0, 0], [0, 1], 4, 2)
        out = EST()(stream)
        assert out[0, 8, 0, 1] == 1  # OFF, last bin
        assert out[0, 17, 0, 2] == 1  # ON, last bin
        assert out.sum() == 2

    def test_crop_comes_after_the_maximum(self):
        stream = stream_of(400)
        assert torch.equal(EST()(stream, box=(2, 3, 5, 4)), EST()(stream)[..., 3:7, 2:7])

    def test_errors(self, tmp_path):
        with pytest.raises(SnnferError, match="n_bins = 1; expected a whole number of at least 2"):
            EST(n_bins=1)
        with pytest.raises(SnnferError, match="kernel_shape = 'gauss'"):
            EST(kernel_shape="gauss")  # type: ignore[arg-type]
        with pytest.raises(CheckpointError, match="no file"):
            EST(weights=str(tmp_path / "missing.pth"))
        torch.save(fit_value_layer(15, 1), tmp_path / "trilinear_init.pth")
        with pytest.raises(ConfigError, match="leave one out"):
            EST(weights=str(tmp_path / "trilinear_init.pth"), kernel_shape="triangular")


class TestLearnedEST:
    def test_size_and_start(self):
        """The recipe's fit of a triangle of 15 bins; the authors' own fit is off by at most 0.016."""
        est = LearnedEST((9, 12))
        assert sum(p.numel() for p in est.parameters()) == 1021
        tau = torch.linspace(-1, 1, 4001)
        error = (est.kernel(tau) - (1 - 14 * tau.abs()).clamp(min=0)).abs()
        assert error.max() < 0.05
        assert error.square().mean().sqrt() < 0.015

    def test_fit_is_made_once_and_depends_on_its_seed_alone(self):
        torch.manual_seed(5)
        first = LearnedEST((9, 12))
        before = torch.get_rng_state()
        start = time.perf_counter()
        second = LearnedEST((9, 12))
        assert time.perf_counter() - start < 0.5
        assert torch.equal(torch.get_rng_state(), before)
        for a, b in zip(first.parameters(), second.parameters(), strict=True):
            assert torch.equal(a, b)
            assert a is not b
        with torch.no_grad():
            next(first.parameters()).zero_()
        assert next(LearnedEST((9, 12)).parameters()).any()  # the stored fit is not shared

    def test_equals_the_fixed_kernel_of_the_same_network(self, tmp_path):
        """Every window as a sample: the network evaluated per event equals its nodes in EST."""
        torch.save(fit_value_layer(15, 1), tmp_path / "trilinear_init.pth")
        stream = stream_of(500, start_us=2**40)
        fixed = EST(weights=str(tmp_path / "trilinear_init.pth"))(stream)
        first = stream.t_start_us
        columns = [stream.events[name].astype(np.float64) for name in "xytp"]
        window = (stream.events["t"] - first) // 33_333
        columns[2] = stream.events["t"] - first - window * 33_333
        events = torch.from_numpy(np.stack([*columns, window], axis=1))
        learned = LearnedEST((9, 12), weights=tmp_path / "trilinear_init.pth")
        np.testing.assert_allclose(learned(events).detach().numpy(), fixed.numpy(), atol=1e-5)

    def test_gradient_against_finite_differences(self):
        est = LearnedEST((9, 12), n_bins=5).double()
        events = torch.from_numpy(np.stack([stream_of(60).events[name] for name in "xytp"] + [np.zeros(60)], 1))
        events = events.double()
        target = torch.rand(1, 10, 9, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        (est(events) * target).sum().backward()
        rng = np.random.default_rng(0)
        for parameter in est.parameters():
            assert parameter.grad is not None
            for i in rng.integers(0, parameter.numel(), 3).tolist():
                sides = []
                for step in (1e-6, -1e-6):
                    moved = copy.deepcopy(est)
                    dict_of = dict(zip(est.parameters(), moved.parameters(), strict=True))
                    with torch.no_grad():
                        dict_of[parameter].view(-1)[i] += step
                        sides.append((moved(events) * target).sum().item())
                slope = (sides[0] - sides[1]) / 2e-6
                assert parameter.grad.view(-1)[i].item() == pytest.approx(slope, rel=1e-5, abs=1e-6)

    def test_forms_of_input_are_one(self):
        streams = [stream_of(80, seed=1, start_us=7), stream_of(0), stream_of(50, seed=2, start_us=-3)]
        est = LearnedEST((9, 12))
        out = est(streams)
        assert out.shape == (3, 18, 9, 12)
        assert not out[1].any()
        tables = []
        for stream in streams:
            columns = [stream.events[name].astype(np.float32) for name in "xyp"]
            t = (stream.events["t"] - stream.t_start_us).astype(np.float32) / 1e6  # the unit does not matter
            tables.append(torch.from_numpy(np.stack([columns[0], columns[1], t, columns[2] * 2 - 1], 1)))
        assert torch.allclose(est(tables), out, atol=1e-5)
        for i in (0, 2):
            assert torch.allclose(est([streams[i]])[0], out[i], atol=1e-6)
        assert est([]).shape == (0, 18, 9, 12)
        assert est(torch.zeros(0, 5)).shape == (0, 18, 9, 12)
        assert est(torch.zeros(1, 5), n_samples=4).shape == (4, 18, 9, 12)

    def test_errors(self, tmp_path):
        est = LearnedEST((9, 12))
        with pytest.raises(ShapeError, match=r"events of shape \[3, 4\]; expected \[M, 5\]"):
            est(torch.zeros(3, 4))
        with pytest.raises(ShapeError, match=r"events of shape \[3, 5\]; expected \[M, 4\]"):
            est([torch.zeros(3, 5)])
        with pytest.raises(ShapeError, match="expected columns below 12 and rows below 9; likely cause: the size"):
            est(torch.tensor([[0.0, 9, 1, 1, 0]]))
        with pytest.raises(ShapeError, match="sample 2.*n_samples"):
            est(torch.tensor([[0.0, 0, 1, 1, 2]]), n_samples=2)
        with pytest.raises(SnnferError, match="n_bins_init = 1"):
            LearnedEST((9, 12), n_bins_init=1)
        with pytest.raises(CheckpointError, match="no file"):
            LearnedEST((9, 12), weights=tmp_path / "missing.pth")
