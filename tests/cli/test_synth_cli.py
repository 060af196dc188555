import json

from snnfer.cli.main import main

ARGS = ["--preset", "tiny", "--subjects", "1", "--set", "aus=[45, 12]", "--set", "width=64", "--set", "height=48"]


def test_synth_makes_a_data_set_that_verify_accepts(tmp_path, capsys):
    out = tmp_path / "data"
    assert main(["synth", "--out", str(out), *ARGS, "--difficulty", "micro", "--seed", "5"]) == 0
    assert "2 clips, 1 subjects x 2 Action Units x 1, 64x48, micro" in capsys.readouterr().out
    parameters = json.loads((out / "dataset.json").read_text())["parameters"]
    assert (parameters["seed"], parameters["difficulty"], parameters["aus"]) == (5, "micro", [45, 12])
    assert main(["data", "verify", str(out / "manifest.csv")]) == 0
    assert main(["synth", "--out", str(out), *ARGS]) == 2
    assert "other parameters" in capsys.readouterr().err


def test_bad_settings_are_one_sentence(tmp_path, capsys):
    assert main(["synth", "--out", str(tmp_path), "--set", "heigth=10"]) == 2
    error = capsys.readouterr().err
    assert "did you mean 'height'" in error
    assert error.count("\n") == 1
    assert main(["synth", "--out", str(tmp_path), "--lux", "-1"]) == 2
    assert "lux = -1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
