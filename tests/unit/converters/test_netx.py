"""netx files: what is written, what is read back, and every way in which a file would not run as it says."""

import dataclasses
import os

import h5py
import numpy as np
import pytest

from snnfer.converters.lava.netx import read_certificate, read_netx, validate_netx, write_netx
from snnfer.converters.loihi.graph import IntegerGraph, IntegerLayer
from snnfer.errors import ExportError

CONV, FLATTEN, DENSE = "layer/1", "layer/2", "layer/3"


def make_graph():
    """2 x 6 x 5, a convolution with everything uneven, a dense layer."""
    generator = np.random.default_rng(0)
    conv = IntegerLayer(
        "conv1", "conv", generator.integers(-60, 60, (4, 1, 3, 2)) * 2, generator.integers(-9, 9, 4), 70, 4096, 2048,
        scale=70.0078125, shape=(4, 3, 5), stride=(2, 1), padding=(1, 1), dilation=(1, 2), groups=2,
    )  # fmt: skip
    dense = IntegerLayer(
        "fc", "dense", generator.integers(-60, 60, (6, 60)) * 2, np.zeros(6, np.int64), 500, 4096, 1000,
        scale=500.0078125, shape=(6,), exact=True,
    )  # fmt: skip
    return IntegerGraph((conv, dense), (2, 6, 5), votes=3, metadata={"class_names": ["a", "b"]})


