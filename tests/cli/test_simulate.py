"""``snnfer simulate``: exported files on clips of people that the model was not trained on."""

import dataclasses
import json

import pytest

from snnfer.cli import main as cli
from snnfer.cli._export_input import Exported, load_clips, load_exported
from snnfer.cli._netx_metadata import describe_source
from snnfer.converters.from_model import to_graph
from snnfer.converters.lava.netx import write_netx
from snnfer.converters.loihi.quantise import quantise
from snnfer.converters.loihi.twin import run_twin
from snnfer.datasets import ClipInput
from snnfer.errors import ConfigError, ExportError
from snnfer.training.checkpoint import save_model


@pytest.fixture(autouse=True)
def only_simulate(monkeypatch):
    monkeypatch.setattr(cli, "COMMAND_MODULES", ("simulate",))


@pytest.fixture(scope="module")
def net(tmp_path_factory, module_toy_manifest, make_trained):
    """A netx file, the network that it came from, and the data set."""
    folder = tmp_path_factory.mktemp("net")
    save_model(folder / "model", make_trained())
    exported = load_exported(str(folder / "model"))
    graph = dataclasses.replace(quantise(to_graph(exported.model)), metadata=describe_source(exported))
    write_netx(graph, folder / "net.net")
    return folder / "net.net", exported, module_toy_manifest


def run(*arguments):
    return cli.main(["simulate", *(str(argument) for argument in arguments)])


def test_twin_prints_and_writes_what_the_library_computes(net, tmp_path, capsys):
    path, exported, data = net
    assert run(path, "--data", data, "--json", tmp_path / "r.json") == 0
    out, values = capsys.readouterr().out, json.loads((tmp_path / "r.json").read_text())
    clips = load_clips(exported, str(data))
    expected = run_twin(quantise(to_graph(exported.model)), clips.x)
    assert clips.subjects == ("cleo",)
    assert "6 clips of cleo, 8 steps each" in out
    assert [layer["spikes"] for layer in values["layers"]] == [layer.n_spikes for layer in expected.layers]
    assert values["layers"][0]["spikes"] > 0
    right = (expected.scores(clips.lengths).argmax(1) == clips.labels).double().mean()
    assert values["accuracy"] == pytest.approx(float(right))
    assert f"accuracy {float(right):.1%}" in out
    assert run(path, "--data", data, "--clips", 1, "--steps", 1) == 0
    assert "6 layers, 1 clip of cleo, 1 step each" in capsys.readouterr().out


@pytest.mark.usefixtures("lava")
def test_lava_agrees_with_the_twin(net, tmp_path, capsys):
    path, _, data = net
    assert run(path, "--data", data, "--clips", 2, "--engine", "lava", "--json", tmp_path / "r.json") == 0
    out, values = capsys.readouterr().out, json.loads((tmp_path / "r.json").read_text())
    assert "lava and the twin agree in every spike of every layer" in out
    assert (values["mismatches"], values["frames"]) == (0, 16)
    assert values["accuracy_lava"] == values["accuracy_twin"]


def test_bad_input_is_one_sentence(net, tmp_path, monkeypatch, capsys):
    path, _, data = net
    monkeypatch.setenv("SNNFER_CACHE", str(tmp_path))
    (tmp_path / "half.net").write_bytes(path.read_bytes()[:3000])
    for arguments, words in (
        ((), "no file to simulate"),
        ((path,), "no --data"),
        ((path, "--data", data, "--clips", 0), "0 clips"),
        ((path, "--data", data, "--engine", "lava"), "run 'snnfer simulate --setup-lava'"),
        ((tmp_path / "half.net", "--data", data), "cannot be read as HDF5"),
        ((tmp_path / "none.net", "--data", data), "there is no file"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


def test_too_many_clips_for_a_comparison(net, monkeypatch):
    from snnfer.cli import simulate

    path, _, data = net
    monkeypatch.setattr(simulate, "MEMORY", 30_000)
    monkeypatch.setattr("snnfer.converters.lava.environment.find_lava_python", lambda: None)
    per_clip = 8 * (4 * 16 * 16 + 4 * 8 * 8 + 4 * 8 * 8 + 4 * 4 * 4 + 8 + 6)
    args = cli.build_parser().parse_args(["simulate", str(path), "--data", str(data), "--engine", "lava"])
    with pytest.raises(ConfigError, match=f"--clips {30_000 // per_clip}"):
        simulate.run_engine(args)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mean": (3.0, 3.0)}, "values shifted by 3, 3 and divided by 1, 1; expected spikes or event counts"),
        ({"input": ClipInput(modality="gray")}, "the model reads gray frames; expected spikes or event counts"),
        ({"input": ClipInput(representation="est")}, "the model reads est; expected"),
    ],
)
def test_input_that_no_chip_takes(make_trained, changed, words):
    trained = make_trained(**changed)
    with pytest.raises(ExportError, match=words):
        describe_source(Exported(trained.model, "au_snn", trained))


def test_counts_are_graded_input(make_trained):
    for representation, bits in (("count_frames", 8), ("binary_frames", 0)):
        trained = make_trained(input=ClipInput(representation=representation))
        assert describe_source(Exported(trained.model, "au_snn", trained))["message_bits"] == bits


def test_file_of_another_program(net, tmp_path):
    import h5py

    path, _, data = net
    (tmp_path / "other.net").write_bytes(path.read_bytes())
    with h5py.File(tmp_path / "other.net", "r+") as file:
        del file["snnfer"]
    args = cli.build_parser().parse_args(["simulate", str(tmp_path / "other.net"), "--data", str(data)])
    with pytest.raises(ExportError, match="does not say how clips become its input"):
        args.run(args)
