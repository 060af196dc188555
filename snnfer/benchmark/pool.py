"""Running independent jobs in this process or in several, with one progress bar."""

import multiprocessing
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_end
from pathlib import Path
from typing import Any

import torch

from snnfer._memory import retain_freed_memory
from snnfer._progress import progress
from snnfer.benchmark.config import BenchmarkConfig
from snnfer.benchmark.jobs import Job, run_job
from snnfer.datasets import ClipTensors
from snnfer.errors import SnnferError


class WorkerError(SnnferError):
    """A worker process ended before its job was done."""


def run_jobs(
    pending: Sequence[tuple[Job, Path]],
    config: BenchmarkConfig,
    clips: Mapping[str, ClipTensors],
    *,
    n_processes: int,
) -> None:
    """Run every pending job, `n_processes` at a time; each leaves its results in its own folder.

    Raises:
        WorkerError: a worker process died (for example, for lack of memory). Completed jobs stay complete.
    """
    total = sum(config.train_config(job.model).epochs for job, _ in pending)
    threads = config.train.threads or max(1, (os.cpu_count() or 1) // n_processes)
    with progress(total=total, desc="training", unit="epoch") as bar:
        if n_processes == 1:
            _run_here(pending, config, clips, threads, bar)
        else:
            _run_in_pool(pending, config, clips, n_processes, threads, bar)


def _run_here(
    pending: Sequence[tuple[Job, Path]],
    config: BenchmarkConfig,
    clips: Mapping[str, ClipTensors],
    threads: int,
    bar: Any,
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for job, folder in pending:
            meter = _Meter(job, bar)
            run_job(job, config, clips[job.modality], folder, on_epoch=meter)
            meter.finish(config.train_config(job.model).epochs)
    finally:
        torch.set_num_threads(before)


class _Meter:
    """Moves a bar by the epochs of one job, also when the job resumes in the middle."""

    def __init__(self, job: Job, bar: Any) -> None:
        self._name, self._bar, self._done = job.name, bar, 0

    def __call__(self, epoch: int, loss: float) -> None:
        self._bar.update(epoch - self._done)
        self._bar.set_postfix_str(f"{self._name} loss {loss:.4f}", refresh=False)
        self._done = epoch

    def finish(self, epochs: int) -> None:
        """Count the epochs that a resumed job did not run again."""
        self._bar.update(epochs - self._done)
        self._done = epochs


def _run_in_pool(
    pending: Sequence[tuple[Job, Path]],
    config: BenchmarkConfig,
    clips: Mapping[str, ClipTensors],
    n_processes: int,
    threads: int,
    bar: Any,
) -> None:
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    meters = {job.name: _Meter(job, bar) for job, _ in pending}
    pool = ProcessPoolExecutor(n_processes, context, _start_worker, (messages, threads))
    try:
        futures: dict[Future[None], Job] = {
            pool.submit(_work, job, config, clips[job.modality], folder): job for job, folder in pending
        }
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=0.3)
            _drain(messages, meters)
            for future in done:
                future.result()
                meters[futures[future].name].finish(config.train_config(futures[future].model).epochs)
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process was ended from outside",
            cause="too little memory for so many jobs at a time",
            fix="run the same command again with a smaller --jobs; finished work is kept",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _drain(messages: Any, meters: Mapping[str, _Meter]) -> None:
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


def _work(job: Job, config: BenchmarkConfig, clips: ClipTensors, folder: Path) -> None:
    run_job(job, config, clips, folder, on_epoch=lambda epoch, loss: _worker_messages.put((job.name, epoch, loss)))
