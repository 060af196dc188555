"""Running independent tasks in this process, in several, or on a Ray cluster, with one progress bar."""

import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_end
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from snnfer._memory import retain_freed_memory
from snnfer._progress import progress
from snnfer.errors import ConfigError, SnnferError


class Task(Protocol):
    """A piece of work that leaves its results in a folder of its own; it can be pickled."""

    @property
    def name(self) -> str: ...

    @property
    def epochs(self) -> int: ...

    @property
    def folder(self) -> Path: ...

    @property
    def devices(self) -> int: ...

    @property
    def inputs(self) -> tuple[Path, ...]: ...

    def run(self, *, on_epoch: Callable[[int, float], None]) -> None: ...


class WorkerError(SnnferError):
    """A worker process ended before its job was done."""


@dataclass(frozen=True)
class Workers:
    """Who does the work of a benchmark.

    Args:
        engine: ``local`` is this machine, ``ray`` a Ray cluster.
        n_processes: How many tasks at a time; 0 means one here, and as many as there is room for on a cluster.
        address: Of the cluster, such as ``auto`` or ``10.0.0.1:6379``; empty takes ``$RAY_ADDRESS`` or, without it,
            starts a cluster on this machine and ends it after the work.
    """

    engine: Literal["local", "ray"] = "local"
    n_processes: int = 0
    address: str = ""

    def __post_init__(self) -> None:
        if self.engine not in ("local", "ray"):
            raise ConfigError(f"engine '{self.engine}'", expected="local or ray")
        if self.address and self.engine != "ray":
            raise ConfigError(f"the address '{self.address}' without a cluster", fix="add --engine ray")

    @property
    def n_local(self) -> int:
        """Processes for work that stays on this machine."""
        return max(1, self.n_processes)

    def run(self, tasks: Sequence[Task], *, threads: int = 0) -> None:
        """Run every task; results do not depend on who runs it, as long as `threads` is the same.

        Args:
            tasks: In the order they are begun; none depends on another.
            threads: Threads of torch per process; 0 shares the cores of this machine, and is one on a cluster.

        Raises:
            WorkerError: a worker died (for example, for lack of memory). Completed tasks stay complete.
            ConfigError: the cluster cannot be reached, or does not see what the tasks read and write.
            MissingExtraError: ray is not installed.
        """
        if not tasks:
            return
        with progress(total=sum(task.epochs for task in tasks), desc="training", unit="epoch") as bar:
            if self.engine == "ray":
                from snnfer.benchmark.ray_engine import run_on_ray

                meters = {task.name: Meter(task.name, bar) for task in tasks}
                run_on_ray(tasks, meters, address=self.address, n_at_a_time=self.n_processes, threads=threads or 1)
                return
            n_processes = min(self.n_local, len(tasks))
            threads = threads or max(1, (os.cpu_count() or 1) // n_processes)
            if n_processes == 1:
                _run_here(tasks, threads, bar)
            else:
                _run_in_pool(tasks, n_processes, threads, bar)


def _run_here(tasks: Sequence[Task], threads: int, bar: Any) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for task in tasks:
            meter = Meter(task.name, bar)
            task.run(on_epoch=meter)
            meter.finish(task.epochs)
    finally:
        torch.set_num_threads(before)


class Meter:
    """Moves a bar by the epochs of one task, also when the task resumes in the middle."""

    def __init__(self, name: str, bar: Any) -> None:
        self._name, self._bar, self._done = name, bar, 0

    def __call__(self, epoch: int, loss: float) -> None:
        self._bar.update(epoch - self._done)
        self._bar.set_postfix_str(f"{self._name} loss {loss:.4f}", refresh=False)
        self._done = epoch

    def finish(self, epochs: int) -> None:
        """Count the epochs that a resumed task did not run again."""
        self._bar.update(epochs - self._done)
        self._done = epochs


def _run_in_pool(tasks: Sequence[Task], n_processes: int, threads: int, bar: Any) -> None:
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    meters = {task.name: Meter(task.name, bar) for task in tasks}
    pool = ProcessPoolExecutor(n_processes, context, _start_worker, (messages, threads))
    try:
        futures: dict[Future[None], Task] = {pool.submit(_work, task): task for task in tasks}
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=0.3)
            _drain(messages, meters)
            for future in done:
                future.result()
                meters[futures[future].name].finish(futures[future].epochs)
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process was ended from outside",
            cause="too little memory for so many jobs at a time",
            fix="run the same command again with a smaller --jobs; finished work is kept",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drain(messages: Any, meters: Mapping[str, Meter]) -> None:
    while True:
        try:
            name, epoch, loss = messages.get_nowait()
        except queue.Empty:
            return
        meters[name](epoch, loss)


_worker_messages: Any = None


def _start_worker(messages: Any, threads: int) -> None:
    global _worker_messages
    _worker_messages = messages
    retain_freed_memory()
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a second run must not meet it in the same folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_end([parent.sentinel])
        os._exit(1)


def _work(task: Task) -> None:
    task.run(on_epoch=lambda epoch, loss: _worker_messages.put((task.name, epoch, loss)))
