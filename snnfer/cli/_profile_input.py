"""What ``snnfer profile`` runs a model on: real clips, a recording, or random input of the kind it reads."""

import argparse
import dataclasses
from typing import Any

from snnfer.errors import ConfigError, DatasetError

N_CLIPS = 8
"""Clips of a data set unless ``--clips`` says another number."""

SPARSE = ("count_frames", "gray_frames", "binary_frames", "ssr_histogram", "ssr_event_queue", "est")
"""Representations that are zero where nothing happened."""


@dataclasses.dataclass(frozen=True)
class Profiled:
    """A model and the samples to run it on.

    Args:
        model: The network.
        samples: Inputs ``[T, 1, C, H, W]``, which may differ in length.
        notes: What the reader must know about both.
    """

    model: Any
    samples: list[Any]
    notes: list[str]


def load_profiled(args: argparse.Namespace) -> Profiled:
    """Model and samples that the arguments ask for."""
    from pathlib import Path

    import torch

    torch.manual_seed(args.seed)
    if Path(args.model).is_dir():
        return _trained(args)
    model = create(args, args.model)
    notes = ["the model is untrained; dense figures are exact, spikes and ACs are not those of a trained model"]
    clip_input = _clip_input(args, model.config)
    samples = _read(args, clip_input, model.config, notes)
    if args.data or args.recording:
        samples = _normalise(samples, clip_input)
    settle_normalisation(model, samples[0])
    return Profiled(model, samples, notes)


def create(args: argparse.Namespace, name: str) -> Any:
    """The model `name` with the arguments that were given, else its own."""
    from snnfer.cli._named_model import create_named

    given: dict[str, Any] = {}
    if args.size is not None:
        given["size"] = [args.size, args.size]
    if args.in_channels is not None:
        given["in_channels"] = args.in_channels
    return create_named(name, args.overrides, **given)


def reads(config: dict[str, Any]) -> Any:
    """What the model of `config` reads, `snnfer.models.Reads`, with its own number of steps."""
    from snnfer.models import Reads, model_reads
    from snnfer.training.checkpoint import CONVERTED

    if config["name"] in CONVERTED:
        return Reads("")  # single images, of which kind the folder says; its n_steps are those of the simulation
    known = model_reads(config["name"])
    lstm = config.get("lstm", True)  # without it, models of windows read one
    n_steps = config.get("n_steps") or (config.get("n_windows") if lstm else 1) or known.n_steps
    return dataclasses.replace(known, n_steps=n_steps)


def random_input(args: argparse.Namespace, config: dict[str, Any]) -> tuple[Any, str]:
    """Random input ``[T, 1, C, H, W]`` of the kind that the model reads, and what it is in words."""
    import math

    import torch

    what = reads(config)
    shape = (args.steps or what.n_steps, 1, config["in_channels"], *config["size"])
    generator = torch.Generator().manual_seed(args.seed)
    if what.representation not in SPARSE:
        return torch.randn(shape, generator=generator), "a random image (normal, mean 0, deviation 1)"
    counts = torch.poisson(torch.full(shape, -math.log(1 - args.density)), generator=generator)
    if what.representation == "binary_frames":
        counts.clamp_(max=1)
    return counts, f"random event counts, {args.density:.1%} nonzero"


