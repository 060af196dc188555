"""Benchmarks on Ray: the same numbers as here, with workers that die, nodes that leave and folders that are missing."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snnfer.benchmark import run
from snnfer.benchmark.pool import Workers
from snnfer.benchmark.ray_engine import Messages, check_node, look_around, our_versions
from snnfer.errors import ConfigError, MissingExtraError

EVENTS = ["modalities=[events]", "controls.label_permuted=[]"]
SCRIPT = """
import sys
from snnfer.cli.main import main
sys.exit(main())
"""


def scores(run_dir):
    table = pd.read_parquet(run_dir / "predictions.parquet")
    table = table.sort_values(["model", "modality", "variant", "seed", "clip"]).reset_index(drop=True)
    return np.stack(table["scores"].tolist())


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_without_ray_one_sentence_names_the_extra(config_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"'ray' is not installed.*pip install 'snnfer\[ray\]'"):
        run(config_file, out=tmp_path / "runs", engine="ray")


def test_an_address_belongs_to_ray(config_file, tmp_path):
    with pytest.raises(ConfigError, match="address 'auto' without a cluster; fix: add --engine ray"):
        run(config_file, out=tmp_path / "runs", address="auto")
    with pytest.raises(ConfigError, match="engine 'spark'; expected local or ray"):
        Workers(engine="spark")


class TestNodes:
    def test_a_node_sees_what_is_there_from_the_folder_of_the_command(self, tmp_path, monkeypatch):
        (tmp_path / "here.npy").touch()
        monkeypatch.chdir("/")
        missing, versions = look_around(str(tmp_path), [Path("here.npy"), Path("there.npy"), tmp_path / "here.npy"])
        assert missing == [Path("there.npy")]
        assert versions == our_versions()
        assert set(versions) == {"python", "snnfer", "torch"}

    def test_a_missing_file_names_the_node_and_what_to_share(self, tmp_path):
        token = tmp_path / ".seen"
        message = "node 10.0.0.2 does not see '/data/a.h5'; expected the data set, the cache.*SNNFER_CACHE"
        with pytest.raises(ConfigError, match=message):
            check_node("10.0.0.2", [Path("/data/a.h5")], our_versions(), run_dir=tmp_path, token=token)
        with pytest.raises(ConfigError, match=f"does not see '{tmp_path}'"):
            check_node("10.0.0.2", [token], our_versions(), run_dir=tmp_path, token=token)

    def test_other_versions_are_refused(self, tmp_path):
        check_node("10.0.0.2", [], our_versions(), run_dir=tmp_path, token=tmp_path)
        with pytest.raises(ConfigError, match=r"node 10.0.0.2 has torch 1.0; expected .* other numbers"):
            check_node("10.0.0.2", [], our_versions() | {"torch": "1.0"}, run_dir=tmp_path, token=tmp_path)


def test_messages_are_taken_once():
    messages = Messages()
    messages.put(("a", 1, 0.5))
    assert (messages.take(), messages.take()) == ([("a", 1, 0.5)], [])


def processes_of(marker):
    """Ids of the processes whose environment holds `marker`, which all that we start inherit."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (
                marker.encode() in (path / "environ").read_bytes()
                and b"\nState:\tZ" not in (path / "status").read_bytes()
            ):
                found.append(int(path.name))
        except OSError:
            continue
    return found


def wait_until(condition, *, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.1)


@contextmanager
def node(marker, *arguments, n_cpus=1):
    """A Ray node that ends with the block, with all of its processes."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--num-cpus={n_cpus}"]
    command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", *arguments]
    environment = os.environ | {"SNNFER_TEST_NODE": marker, "RAY_AUTH_MODE": "disabled"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        for pid in processes_of(f"SNNFER_TEST_NODE={marker}"):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    """Address of a cluster of two nodes with a processor each, both on this machine."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    port, folder = free_port(), tmp_path_factory.mktemp("ray")
    head = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")
    with node(f"head{port}", *head), node(f"worker{port}", f"--address=127.0.0.1:{port}"):
        yield f"127.0.0.1:{port}"


