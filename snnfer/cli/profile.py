"""``snnfer profile``: operations, memory and energy of a model."""

import argparse
from typing import Any

from snnfer.errors import ConfigError

MEASURED_S = 2.0
"""Seconds that a measurement of energy lasts at least."""


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``profile``."""
    parser = subparsers.add_parser(
        "profile",
        help="count operations, spikes, memory and energy of a model",
        description="Counts exactly what a model computes, layer by layer and per clip. The activity of a spiking "
        "network depends on its weights and its input: give a model folder and real clips for figures that mean "
        "something; a bare model name is profiled untrained, at its own size, on random input of the kind it reads.",
    )
    parser.add_argument("model", help="model name, such as au_snn, or a model folder made by 'snnfer train'")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", metavar="DIR", help="data set (manifest or its folder) whose clips it runs on")
    source.add_argument("--recording", metavar="FILE", help="event file to run it on")
    parser.add_argument("--clips", type=int, metavar="N",
                        help="clips taken evenly from --data (default: 8)")  # fmt: skip
    parser.add_argument("--steps", type=int, metavar="N", help="time steps (default: what the model reads)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="height and width, by name only (default: its own)")
    parser.add_argument("--in-channels", type=int, metavar="N", help="input channels, by name only (default: its own)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE",
                        help="argument of the model, by name only, such as channels=8")  # fmt: skip
    parser.add_argument("--density", type=float, default=0.03,
                        help="share of nonzero random event counts (default: 0.03)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and random input (default: 0)")
    parser.add_argument("--precision", default="float32", metavar="TYPE",
                        help="float32 (default), float16 or int8: for all bytes")  # fmt: skip
    parser.add_argument("--scenario", default="45nm_fp32", metavar="NAME",
                        help="energy scenario, or 'all' (default: 45nm_fp32)")  # fmt: skip
    parser.add_argument("--break-even", metavar="FILE",
                        help="picture (.png, .pdf, .svg) of energy over activity, the measured one marked")  # fmt: skip
    parser.add_argument("--against", metavar="MODEL",
                        help="model that --break-even compares with (default: the same network, dense)")  # fmt: skip
    parser.add_argument("--measure", nargs="?", const="cpu", metavar="DEVICE",
                        help="also measure energy per clip, by counters of this machine (cpu, cuda)")  # fmt: skip
    parser.add_argument("--neurobench", action="store_true", help="show the numbers of NeuroBench beside ours")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON")
    parser.set_defaults(run=profile)


def profile(args: argparse.Namespace) -> int:
    """Count, print the table, and write what was asked for."""
    from snnfer._files import check_target, write_json
    from snnfer.cli._profile_input import load_profiled
    from snnfer.cli._profile_report import energy_report, header, summary, traffic_lines, write_break_even
    from snnfer.profiling.measured import find_meter
    from snnfer.profiling.operations import count_operations
    from snnfer.profiling.report import mean_report

    scenarios = check_arguments(args)
    for target in filter(None, (args.json, args.break_even)):
        check_target(target)
    if args.measure:
        find_meter(args.measure)  # says at once that there is none
    profiled = load_profiled(args)
    report = mean_report([count_operations(profiled.model, x).samples[0] for x in profiled.samples])
    values = report.to_dict()
    print("\n".join([*header(report, profiled), "", report.table(), ""]))
    print("\n".join([*summary(report, args.precision), *traffic_lines(report, args.precision)]))
    energy, values["energy"] = energy_report(report, scenarios)
    print("\n".join(energy))
    if args.measure:
        values["measured"] = measure(profiled, args.measure)
    if args.neurobench:
        values["neurobench"] = compare_with_neurobench(profiled, report)
    if args.break_even:
        values["break_even"] = write_break_even(args, report, scenarios[0])
    if args.json:
        write_json(args.json, values)
        print(f"report: {args.json}")
    return 0


def check_arguments(args: argparse.Namespace) -> list[Any]:
    """Raise `ConfigError` for numbers and names that cannot be used; returns the energy scenarios."""
    from snnfer.profiling.report import bits_of
    from snnfer.profiling.scenarios import SCENARIOS, find_scenario

    for name in ("steps", "size", "in_channels", "clips"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value}", expected="a number above 0")
    if not 0 < args.density < 1:
        raise ConfigError(f"--density {args.density}", expected="a share between 0 and 1")
    if args.against and not args.break_even:
        raise ConfigError("--against without --break-even", fix="add --break-even FILE.png")
    if args.clips and not args.data:
        raise ConfigError("--clips without --data", fix="add --data DIR, or leave --clips out")
    check_extras(args)
    bits_of(args.precision)
    return list(SCENARIOS.values()) if args.scenario == "all" else [find_scenario(args.scenario)]


def check_extras(args: argparse.Namespace) -> None:
    """Raise `SnnferError` where the picture, the other model or NeuroBench cannot be had."""
    from snnfer._optional import require
    from snnfer.models import model_task
    from snnfer.plot.style import check_picture

    if args.break_even:
        check_picture(args.break_even)
        require("matplotlib.figure", extra="plot")
    if args.against:
        model_task(args.against)  # says that it is unknown
    if args.neurobench:
        require("neurobench", extra="neurobench")


def measure(profiled: Any, device: str) -> dict[str, Any]:
    """Measured energy per clip: the clips in turn for some seconds."""
    import time

    import torch

    from snnfer.profiling.measured import measure_energy
    from snnfer.profiling.operations import evaluation

    model, samples = profiled.model.to(device), [x.to(device) for x in profiled.samples]
    n_runs = 0
    with evaluation(model), torch.inference_mode():
        model(samples[0])
        with measure_energy(device) as energy:
            start = time.perf_counter()
            while not n_runs or time.perf_counter() - start < MEASURED_S:
                model(samples[n_runs % len(samples)])
                n_runs += 1
            if device.startswith("cuda"):
                torch.cuda.synchronize()
    per_clip_mj = 1e3 * energy.joules / n_runs
    print(
        f"measured: {per_clip_mj:.4g} mJ per clip on the whole device ({energy.source}, {energy.watts:.1f} W, "
        f"{n_runs} runs in {energy.seconds:.1f} s; idle power and other programs included)"
    )
    return {"source": energy.source, "joules": energy.joules, "seconds": energy.seconds, "runs": n_runs}


def compare_with_neurobench(profiled: Any, report: Any) -> dict[str, float]:
    """NeuroBench's numbers for the first clip beside ours."""
    from snnfer.profiling.neurobench import neurobench_metrics

    theirs, ours = neurobench_metrics(profiled.model, profiled.samples[0]), report.samples[0]
    rows = (
        ("dense operations", ours.dense_macs, theirs["dense"]),
        ("effective MACs", ours.macs, theirs["effective_macs"]),
        ("effective ACs", ours.acs, theirs["effective_acs"]),
        ("parameters", ours.parameters, theirs["parameters"]),
    )
    print(f"{'first clip':<20}{'snnfer':>18}{'NeuroBench':>18}")
    for name, mine, other in rows:
        print(f"{name:<20}{mine:>18,.0f}{other:>18,.0f}")
    if ours.neuron_updates:
        print(f"{'activation sparsity':<20}{1 - ours.firing_rate:>18.4f}{theirs['activation_sparsity']:>18.4f}")
    print("docs/profiling.md says why they differ.")
    return theirs
