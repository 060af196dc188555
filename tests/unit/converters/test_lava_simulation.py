"""Lava itself, in its own environment, against the integer twin: every spike of every layer."""

import dataclasses
import sys

import h5py
import numpy as np
import pytest
import torch

from snnfer.converters.lava.launch import run_worker
from snnfer.converters.lava.netx import write_netx
from snnfer.converters.lava.simulate import compare, compare_runs, run_lava
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer
from snnfer.converters.loihi.twin import run_twin
from snnfer.errors import ConfigError, ExportError, MissingExtraError


def make_graph():
    """Convolution with all things uneven, an OR for max pooling, a depthwise one, two dense layers; every register."""
    generator = np.random.default_rng(1)

    def even(*shape, low=-50, high=60):
        return generator.integers(low, high, shape) * 2

    layers = (
        IntegerLayer("conv1", "conv", even(6, 1, 3, 2), generator.integers(-20, 30, 6), 90, 4096, 2048, 1.0, (6, 6, 9),
                     stride=(2, 1), padding=(1, 1), dilation=(1, 2), groups=2),
        IntegerLayer("pool1", "conv", np.full((6, 1, 2, 2), 2), np.zeros(6, int), 1, 4096, 4096, 1.0, (6, 3, 4),
                     stride=(2, 2), groups=6, exact=True),
        IntegerLayer("conv2", "conv", even(6, 1, 3, 3), generator.integers(-20, 30, 6), 60, 3000, 1365, 1.0, (6, 3, 4),
                     padding=(1, 1), groups=6),
        IntegerLayer("fc1", "dense", generator.integers(-127, 128, (9, 72)), generator.integers(-40, 60, 9), 300, 4096,
                     700, 1.0, (9,)),
        IntegerLayer("fc2", "dense", even(4, 9, low=1, high=127), np.zeros(4, int), 500, 1, 0, 1.0, (4,)),
    )  # fmt: skip
    return IntegerGraph(layers, (2, 11, 9), votes=2)


def make_input(n_steps=7, n_samples=3):
    return torch.poisson(torch.full((n_steps, n_samples, 2, 11, 9), 0.4), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("lava") / "net.net"
    write_netx(make_graph(), path)
    return path


@pytest.fixture(scope="module")
def comparison(lava, net):
    return compare(net, make_input())


def test_lava_and_twin_agree_in_every_spike(comparison):
    assert [layer.n_mismatches for layer in comparison.layers] == [0, 0, 0, 0, 0]
    assert comparison.first is None
    assert all(0.02 * layer.n_values < layer.n_spikes < 0.98 * layer.n_values for layer in comparison.layers)
    assert comparison.layers[0].n_values == 7 * 3 * 6 * 6 * 9
    assert comparison.lava.n_steps == 7 * 3 + 5 + 1
    assert torch.equal(comparison.lava_scores(), comparison.twin.scores())
    assert "agree in every spike of every layer" in comparison.table()
    assert comparison.to_dict()["mismatches"] == 0


def test_samples_do_not_meet(comparison, net, lava):
    """Each sample alone, with counts: graded input differs from spikes, and only the layer asked for is recorded."""
    x = make_input()[:, 1:2]
    result = run_lava(net, x, layers=["fc1"], graded=True)
    assert list(result.spikes) == ["fc1"]
    twin = run_twin(make_graph(), x, graded=True)["fc1"].spikes
    assert torch.equal(result.spikes["fc1"], twin)
    assert not torch.equal(result.spikes["fc1"], comparison.lava.spikes["fc1"][:, 1:2])


def test_first_mismatch_is_named(comparison):
    """Two flipped spikes: the one in the earlier layer counts, though the other is at an earlier step."""
    spikes = {name: values.clone() for name, values in comparison.lava.spikes.items()}
    spikes["conv2"][4, 2, 5, 1, 3] ^= True
    spikes["conv2"][6, 0, 0, 0, 0] ^= True
    spikes["fc1"][0, 0, 0] ^= True
    changed = dataclasses.replace(comparison.lava, spikes=spikes)
    result = compare_runs(make_graph(), comparison.twin, changed, twin_s=1.0)
    first = result.first
    assert (first.layer, first.step, first.sample, first.neuron) == ("conv2", 4, 2, (5, 1, 3))
    assert [layer.n_mismatches for layer in result.layers] == [0, 0, 2, 1, 0]
    assert "3 values, first in layer 'conv2' at step 4 of sample 2, neuron [5, 1, 3]" in result.verdict()


def test_unknown_layer(net):
    with pytest.raises(ConfigError, match="layer 'fc9'; expected some of conv1, pool1"):
        run_lava(net, make_input(), layers=["fc9"])


def test_interpreter_without_lava(net, monkeypatch):
    monkeypatch.setenv("SNNFER_LAVA_PYTHON", sys.executable)
    with pytest.raises(MissingExtraError, match=r"has no lava.*No module named 'lava'.*--setup-lava"):
        run_lava(net, make_input())


def test_errors_of_lava_come_back_as_text(lava, net, tmp_path):
    """A file that netx cannot load, past our own checks."""
    path = tmp_path / "pool.net"
    path.write_bytes(net.read_bytes())
    with h5py.File(path, "r+") as file:
        file["layer/2/type"][0] = b"pool"
    job = {"path": str(path), "x": make_input().numpy().astype(np.uint8), "layers": [1], "message_bits": 0}
    with pytest.raises(ExportError, match="lava failed on .*NotImplementedError: pool is not implemented") as error:
        run_worker("worker.py", job, what=f"'{path}'")
    assert "\n" not in str(error.value)
