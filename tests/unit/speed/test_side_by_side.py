"""The benchmark of speed: the libraries compute the same, and the page says what was measured."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.speed import measure
from benchmarks.speed.figure import draw
from benchmarks.speed.libraries import build, copy_weights
from benchmarks.speed.memory import Peak
from benchmarks.speed.page import format_page
from benchmarks.speed.processes import RETAINED, SETTINGS, environment
from benchmarks.speed.results import Results, median_ratio
from benchmarks.speed.workloads import WORKLOADS, Convolution, Workload, make_input
from snnfer import create_model

TINY = Workload("tiny", "tiny", steps=6, batch=2, size=16, hidden=16, convolutions=(Convolution(4), Convolution(3)))
MACHINE = {"gemm_gflops": 100.0, "convolution_gflops": 110.0, "copy_gbs": 30.0}


def outputs(workload, library, *, train, dtype=torch.float64):
    """Outputs of snnfer and of another library with the same weights, without dropout."""
    x = make_input(workload)
    torch.manual_seed(0)
    ours = build("snnfer", workload)
    measure._settle(ours, workload, x)
    theirs = build(library, workload)
    copy_weights(ours, theirs)
    return [measure._output(network.to(dtype), x.to(dtype), train=train) for network in (ours, theirs)]


@pytest.mark.parametrize("library", ["spikingjelly", "norse"])
def test_every_library_computes_the_same_network(library):
    pytest.importorskip(library)
    ours, theirs = outputs(TINY, library, train=False)
    assert ours.std() > 0.01, "a silent network compares nothing"
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-6)


@pytest.mark.parametrize("library", ["snntorch", "sinabs"])
def test_libraries_that_know_float32_only_compute_the_same_but_for_single_spikes(library):
    pytest.importorskip(library)
    ours, theirs = outputs(TINY, library, train=False, dtype=torch.float32)
    assert ours.std() > 0.05
    assert (theirs - ours).abs().mean() < 0.005  # a spike more or less changes one score by 1 / 60


@pytest.mark.parametrize("name", ["strides", "kernel5", "spiking_fer"])
def test_spikingjelly_computes_the_same_in_training_too(name):
    pytest.importorskip("spikingjelly")
    workload = dataclasses.replace(WORKLOADS[name], steps=3, batch=1, size=32)
    ours, theirs = outputs(workload, "spikingjelly", train=True)
    assert ours.std() > 0.01
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-6)


def test_the_first_workload_is_the_network_of_the_paper():
    with torch.device("meta"):
        network = build("snnfer", WORKLOADS["au_snn"])
        paper = create_model("au_snn")
    assert str(network) == str(paper)
    first = WORKLOADS["au_snn"]
    assert (first.steps, first.batch, first.channels, first.size) == (76, 8, 2, 64)


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="shape"):
        copy_weights(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))


def test_the_input_is_sparse_counts():
    x = make_input(dataclasses.replace(WORKLOADS["au_snn"], steps=20, batch=2))
    assert torch.equal(x, x.round())
    assert 0.02 < (x != 0).float().mean() < 0.05


def test_rounds_alternate_and_the_first_does_not_count():
    order = []
    ticks = iter(range(100))
    steps = {name: lambda name=name: order.append(name) for name in "ABC"}
    seconds = measure.alternate(steps, 2, lambda step: (step(), next(ticks))[1])
    assert "".join(order) == "ABCABCABC"
    assert seconds == {"A": [3, 6], "B": [4, 7], "C": [5, 8]}


def test_ratios_are_paired_by_round():
    assert median_ratio([1.0, 2.0, 4.0], [3.0, 4.0, 40.0]) == (3.0, 2.0, 10.0)


def test_peak_memory_sees_what_was_freed_again():
    with Peak("cpu") as peak:
        torch.ones(64 * 2**20 // 4).sum()
    if Path("/proc/self/clear_refs").exists():
        assert 60 < peak.mib < 100


def test_a_job_runs_in_an_interpreter_of_its_own_with_its_allocator(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "7")
    assert "MALLOC_MMAP_MAX_" not in environment("cpu", "default")
    assert environment("cpu", "retained").items() >= RETAINED.items()


def test_every_back_end_of_spikingjelly_has_an_environment(monkeypatch):
    monkeypatch.setenv("SJ_PLIF_CUDA_IMPLEMENTATION", "torch")
    for back_end in ("triton", "cuda"):
        assert environment("cuda", back_end)["SJ_PLIF_CUDA_IMPLEMENTATION"] == back_end
        assert environment("cuda", back_end)["SJ_IF_CUDA_IMPLEMENTATION"] == back_end
    assert "MALLOC_MMAP_MAX_" not in SETTINGS["cuda"]["triton"]


def test_spikingjelly_takes_the_back_end_that_is_asked_for_on_cuda():
    pytest.importorskip("spikingjelly")
    code = (
        "from spikingjelly._ops import if_, plif\n"
        "print(if_._selection._requested, plif._selection._requested, plif._selection._namespace)"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    variables = {**os.environ, **environment("cuda", "triton")}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert result.stdout.split() == ["triton", "triton", "sj_plif"], result.stderr


def test_cuda_is_refused_where_there_is_none(capsys, monkeypatch):
    from benchmarks.speed import __main__ as command

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["speed", "--device", "cuda"])
    with pytest.raises(SystemExit):
        command.parse()
    assert "torch sees no CUDA device here" in capsys.readouterr().err


def test_on_cuda_events_measure(monkeypatch):
    assert measure.timer("cuda", "cpu") is measure.ceilings.cuda_seconds


@pytest.fixture
def results():
    """Two rounds of pencil numbers; norse does not run."""
    found = Results("python -m benchmarks.speed", "cpu", "cpu", 2, MACHINE)
    rest = {"macs": 5.5e9, "firing_rate": 0.25, "elements": 1, "device": "", "failures": {"norse": "ImportError: no"}}
    differences = {"snnfer": (0.0, 0.0), "spikingjelly": (2e-7, None)}
    for setting, factor in (("default", 12.0), ("retained", 7.0)):
        seconds = {"snnfer": [0.5, 1.0], "spikingjelly": [0.5 * factor, 2 + factor]}
        found.times["au_snn", "train", setting] = {"seconds": seconds, "differences": differences, **rest}
    found.peaks = {("au_snn", "train", name): mib for name, mib in zip(
        ("snnfer", "spikingjelly", "norse"), (200.0, 4000.0, None), strict=True)}  # fmt: skip
    return found


def test_the_page_holds_the_paired_ratios_and_what_did_not_run(results):
    page = format_page(results, picture="speed.png")
    row = next(line for line in page.splitlines() if "| spikingjelly |" in line)
    assert "13.00 [12.00 to 14.00]" in row
    assert "8.00 [7.00 to 9.00]" in row
    assert "| 4000 | 20.00 | 2e-07; float32 only |" in row
    assert "did not run: ImportError: no" in page
    assert "| 11.0 | 0.10 s | 0.250 |" in page  # 2 x 5.5 G at 110 GFLOP/s


def test_targets_are_met_or_missed_by_the_median(results):
    page = format_page(results, picture="speed.png")
    assert "| au_snn (W) | training step | retained | 7 | 10 | 8.00 | must met |" in page
    assert "| au_snn (W) | training step | default | 12 | 16 | 13.00 | must met |" in page
    assert "| au_snn (W) | training step | extra peak memory | 16 | 40 | 20.00 | must met |" in page
    results.shapes["au_snn"] = {"steps": 8}
    assert "## Targets" not in format_page(results, picture="speed.png")


def test_the_figure_is_written(results, tmp_path):
    draw(results, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").stat().st_size > 1000


def test_a_job_answers_in_json(capsys):
    job = measure.Job("odd24", "train", ("snnfer",), changes={"steps": 2, "batch": 1, "size": 16}, rounds=1)
    result = json.loads(json.dumps(measure.run(job)))
    assert len(result["seconds"]["snnfer"]) == 1
    assert result["seconds"]["snnfer"][0] > 0
    assert 0 < result["firing_rate"] < 1
