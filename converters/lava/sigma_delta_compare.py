"""A sigma-delta file on lava beside the integer twin, message by message."""

import os
import time
from dataclasses import dataclass
from typing import ClassVar

import torch

from snnfer.converters.lava.comparison import RunComparison, compare_layer
from snnfer.converters.lava.direct import run_sigma_delta_lava
from snnfer.converters.lava.sigma_delta_file import read_sigma_delta
from snnfer.converters.loihi.sigma_delta import SigmaDeltaGraph
from snnfer.converters.loihi.sigma_delta_twin import SigmaDeltaResult, decode, run_sigma_delta


@dataclass(frozen=True)
class SigmaDeltaComparison(RunComparison):
    """The integer twin of a sigma-delta file beside lava; its first layer is the delta encoder, ``input``.

    Args:
        twin: The twin's run, free-running.
        lava_output: Activations of lava's last layer ``[T, N, *shape]``, as `SigmaDeltaResult.output`.
    """

    twin: SigmaDeltaResult
    lava_output: torch.Tensor

    sent: ClassVar[str] = "message"


def compare_sigma_delta(
    path: str | os.PathLike[str], x: torch.Tensor, *, graph: SigmaDeltaGraph | None = None
) -> SigmaDeltaComparison:
    """Run a file of `write_sigma_delta` with the integer twin and with lava, and compare every message of every layer.

    Clips are simulated one after the other, each by a network that is built anew: lava's sigma-delta neurons cannot be
    reset.

    Args:
        path: The file.
        x: Input ``[T, N, *input_shape]``.
        graph: What `read_sigma_delta` gave for the file; read where None.

    Raises:
        SnnferError: as `run_sigma_delta_lava` and `run_sigma_delta`.
    """
    graph = read_sigma_delta(path) if graph is None else graph
    started = time.perf_counter()
    twin = run_sigma_delta(graph, x, mode="free_running", record=True)
    twin_s = time.perf_counter() - started
    runs = [run_sigma_delta_lava(path, clip, graph=graph) for clip in x.split(1, dim=1)]
    found = [torch.cat(clips, dim=1) for clips in zip(*(run.messages for run in runs), strict=True)]
    names = ["input", *(layer.name for layer in graph.layers)]
    total = found[-1].long().cumsum(0)[len(graph.layers) :]  # [T, N, *shape]: without the latency
    return SigmaDeltaComparison(
        tuple(compare_layer(*layer) for layer in zip(names, twin.messages, found, strict=True)),
        n_frames=x.shape[0] * x.shape[1],
        twin_s=twin_s,
        lava_build_s=sum(run.build_s for run in runs),
        lava_run_s=sum(run.run_s for run in runs),
        twin=twin,
        lava_output=torch.stack([decode(step, graph.layers[-1]) for step in total]),
    )