def n_nodes(address):
    script = f"import ray; ray.init('{address}', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    return int(result.stdout.strip() or 0) if result.returncode == 0 else 0


def command(config_file, out, *options):
    overrides = [part for option in EVENTS for part in ("--set", option)]
    line = [sys.executable, "-c", SCRIPT, "benchmark", "run", str(config_file), "--out", str(out), "--engine", "ray"]
    return [*line, *overrides, *options]


@pytest.fixture
def begin():
    """A function that starts a command, which does not outlive the test."""
    begun = []

    def start(line, environment):
        begun.append(
            subprocess.Popen(
                line,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
            )
        )
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()


@pytest.mark.slow  # starts clusters, which takes many seconds
class TestClusters:
    def test_two_nodes_give_the_bits_of_one_process(self, config_file, cluster, tmp_path):
        wait_until(lambda: n_nodes(cluster) == 2, seconds=240)
        result = subprocess.run(
            command(config_file, tmp_path / "ray", "--address", cluster), capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stderr
        there = scores(next((tmp_path / "ray").iterdir()))
        assert np.array_equal(there, scores(run(config_file, out=tmp_path / "here", overrides=EVENTS)))

    def test_a_worker_that_is_killed_begins_again_where_it_was(self, config_file, tmp_path, begin):
        pytest.importorskip("ray")
        options = [*EVENTS, "train.epochs=40", "protocol.folds=[anna]"]
        out, marker = tmp_path / "ray", f"SNNFER_TEST_RUN={tmp_path.name}"
        line = command(config_file, out, *(part for option in options[2:] for part in ("--set", option)))
        environment = os.environ | dict([marker.split("=")])
        process = begin(line, environment)
        wait_until(lambda: list(out.glob("*/jobs/*/checkpoint/last.safetensors")), seconds=240)
        [worker] = [
            pid for pid in processes_of(marker) if b"ray::run_task" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(worker, signal.SIGKILL)
        assert process.wait(300) == 0
        run_dir = run(config_file, out=tmp_path / "here", overrides=options)
        assert np.array_equal(scores(next(out.iterdir())), scores(run_dir))

    def test_an_interruption_leaves_no_process_behind(self, config_file, tmp_path, begin):
        pytest.importorskip("ray")
        out, marker = tmp_path / "ray", f"SNNFER_TEST_RUN={tmp_path.name}"
        environment = os.environ | dict([marker.split("=")])
        line = command(config_file, out, "--set", "train.epochs=2000")
        process = begin(line, environment)
        wait_until(lambda: list(out.glob("*/jobs/*/checkpoint/last.safetensors")), seconds=240)
        assert len(processes_of(marker)) > 3
        process.send_signal(signal.SIGINT)
        assert process.wait(120) != 0
        wait_until(lambda: not processes_of(marker), seconds=60)

    @pytest.mark.parametrize(
        ("address", "message"),
        [
            ("127.0.0.1:{port}", "no Ray cluster answers at '127.0.0.1:"),
            ("nowhere", "--address nowhere; expected auto"),
        ],
    )
    def test_an_address_without_a_cluster_is_one_sentence(self, config_file, tmp_path, address, message):
        pytest.importorskip("ray")
        address = address.format(port=free_port())
        with pytest.raises(ConfigError, match=message):
            run(config_file, out=tmp_path / "runs", engine="ray", address=address)

    def test_more_processors_than_a_node_has_are_refused(self, config_file, tmp_path):
        pytest.importorskip("ray")
        result = subprocess.run(
            command(config_file, tmp_path / "ray", "--set", "train.threads=500"), capture_output=True, text=True
        )
        assert result.returncode == 2
        assert "a training needs 500 processors" in result.stderr
