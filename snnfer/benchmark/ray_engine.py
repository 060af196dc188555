"""Running independent tasks on a Ray cluster: every node computes, what they read and write lies in shared folders."""

import importlib.metadata
import os
import platform
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from snnfer._memory import retain_freed_memory
from snnfer._optional import require
from snnfer.errors import ConfigError, SnnferError

if TYPE_CHECKING:
    from snnfer.benchmark.pool import Meter, Task

RETRIES = 3
"""How often a task whose process or node died is begun again; it goes on from its last complete epoch."""

CONNECT_S = 5.0
"""How long an address may take to answer."""


def run_on_ray(
    tasks: "Sequence[Task]", meters: "Mapping[str, Meter]", *, address: str, n_at_a_time: int, threads: int
) -> None:
    """Run every task on a cluster; see `snnfer.benchmark.pool.Workers`.

    A task takes `threads` processors, and a GPU where the cluster has some, for each of its devices.

    Raises:
        ConfigError: the cluster cannot be reached, has no room, or a node does not see the files or has other versions.
        MissingExtraError: ray is not installed.
        WorkerError: a task's worker died again and again.
    """
    ray = require("ray", extra="ray")
    with _connected(ray, address):
        needs = [_needs(ray, task, threads) for task in tasks]
        _check_nodes(ray, tasks)
        _run(ray, list(zip(tasks, needs, strict=True)), meters, n_at_a_time or len(tasks), threads)


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """A connection to the cluster; one that we started ends with it, however the work ends."""
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS", "") or "local"
    _check_answers(address)
    options = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {"num_cpus": os.cpu_count(), "include_dashboard": False}
    try:
        ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreachable(address, str(error).strip().partition("\n")[0]) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Ask the address itself first: Ray waits long for one that is wrong."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address in ("auto", "local"):
        return
    if not (host and port.isdigit()):
        raise ConfigError(f"--address {address}", expected="auto, HOST:PORT or ray://HOST:PORT, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str, cause: str) -> ConfigError:
    return ConfigError(
        f"no Ray cluster answers at '{address}'",
        cause=cause,
        fix="start one with 'ray start --head --port=6379' and join it on this machine with 'ray start --address="
        "HOST:6379', or leave --address out for a cluster on this machine alone",
    )


def _needs(ray: Any, task: "Task", threads: int) -> dict[str, int]:
    """Processors and GPUs of a task; `ConfigError` if no node has them, for which Ray would wait for ever."""
    total = ray.cluster_resources()
    needs = {"num_cpus": threads * task.devices, "num_gpus": task.devices if total.get("GPU") else 0}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(n.get("CPU", 0) >= needs["num_cpus"] and n.get("GPU", 0) >= needs["num_gpus"] for n in nodes):
        return needs
    largest = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    raise ConfigError(
        f"a training needs {needs['num_cpus']} processors and {needs['num_gpus']} GPUs of one node",
        expected=f"no more than a node of the cluster has (at most {largest} processors)",
        cause="train.threads or train.devices is too large",
        fix=f"set train.threads to {largest} or less" if largest else "start nodes with processors to spare",
    )


def _check_nodes(ray: Any, tasks: "Sequence[Task]") -> None:
    """Raise `ConfigError` unless every node sees the files and the folder of the run, and has our versions."""
    strategies = require("ray.util.scheduling_strategies", extra="ray")
    run_dir = tasks[0].folder.resolve().parent
    run_dir.mkdir(parents=True, exist_ok=True)
    token = run_dir / f".seen-{uuid.uuid4().hex}"
    token.touch()
    try:
        paths = list(dict.fromkeys([token, *(path for task in tasks for path in task.inputs)]))
        look = ray.remote(num_cpus=0, max_retries=0)(look_around)
        for node in ray.nodes():
            if node["Alive"]:
                here = strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                answer = look.options(scheduling_strategy=here).remote(os.getcwd(), paths)
                check_node(node["NodeManagerAddress"], *_result(ray, answer), run_dir=run_dir, token=token)
    finally:
        token.unlink()


def look_around(folder: str, paths: Sequence[Path]) -> tuple[list[Path], dict[str, str]]:
    """Which of `paths` are not there, seen from `folder`, and the versions of what computes."""
    _enter(folder)
    return [path for path in paths if not path.exists()], our_versions()


def our_versions() -> dict[str, str]:
    """What must be the same on all nodes for the same numbers."""
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in ("snnfer", "torch")
    }