def same(first, second):
    """Fields that are arrays compared as arrays."""
    pairs = ((getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(first))
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def path(tmp_path):
    write_netx(make_graph(), tmp_path / "net.net", certificate={"agreement": 0.5})
    return tmp_path / "net.net"


def change(path, key, value):
    """Replace a data set; None removes it."""
    with h5py.File(path, "r+") as file:
        if key in file:
            del file[key]
        if value is not None:
            file[key] = value


def test_reads_what_was_written(path):
    graph, read = make_graph(), read_netx(path)
    assert [same(a, b) for a, b in zip(graph.layers, read.layers, strict=True)] == [True, True]
    assert (read.input_shape, read.votes, read.metadata) == (graph.input_shape, graph.votes, graph.metadata)
    assert read_certificate(path) == {"agreement": 0.5}


def test_file_holds_what_lava_reads(path):
    """The keys and forms that lava-dl's own writer uses, read without our reader."""
    with h5py.File(path, "r") as file:
        types = [file[f"layer/{i}/type"][0] for i in range(4)]
        assert types == [b"input", b"conv", b"flatten", b"dense"]
        assert file["layer/0/shape"][()].tolist() == [2, 6, 5]
        assert file[f"{CONV}/weight"].shape == (4, 1, 3, 2)
        assert file[f"{CONV}/groups"].shape == ()
        assert file[f"{CONV}/stride"][()].tolist() == [2, 1]
        assert file[f"{CONV}/neuron/type"][()] == b"CUBA"
        assert [int(file[f"{CONV}/neuron/{key}"][()]) for key in ("iDecay", "vDecay", "vThMant")] == [4096, 2048, 70]
        assert "bias" not in file[DENSE]  # all zero


def test_file_of_another_writer(path):
    """float32 weights with a fifth dimension, as slayer writes them; scalars; no part of snnfer."""
    with h5py.File(path, "r+") as file:
        weight = file[f"{CONV}/weight"][()].astype(np.float32)[..., None]
        dense = file[f"{DENSE}/weight"][()].astype(np.float32).reshape(-1)
    for key, value in (
        ("snnfer", None),
        (f"{CONV}/weight", weight),
        (f"{DENSE}/weight", dense),
        (f"{CONV}/padding", 1),
    ):
        change(path, key, value)
    change(path, f"{CONV}/bias", np.broadcast_to(np.arange(4), (5, 3, 4)))
    read = read_netx(path)
    assert [layer.name for layer in read.layers] == ["layer1", "layer2"]
    assert np.array_equal(read.layers[0].weight, make_graph().layers[0].weight)
    assert np.array_equal(read.layers[1].weight, make_graph().layers[1].weight)
    assert (read.layers[0].padding, read.layers[0].bias.tolist()) == ((1, 1), [0, 1, 2, 3])
    assert (read.votes, read.metadata, read_certificate(path)) == (1, {}, None)


SQUARE = np.full((60, 60), 2)
TRAPS = {
    "gap in the numbers": ({"layer/5/type": b"dense"}, "numbered 0, 1, 2, 3, 5"),
    "no input layer": ({"layer/0/type": b"conv"}, "first layer of the file is 'conv'"),
    "input with neurons": ({"layer/0/neuron/type": b"CUBA"}, "netx does not connect their input"),
    "input of two dimensions": ({"layer/0/shape": [6, 5]}, "shape [6, 5]"),
    "pool": ({f"{CONV}/type": b"pool"}, "layer 1 (pool) cannot be loaded by netx"),
    "transposed convolution": ({f"{CONV}/type": b"convT"}, "layer 1 (convT) cannot be loaded"),
    "unpool": ({f"{CONV}/type": b"unpool"}, "layer 1 (unpool) cannot be loaded"),
    "average": ({f"{DENSE}/type": b"average"}, "layer 3 (average) cannot be loaded"),
    "concat": ({f"{DENSE}/type": b"concat"}, "layer 3 (concat) cannot be loaded"),
    "complex dense": ({f"{DENSE}/type": b"dense_comp"}, "layer 3 (dense_comp) cannot be loaded"),
    "complex weights": ({f"{DENSE}/weight": None, f"{DENSE}/weight/real": SQUARE}, "(dense) has complex weights"),
    "unknown type": ({f"{DENSE}/type": b"attention"}, "layer 3 (attention) is of an unknown type"),
    "conv behind a flatten": ({f"{DENSE}/type": b"conv"}, "layer 3 (conv) follows a flatten"),
    "flatten of a vector": ({"layer/4/type": b"flatten"}, "layer 4 (flatten) flattens a vector"),
    "no type": ({f"{CONV}/type": None}, "layer 1 has no 'type'"),
    "no shape": ({f"{CONV}/shape": None}, "has no 'shape'"),
    "no weight": ({f"{CONV}/weight": None}, "has no 'weight'"),
    "no stride": ({f"{CONV}/stride": None}, "has no 'stride'"),
    "groups missing": ({f"{CONV}/groups": None}, "has no 'groups'"),
    "no neurons": ({f"{DENSE}/neuron": None}, "netx takes a threshold of 2^17"),
    "no decay": ({f"{DENSE}/neuron/iDecay": None}, "layer 3 (dense), neuron has no 'iDecay'"),
    "shape that the weights deny": ({f"{CONV}/shape": [4, 5, 3]}, "expected [4, 3, 5]"),
    "stride of three": ({f"{CONV}/stride": [1, 1, 1]}, "stride of shape [3]"),
    "groups with a dimension": ({f"{CONV}/groups": [2]}, "groups of shape [1]"),
    "no groups": ({f"{CONV}/groups": 0}, "has 0 groups"),
    "stride of zero": ({f"{CONV}/stride": 0}, "stride [0, 0], padding [1, 1] and dilation [1, 2]"),
    "negative padding": ({f"{CONV}/padding": -1}, "padding [-1, -1]"),
    "empty weights": ({f"{DENSE}/weight": np.zeros((6, 0))}, "no weights: their shape is [6, 0]"),
    "groups that do not divide": ({f"{CONV}/groups": 3}, "reads 3 channels in 3 groups"),
    "kernel over time": ({f"{CONV}/weight": np.full((4, 1, 3, 2, 3), 2)}, "netx gives convolutions no taps in time"),
    "kernel too large": ({f"{CONV}/weight": np.full((4, 1, 9, 2), 2)}, "larger than its maps of 6 x 5"),
    "dense of another size": ({f"{DENSE}/weight": np.full((6, 59), 2)}, "weights of shape [6, 59]; expected [6, 60]"),
    "fractions": ({f"{CONV}/weight": np.full((4, 1, 3, 2), 2.5)}, "netx cuts off what stands behind the point"),
    "not a number": ({f"{DENSE}/weight": np.full((6, 60), np.nan)}, "weights of layer 3 (dense): numbers that are not"),
    "fractions of a bias": ({f"{CONV}/bias": np.full(4, 0.5)}, "biases of layer 1 (conv)"),
    "all weights zero": ({f"{DENSE}/weight": np.zeros((6, 60))}, "all weights of layer 3 (dense) are zero"),
    "no positive weight fits": ({f"{DENSE}/weight": np.full((6, 60), 256)}, "span 256 to 256; expected 0 to 255"),
    "no negative weight fits": ({f"{DENSE}/weight": np.full((6, 60), -256)}, "span -256 to -256; expected -255 to -1"),
    "weights too large": ({f"{DENSE}/weight": [-2, 256] * 180}, "span -2 to 256; expected -256 to 254"),
    "weights too small": ({f"{CONV}/weight": np.array([-258, 2] * 12).reshape(4, 1, 3, 2)}, "span -258 to 2"),
    "odd weights of 9 bits": ({f"{DENSE}/weight": [-2, 129] * 180}, "odd weights up to 129"),
    "bias of 14 bits": ({f"{CONV}/bias": [0, 0, -4096, 0]}, "a bias of -4096; expected -4095 to 4095"),
    "bias of another size": ({f"{CONV}/bias": np.zeros(3)}, "biases of shape [3]; expected [4]"),
    "bias per neuron in torch's order": ({f"{CONV}/bias": np.zeros((4, 3, 5))}, "[5, 3, 4] (width first)"),
    "threshold of 18 bits": ({f"{CONV}/neuron/vThMant": 131072}, "vThMant = 131072; expected 0 to 131071"),
    "decay of 13 bits": ({f"{CONV}/neuron/vDecay": 4097}, "vDecay = 4097; expected 0 to 4096"),
    "negative decay": ({f"{CONV}/neuron/iDecay": -1}, "iDecay = -1"),
    "threshold per channel": ({f"{CONV}/neuron/vThMant": [7, 8, 9, 7]}, "4 values of vThMant; expected one"),
    "sigma-delta neurons": ({f"{CONV}/neuron/type": b"SDNN"}, "neurons of type 'SDNN'"),
    "resonating neurons": ({f"{CONV}/neuron/type": b"RF_PHASE"}, "neurons of type 'RF_PHASE'"),
    "graded spikes": ({f"{CONV}/neuron/messageBits": 8}, "graded spikes (messageBits)"),
    "graded spikes, ignored": ({f"{CONV}/neuron/gradedSpike": True}, "gradedSpike = True; expected 0"),
    "refractory period": ({f"{CONV}/neuron/refDelay": 2}, "refDelay = 2; expected 1, because netx ignores it"),
    "exponent of weights": ({f"{CONV}/neuron/wgtExp": 2}, "wgtExp = 2; expected 0"),
    "delays of a convolution": ({f"{CONV}/delay": 3}, "netx ignores those of convolutions"),
    "delays too long": ({f"{DENSE}/delay": 63}, "delays up to 63; expected 0 to 62"),
    "flatten at the end": ({"layer/3": None}, "the last layer of the file is a flatten"),
    "nothing but an input": ({"layer/3": None, FLATTEN: None, CONV: None}, "no conv or dense layer"),
    "no layer at all": ({"layer/3": None, FLATTEN: None, CONV: None, "layer/0": None}, "the file holds no layers"),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_trap_is_caught_in_one_sentence(path, trap):
    changes, words = TRAPS[trap]
    for key, value in changes.items():
        change(path, key, value)
    with pytest.raises(ExportError) as error:
        validate_netx(path)
    text = str(error.value)
    assert words in text
    assert "\n" not in text and len(text) < 300  # noqa: PT018
    with pytest.raises(ExportError):
        read_netx(path)


def test_dense_behind_maps_without_flatten(path):
    with h5py.File(path, "r+") as file:
        del file[FLATTEN]
        file.move(DENSE, FLATTEN)
    with pytest.raises(ExportError, match="expected a flatten layer before it"):
        validate_netx(path)


def test_delays_of_a_square_weight_are_ambiguous(path):
    for key, value in {"shape": [60], "weight": SQUARE, "delay": np.arange(60)}.items():
        change(path, f"{DENSE}/{key}", value)
    with pytest.raises(ExportError, match="60 delays for a square weight"):
        validate_netx(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({f"{DENSE}/delay": 3}, "'fc' has synaptic delays"),
        ({f"{DENSE}/type": b"dense_rec", f"{DENSE}/weight_rec": np.full((6, 6), 2)}, "'fc' is recurrent"),
        ({f"{CONV}/bias": np.arange(60).reshape(5, 3, 4)}, "'conv1' has a bias per neuron"),
    ],
)
def test_valid_for_lava_but_no_integer_graph(path, changes, words):
    for key, value in changes.items():
        change(path, key, value)
    validate_netx(path)
    with pytest.raises(ExportError, match=words):
        read_netx(path)


def test_writer_refuses_what_netx_would_change_and_leaves_nothing(tmp_path):
    """-256 is a weight of 8 bits, but netx turns it into -255 where no weight of the layer is positive."""
    conv, dense = make_graph().layers
    dense = dataclasses.replace(dense, weight=np.full((6, 60), -256))
    with pytest.raises(ExportError, match=r"layer 3 .dense. span -256 to -256"):
        write_netx(IntegerGraph((conv, dense), (2, 6, 5)), tmp_path / "net.net")
    assert not os.listdir(tmp_path)


def test_writer_refuses_kernels_over_time(tmp_path):
    layer = IntegerLayer(
        "block",
        "conv",
        np.full((2, 1, 3, 1, 1), 2),
        np.zeros(2, int),
        3,
        4096,
        0,
        1.0,
        (2, 4, 4),
        groups=2,
        time_taps=3,
    )
    with pytest.raises(ExportError, match="'block' sees 3 steps at once; expected one step, because netx"):
        write_netx(IntegerGraph((layer,), (2, 4, 4)), tmp_path / "net.net")
    assert not os.listdir(tmp_path)


def test_truncated_foreign_and_missing_files(path, tmp_path):
    content = path.read_bytes()
    (tmp_path / "half.net").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.net").write_text("no HDF5")
    with h5py.File(tmp_path / "events.h5", "w") as file:
        file["events/t"] = np.arange(3)
    for name, words in (
        ("half.net", "cannot be read as HDF5.*not copied to its end"),
        ("text.net", "cannot be read as HDF5"),
        ("events.h5", "HDF5 file without layers.*an event file"),
        ("none.net", "there is no file"),
        (".", "is a folder; expected a file of 'snnfer export lava'"),
    ):
        with pytest.raises(ExportError, match=words) as error:
            read_netx(tmp_path / name)
        assert "\n" not in str(error.value)


def test_damaged_inside(path):
    content = bytearray(path.read_bytes())
    with h5py.File(path, "r") as file:
        chunk = file[f"{DENSE}/weight"].id.get_chunk_info(0)
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    path.write_bytes(content)
    with pytest.raises(ExportError, match="is a damaged netx file"):
        read_netx(path)


def test_any_damage_is_one_sentence(path):
    """Bytes changed anywhere: the file is read, or refused in one sentence."""
    content, generator, sentences = path.read_bytes(), np.random.default_rng(0), []
    for _ in range(30):
        damaged = bytearray(content)
        for place in generator.integers(len(content), size=3):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            read_netx(path)
        except ExportError as error:
            sentences.append(str(error))
    assert 5 < len(sentences) < 30
    assert not any("\n" in sentence for sentence in sentences)


def test_own_part_damaged_or_of_another_version(path):
    change(path, "snnfer", "{")
    with pytest.raises(ExportError, match="what snnfer wrote into .* is damaged"):
        read_netx(path)
    change(path, "snnfer", '{"format_version": 9}')
    with pytest.raises(ExportError, match="format version 9"):
        read_certificate(path)
    change(path, "snnfer", '{"format_version": 1, "layers": [{"name": "one"}]}')
    with pytest.raises(ExportError, match="names 1 layers and holds 2"):
        read_netx(path)


def test_input_of_maps_for_a_dense_layer(tmp_path):
    layer = IntegerLayer("fc", "dense", np.full((2, 12), 2), np.zeros(2, int), 3, 4096, 0, scale=1.0, shape=(2,))
    write_netx(IntegerGraph((layer,), (3, 2, 2)), tmp_path / "net.net")
    read = read_netx(tmp_path / "net.net")
    assert read.input_shape == (3, 2, 2)
    assert same(read.layers[0], layer)
