"""What a report shows of the networks themselves: operation counts, an example input and its spikes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnfer._files import atomic_path, write_json
from snnfer.benchmark.jobs import Job
from snnfer.datasets import ClipTensors
from snnfer.neurons import Neuron, observe
from snnfer.plot.representations import representation_image, typical_value
from snnfer.profiling import SCENARIOS, OperationReport, count_operations, estimate_energy
from snnfer.representations import Representation
from snnfer.training import load_model

Complete = Sequence[tuple[Job, Path]]
MAX_RASTER_NEURONS = 100


def write_operations(path: Path, complete: Complete, clips: Mapping[str, ClipTensors]) -> None:
    """Write ``ops.json``: parameters and operations per clip of each model and modality, on one held-out clip each."""
    entries = []
    for job, part in _one_per_network(complete):
        trained = load_model(part / "model")
        x = _input(trained, clips[job.modality], job)
        report = count_operations(trained.model, x)
        names = {"model": job.model.shown_name, "modality": job.modality}
        entries.append(
            names | report.to_dict() | names | {"energy": energy_estimates(report)}
        )  # the report knows the model by the name of its class
    write_json(path, entries)


def write_examples(path: Path, complete: Complete, clips: Mapping[str, ClipTensors]) -> None:
    """Write ``examples.npz``: one held-out clip as event frames (and RGB frames) and the spikes it causes."""
    job, part = next(((j, p) for j, p in complete if j.modality == "events"), complete[0])
    index = job.fold.test[0]
    arrays: dict[str, np.ndarray] = {}
    if clips[job.modality].input.slicing == "time":  # otherwise steps have no one length
        arrays["steps_us"] = np.array(clips[job.modality].input.window_us)
    for modality in clips:
        x, _, length = clips[modality][index]
        if modality == "events":
            arrays["event_frames"] = event_pictures(x[:length].numpy(), clips[modality].input.event_representation)
        elif modality in ("rgb", "rgbd"):
            arrays["rgb_frames"] = x[:length, :3].to(torch.uint8).numpy()
    arrays["event_clip"] = np.array(clips[job.modality].data.clips[index].clip)
    trained = load_model(part / "model")
    arrays |= {
        f"raster_{name}": spikes
        for name, spikes in rasters(trained.model, _input(trained, clips[job.modality], job)).items()
    }
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


def energy_estimates(report: OperationReport) -> list[dict[str, Any]]:
    """Energy under every named scenario, as plain values: estimates, not measurements."""
    entries = []
    for scenario in SCENARIOS.values():
        estimate = estimate_energy(report, scenario)
        entries.append(
            {
                "scenario": scenario.name,
                "event_driven_pj": estimate.event_driven_pj,
                "dense_pj": estimate.dense_pj,
                "reason": estimate.reason,
                "constants": scenario.constants(),
                "description": scenario.description,
                "source": scenario.source,
            }
        )
    return entries


def event_pictures(frames: np.ndarray, representation: Representation) -> np.ndarray:
    """Steps ``[T, C, H, W]`` as they are if their channels are OFF and ON, else as pictures ``[T, H, W, 3]``."""
    if frames.shape[1] == 2:
        return frames
    full_value = typical_value(frames, representation)
    return np.stack([representation_image(frame, representation, full_value=full_value) for frame in frames])


@torch.no_grad()
def rasters(model: torch.nn.Module, x: torch.Tensor) -> dict[str, np.ndarray]:
    """Spikes ``[T, n]`` of each spiking layer for one clip ``[T, 1, C, H, W]``; large layers are sampled evenly."""
    found: dict[str, list[torch.Tensor]] = {}

    def record(name: str, neuron: Neuron, current: torch.Tensor, spikes: torch.Tensor, state: Any) -> None:
        flat = spikes[:, 0].flatten(1)  # [t, n]
        keep = torch.linspace(0, flat.shape[1] - 1, min(MAX_RASTER_NEURONS, flat.shape[1])).long()
        found.setdefault(name, []).append(flat[:, keep])

    with observe(model, record):
        model(x)
    return {name: torch.cat(parts).bool().numpy() for name, parts in found.items()}


def _one_per_network(complete: Complete) -> list[tuple[Job, Path]]:
    first: dict[tuple[str, str], tuple[Job, Path]] = {}
    for job, part in complete:
        if job.variant == "standard":
            first.setdefault((job.model.shown_name, job.modality), (job, part))
    return list(first.values())


def _input(trained: Any, clips: ClipTensors, job: Job) -> torch.Tensor:
    """The example clip as network input ``[T, 1, C, H, W]``, its valid steps only."""
    x, _, length = clips[job.fold.test[0]]
    return trained.normalise(x[:length, None])
