"""What ``snnfer profile`` prints: totals, bytes, energy, break-even."""

import argparse
from typing import Any


def header(report: Any, profiled: Any) -> list[str]:
    """Model and input, and what the reader must know about them."""
    lengths = sorted({len(x) for x in profiled.samples})
    shape = list(profiled.samples[0].shape)
    if len(lengths) > 1:
        shape[0] = f"{lengths[0]} to {lengths[-1]}"
    clips = "counts per clip" if report.n_samples == 1 else f"mean of {report.n_samples} clips"
    inside = ", ".join(str(side) for side in shape)
    return [f"{report.model}: input [{inside}] [T, N, C, H, W]; {clips}", *(f"note: {n}" for n in profiled.notes)]


def summary(report: Any, precision: str) -> list[str]:
    """Totals in words; the range over the clips behind them."""
    lines = [
        f"parameters:        {report.parameters:,} ({report.weight_bytes_at(precision) / 2**20:.1f} MiB {precision})",
        f"dense:             {report.dense_macs / 1e9:.4g} G MACs{_range(report, 'dense_macs', 1e9)}",
        f"nonzero inputs:    {report.macs / 1e9:.4g} G MACs{_range(report, 'macs', 1e9)} + "
        f"{report.acs / 1e9:.4g} G ACs{_range(report, 'acs', 1e9)}",
    ]
    if report.neuron_updates:
        lines.append(f"neurons:           {report.neuron_updates:,.0f} updates, {report.spikes:,.0f} spikes"
                     f"{_range(report, 'spikes', 1)}, {report.firing_rate:.4f}{_range(report, 'firing_rate', 1)} "
                     "spikes / neuron / step")  # fmt: skip
        lines.append(f"state:             {report.state_bytes / 2**20:.2f} MiB")
    if report.unattributed_macs:
        lines.append(f"outside layers:    {report.unattributed_macs / 1e9:.4g} G MACs (attention, recurrent layers)"
                     f"; true MACs in all: {report.total_macs / 1e9:.4g} G")  # fmt: skip
    return lines


def traffic_lines(report: Any, precision: str) -> list[str]:
    """Bytes moved, with what is assumed."""
    traffic = report.traffic(precision)
    mib = {name: value / 2**20 for name, value in vars(traffic).items()}
    return [
        f"traffic ({precision}), dense: weights {mib['dense_weights']:.4g} MiB (each once per call of its layer), "
        f"activations {mib['dense_activations']:.4g} MiB, state {mib['states']:.4g} MiB",
        f"traffic ({precision}), event-driven: weights {mib['weights']:.4g} MiB (one per synaptic operation), "
        f"activations {mib['activations']:.4g} MiB, state {mib['states']:.4g} MiB (read and written per update)",
    ]


def energy_report(report: Any, scenarios: list[Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Energy under each scenario, as text and as plain values."""
    from snnfer.profiling.scenarios import NOTICE, energy_lines, estimate_energy

    estimates = [estimate_energy(report, scenario) for scenario in scenarios]
    values = [
        {
            "scenario": e.scenario.name,
            "note": NOTICE,
            "event_driven_pj": e.event_driven_pj,
            "dense_pj": e.dense_pj,
            "reason": e.reason,
            "constants": e.scenario.constants(),
            "source": e.scenario.source,
        }
        for e in estimates
    ]
    return energy_lines(estimates), values


def write_break_even(args: argparse.Namespace, report: Any, scenario: Any) -> dict[str, Any]:
    """Print where the model breaks even and write the picture."""
    import dataclasses

    from snnfer.plot.energy import plot_break_even
    from snnfer.plot.style import save_figure
    from snnfer.profiling.breakeven import break_even
    from snnfer.profiling.scenarios import NOTICE

    line = break_even(report, scenario, against=_count_other(args) if args.against else None)
    rates, energies = line.curve()
    figure = plot_break_even(
        rates.tolist(),
        energies.tolist(),
        reference_pj=line.reference_pj,
        measured=line.measured,
        measured_pj=line.measured_pj,
        rate=line.rate,
        quantity=line.quantity,
        name=report.model,
        reference=line.reference,
        scenario=scenario.name,
    )
    save_figure(figure, args.break_even)
    print(
        f"break-even ({scenario.name}, {NOTICE}): {report.model} costs less than {line.reference} "
        f"{line.verdict()}; its {line.quantity} here is {line.measured:.3g}"
    )
    print(f"picture: {args.break_even}")
    return {**dataclasses.asdict(line), "rate": line.rate}


def _count_other(args: argparse.Namespace) -> Any:
    """Counts of the model named by ``--against``, at its own size unless one is given."""
    from snnfer.cli._profile_input import random_input
    from snnfer.models import create_model
    from snnfer.profiling.operations import count_operations

    other: Any = create_model(args.against, **({} if args.size is None else {"size": [args.size, args.size]}))
    return count_operations(other, random_input(args, other.config)[0])


def _range(report: Any, name: str, unit: float) -> str:
    """Smallest and largest value over the clips, if there are several that differ."""
    values = [getattr(sample, name) / unit for sample in report.samples]
    low, high = min(values), max(values)
    return f" [{low:.3g} to {high:.3g}]" if high > low else ""