def settle_normalisation(model: Any, x: Any) -> None:
    """Give the batch normalisation of an untrained model the statistics of `x`, so that its neurons fire at all."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(x.expand(-1, 2, -1, -1, -1))  # two samples: some layers normalise over the batch alone
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _trained(args: argparse.Namespace) -> Profiled:
    from snnfer import load_model
    from snnfer.converters.ann_to_snn import SigmaDeltaSNN

    for name in ("size", "in_channels"):
        if getattr(args, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} with a model folder", expected="the model as it was trained",
                fix="leave it out",
            )  # fmt: skip
    if args.overrides:
        raise ConfigError("--set with a model folder", expected="the model as it was trained", fix="leave it out")
    trained = load_model(args.model)
    notes: list[str] = []
    config: Any = trained.model.config
    if isinstance(trained.model, SigmaDeltaSNN):
        raise ConfigError(
            f"'{args.model}' computes in integers, whose messages have no counter here",
            expected="a network of layers and neurons",
            fix=f"count messages and synaptic operations: snnfer simulate {args.model}/network.net --data DIR",
        )
    samples = _read(args, trained.input, config, notes, crop=trained.training.get("crop", ""))
    return Profiled(trained.model, [trained.normalise(x) for x in samples], notes)


def _clip_input(args: argparse.Namespace, config: dict[str, Any]) -> Any:
    """How a clip becomes the input of an untrained model."""
    from snnfer.datasets import ClipInput

    what = reads(config)
    return ClipInput(
        what.modality,
        n_steps=args.steps or what.n_steps,
        size=tuple(config["size"]),
        representation=what.representation or "count_frames",
        slicing=what.slicing,
    )


def _read(
    args: argparse.Namespace, clip_input: Any, config: dict[str, Any], notes: list[str], *, crop: str = ""
) -> list[Any]:
    """Raw samples ``[T, 1, C, H, W]``; clips cropped as `crop` says, else to the boxes of the manifest."""
    if not args.data and not args.recording:
        x, what = random_input(args, config)
        notes.append(f"the input is {what} (--data or --recording gives a real one)")
        return [x]
    if clip_input.n_channels != config["in_channels"]:
        raise ConfigError(
            f"'{config['name']}' reads {config['in_channels']} channels and this data gives {clip_input.n_channels}",
            fix=f"--in-channels {clip_input.n_channels}, or leave --in-channels out",
        )
    what = reads(config)
    if args.steps:
        clip_input = dataclasses.replace(clip_input, n_steps=args.steps)
    clips = _of_data(args, clip_input, crop) if args.data else [_of_recording(args, clip_input)]
    wanted = args.steps or (0 if what.any_length else what.n_steps)
    return [_middle(x, wanted, config["name"]) for x in clips]


def _of_data(args: argparse.Namespace, clip_input: Any, crop: str) -> list[Any]:
    """Valid steps of clips that lie evenly in a data set."""
    from snnfer.benchmark.data import read_clips
    from snnfer.datasets import ArrayCache, ClipTensors, ManifestDataset, default_cache_dir

    data = ManifestDataset.read(args.data, min_clips_per_subject=1).evenly(args.clips or N_CLIPS)
    if crop:
        tensors = read_clips(data, clip_input, crop)
    else:
        tensors = ClipTensors(data, clip_input, ArrayCache(default_cache_dir() / "tensors"))
    return [x[:length, None].float() for x, _, length in (tensors[i] for i in range(len(tensors)))]


def _of_recording(args: argparse.Namespace, clip_input: Any) -> Any:
    """The middle of a recording, as long as the model reads."""
    from snnfer import events

    stream = events.read(args.recording)
    start, n_valid = stream.t_start_us, clip_input.n_steps
    if clip_input.slicing == "time":
        n_valid = min(n_valid, stream.duration_us // clip_input.window_us)
        start += (stream.duration_us - n_valid * clip_input.window_us) // 2
        if not n_valid:
            raise DatasetError(
                f"the recording lasts {stream.duration_us / 1e3:.1f} ms",
                expected=f"at least one step of {clip_input.window_us / 1e3:.0f} ms",
            )
    return clip_input(stream, t_start_us=start, n_valid=n_valid, t_origin_us=stream.t_start_us)[:n_valid, None].float()


def _middle(x: Any, n_steps: int, name: str) -> Any:
    """The middle `n_steps` steps; 0 for all."""
    if n_steps > len(x):
        raise DatasetError(
            f"a clip of {len(x)} steps", expected=f"{n_steps}, which '{name}' is to read", fix="use longer clips"
        )
    first = (len(x) - n_steps) // 2 if n_steps else 0
    return x[first : first + n_steps] if n_steps else x


def _normalise(samples: list[Any], clip_input: Any) -> list[Any]:
    """Samples as training would show them: as the representation says, or by their own mean and deviation."""
    import torch

    from snnfer.training.checkpoint import normalise

    fixed = clip_input.normalisation
    if fixed is None:
        values = torch.cat([x.transpose(0, 2).flatten(1) for x in samples], 1)  # [C, all pixels]
        fixed = tuple(values.mean(1).tolist()), tuple(values.std(1).clamp_min(1e-3).tolist())
    return [normalise(x, *fixed) for x in samples]
