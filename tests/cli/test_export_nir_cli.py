"""``snnfer export nir`` as its user types it."""

import json

import nir
import pytest

from snnfer.cli.main import main
from snnfer.converters.nir import to_nir

SMALL = ["--set", "size=[8,8]", "--set", "channels=4", "--set", "hidden=16"]


def test_a_file_is_written_and_compared_in_three_libraries(tmp_path, capsys):
    for library in ("spikingjelly", "norse", "snntorch"):
        pytest.importorskip(library)
    out, report = tmp_path / "net.nir", tmp_path / "net.json"
    assert main(["export", "nir", "au_snn", *SMALL, "--out", str(out), "--verify", "all", "--json", str(report)]) == 0
    printed = capsys.readouterr().out
    assert "6 layers of weights, 6 of neurons" in printed
    assert printed.count(" spikes differ (0.0000%)") == 3
    assert len(nir.read(out).nodes) == 6 + 6 + 3
    comparisons = json.loads(report.read_text())["comparisons"]
    assert [found["library"].split()[0] for found in comparisons] == ["spikingjelly", "norse", "snntorch"]
    assert [found["n_mismatches"] for found in comparisons] == [0, 0, 0]


def test_a_file_without_comparison(tmp_path, capsys):
    out = tmp_path / "net.nir"
    assert main(["export", "nir", "au_snn", *SMALL, "--out", str(out), "--dt", "0.033"]) == 0
    assert "steps of 0.033 s" in capsys.readouterr().out
    assert nir.read(out).metadata["dt_s"] == 0.033


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["spiking_fer", "--set", "size=[32,32]"], "'layers.stage1.0' is a SEWBlock"),
        (["au_snn", *SMALL, "--dt", "0"], "dt_s = 0"),
        (["au_snn", *SMALL, "--dt", "0.033", "--verify", "snntorch"], "snnTorch assumes"),
        (["au_snn", *SMALL, "--clips", "3", "--verify", "norse"], "--clips without --data"),
        (["au_snn", *SMALL, "--data", "x"], "--data without --verify"),
        (["au_snn", *SMALL, "--data", "x", "--verify", "norse"], "untrained"),
        (["no_such_model"], "no_such_model"),
        (["./no_such_folder"], "no_such_folder"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, tmp_path, capsys):
    assert main(["export", "nir", *arguments, "--out", str(tmp_path / "net.nir")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("snnfer: error: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_file_that_computes_something_else_fails(tmp_path, capsys, monkeypatch):
    pytest.importorskip("norse")

    def damaged(model, path, **kwargs):
        graph = to_nir(model, **kwargs)
        graph.nodes["layers.conv1.conv"].bias += 3
        nir.write(path, graph)
        return graph

    monkeypatch.setattr("snnfer.converters.nir.export.to_nir", damaged)
    assert main(["export", "nir", "au_snn", *SMALL, "--out", str(tmp_path / "net.nir"), "--verify", "norse"]) == 1
    assert "not by rounding" in capsys.readouterr().out


def test_unknown_libraries_are_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["export", "nir", "au_snn", "--out", str(tmp_path / "net.nir"), "--verify", "nengo"])
    assert caught.value.code == 2
    assert "nengo" in capsys.readouterr().err