def check_node(name: str, missing: Sequence[Path], versions: Mapping[str, str], *, run_dir: Path, token: Path) -> None:
    """Raise `ConfigError` if a node lacks files or has other versions than this one.

    Args:
        name: Address of the node.
        missing, versions: What it answered, see `look_around`.
        run_dir: Folder of the jobs.
        token: A file in it.
    """
    if missing:
        raise ConfigError(
            f"the node {name} does not see '{run_dir if missing[0] == token else missing[0]}'",
            expected="the data set, the cache of tensors and the folder of the run at the same paths on every node",
            cause="a folder that only this machine has",
            fix="put them on a shared file system: --set data.root=..., SNNFER_CACHE=... and --out ...",
        )
    for package, version in our_versions().items():
        if versions[package] != version:
            raise ConfigError(
                f"the node {name} has {package} {versions[package]}",
                expected=f"{version}, as here: other versions give other numbers",
                fix=f"install the same {package} on every node",
            )


def _run(
    ray: Any,
    waiting: "list[tuple[Task, dict[str, int]]]",
    meters: "Mapping[str, Meter]",
    n_at_a_time: int,
    threads: int,
) -> None:
    messages = ray.remote(num_cpus=0)(Messages).remote()
    work = ray.remote(max_retries=RETRIES)(run_task)
    running: dict[Any, Task] = {}
    try:
        while waiting or running:
            while waiting and len(running) < n_at_a_time:
                task, needs = waiting.pop(0)
                running[work.options(**needs).remote(task, os.getcwd(), threads, messages)] = task
            done, _ = ray.wait(list(running), timeout=0.5)
            for name, epoch, loss in _result(ray, messages.take.remote()):
                meters[name](epoch, loss)
            for reference in done:
                task = running.pop(reference)
                _result(ray, reference)
                meters[task.name].finish(task.epochs)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        ray.kill(messages)


def run_task(task: "Task", folder: str, threads: int, messages: Any) -> None:
    """Run one task in a worker of the cluster."""
    _enter(folder)
    retain_freed_memory()
    torch.set_num_threads(threads)
    task.run(on_epoch=lambda epoch, loss: messages.put.remote((task.name, epoch, loss)))


def _enter(folder: str) -> None:
    """Take relative paths from where the command was typed, if that folder is here, too."""
    if os.path.isdir(folder):
        os.chdir(folder)


class Messages:
    """Completed epochs, on their way from the workers to the bar."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, int, float]] = []

    def put(self, message: tuple[str, int, float]) -> None:
        """Add the name of a task, its number of complete epochs, and the loss of the last."""
        self._waiting.append(message)

    def take(self) -> list[tuple[str, int, float]]:
        """All that came since the last time."""
        messages, self._waiting = self._waiting, []
        return messages


def _result(ray: Any, reference: Any) -> Any:
    """What a remote call returned, or the error that it ended with."""
    from snnfer.benchmark.pool import WorkerError

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, SnnferError) else error) from None
    except ray.exceptions.RayError as error:
        raise WorkerError(
            "a worker of the Ray cluster ended before its job was done",
            expected=f"at most {RETRIES} such ends per job",
            cause=f"too little memory on a node, or a node that left ({type(error).__name__})",
            fix="run the same command again, with more train.threads or a smaller --jobs; finished work is kept",
        ) from error
