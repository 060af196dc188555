"""``snnfer profile``: operations, memory and arithmetic energy of a model."""

import argparse
from typing import Any

from snnfer.errors import ConfigError


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``profile``."""
    parser = subparsers.add_parser(
        "profile",
        help="count operations, spikes and memory of a model",
        description="Counts exactly what a model computes, layer by layer and per clip. The activity of a spiking "
        "network depends on its weights and its input: give a model folder and a recording for figures that mean "
        "something; a bare model name is profiled untrained, on random event counts.",
    )
    parser.add_argument("model", help="model name, such as au_snn, or a model folder made by 'snnfer train'")
    parser.add_argument("--recording", metavar="FILE", help="event file to run it on (default: random event counts)")
    parser.add_argument("--steps", type=int, default=76, help="time steps (default: 76)")
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels, by name only (default: 64)")
    parser.add_argument("--in-channels", type=int, default=2, help="input channels, by name only (default: 2)")
    parser.add_argument("--density", type=float, default=0.03,
                        help="share of nonzero random inputs (default: 0.03)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and random input (default: 0)")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON")
    parser.set_defaults(run=profile)


def profile(args: argparse.Namespace) -> int:
    """Count, print the table, and write what was asked for."""
    import torch

    from snnfer._files import write_json
    from snnfer.profiling import count_operations

    check_arguments(args)
    torch.manual_seed(args.seed)
    model, x, notes = load_inputs(args)
    report = count_operations(model, x)
    print(f"{report.model}: input {list(x.shape)} [T, N, C, H, W]; counts per clip")
    for note in notes:
        print(f"note: {note}")
    print()
    print(report.table())
    print()
    for line in summary(report):
        print(line)
    if args.json:
        write_json(args.json, report.to_dict())
        print(f"report: {args.json}")
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """Raise `ConfigError` for numbers that make no input."""
    for name in ("steps", "size", "in_channels"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {getattr(args, name)}", expected="a number above 0")
    if not 0 < args.density < 1:
        raise ConfigError(f"--density {args.density}", expected="a share between 0 and 1")


def load_inputs(args: argparse.Namespace) -> tuple[Any, Any, list[str]]:
    """The model, its input ``[T, 1, C, H, W]``, and what the reader must know about them."""
    from pathlib import Path

    from snnfer import load_model
    from snnfer.models import create_model

    notes = []
    if Path(args.model).is_dir():
        trained = load_model(args.model)
        model, normalise = trained.model, trained.normalise
    else:
        size = [args.size, args.size]
        model: Any = create_model(args.model, in_channels=args.in_channels, size=size)
        normalise = None
        notes.append("the model is untrained; dense figures are exact, spikes and ACs are not those of a trained model")
    config = model.config
    if args.recording:
        x = read_counts(args.recording, n_steps=args.steps, size=config["size"])
    else:
        x = random_counts(args, config)
        notes.append(f"the input is random event counts, {args.density:.1%} nonzero (--recording gives a real one)")
    if normalise is None:
        settle_normalisation(model, x)
    return model, x if normalise is None else normalise(x), notes


def read_counts(path: str, *, n_steps: int, size: Any) -> Any:
    """Event counts ``[T, 1, 2, H, W]`` of a recording cut into `n_steps` equal windows."""
    from snnfer import events
    from snnfer.representations import CountFrames

    stream = events.read(path)
    window_us = max(1, -(-stream.duration_us // n_steps))
    return CountFrames(window_us, size=tuple(size), n_steps=n_steps)(stream)[:, None]


def random_counts(args: argparse.Namespace, config: dict[str, Any]) -> Any:
    """Poisson counts ``[T, 1, C, H, W]`` of which a share of `args.density` is not zero."""
    import math

    import torch

    shape = (args.steps, 1, config["in_channels"], *config["size"])
    rate = -math.log(1 - args.density)
    return torch.poisson(torch.full(shape, rate), generator=torch.Generator().manual_seed(args.seed))


def settle_normalisation(model: Any, x: Any) -> None:
    """Give the batch normalisation of an untrained model the statistics of `x`, so that its neurons fire at all."""
    import torch

    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            model.train()(x)


def summary(report: Any) -> list[str]:
    """Totals in words."""
    lines = [
        f"parameters:        {report.parameters:,} ({report.weight_bytes / 2**20:.1f} MiB)",
        f"dense:             {report.dense_macs / 1e9:.3f} G MACs, {report.dense_energy_pj() / 1e9:.3f} mJ",
        f"nonzero inputs:    {report.macs / 1e9:.3f} G MACs + {report.acs / 1e9:.3f} G ACs, "
        f"{report.energy_pj() / 1e9:.3f} mJ",
    ]
    if report.neuron_updates:
        lines.append(f"neurons:           {report.neuron_updates:,.0f} updates, {report.spikes:,.0f} spikes, "
                     f"{report.firing_rate:.4f} spikes / neuron / step")  # fmt: skip
        lines.append(f"state:             {report.state_bytes / 2**20:.2f} MiB")
    if report.unattributed_macs:
        lines.append(f"outside layers:    {report.unattributed_macs / 1e9:.3f} G MACs, in no other figure")
    lines.append("energy is arithmetic alone: 4.6 pJ per MAC, 0.9 pJ per AC (float32, 45 nm; Horowitz, ISSCC 2014)")
    return lines
