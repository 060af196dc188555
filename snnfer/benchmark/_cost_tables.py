"""Tables of what the networks of a recognition benchmark cost, as text cells made from ``ops.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

from snnfer.benchmark._format import DASH, MISSING, network_name, of_variant, with_interval
from snnfer.benchmark._tables import Table
from snnfer.plot.style import si
from snnfer.profiling.scenarios import NOTICE

SHARE_SCENARIO = "45nm_fp32"
"""Scenario of the column of shares: arithmetic alone, as most papers count."""

Entries = Sequence[Mapping[str, Any]]


def cost_table(metrics: Mapping[str, Any], operations: Entries, published: Entries) -> Table:
    """Accuracy and costs per network in the order of the config, with published counts beside ours."""
    scores = {(n["model"], n["modality"]): with_interval(n["top1"]) for n in of_variant(metrics, "standard")}
    figures = {(entry["model"], entry["modality"]): entry for entry in published}
    columns: dict[str, list[str]] = {"model": [], "modality": []}
    for entry in operations:
        key = (entry["model"], entry["modality"])
        figure = figures.get(key, {})
        cells = {
            "model": key[0],
            "modality": key[1],
            "top-1 (%)" + _interval_text(metrics): scores.get(key, MISSING),
            "parameters": si(entry.get("parameters")),
            "published parameters": _scaled(figure.get("parameters_m"), "M"),
            "MACs per clip, dense": si(entry.get("dense_macs")),
            "published MACs": _scaled(figure.get("macs_g"), "G"),
            "MACs per clip": si(entry.get("macs")),
            "ACs per clip": si(entry.get("acs")),
            "energy (% of the first), event-driven / dense": _shares(entry, operations[0]),
            "published energy (%)": _scaled(figure.get("energy_share"), ""),
        }
        for name, cell in cells.items():
            columns.setdefault(name, []).append(cell)
    kept = {name: cells for name, cells in columns.items() if "published" not in name or set(cells) != {DASH}}
    if not any(entry.get("energy") for entry in operations):
        kept.pop("energy (% of the first), event-driven / dense", None)
    sources = dict.fromkeys(f["source"] for f in published if f.get("source") and _has_counts(f))
    notes = ("Published counts, of networks of the published size: " + "; ".join(sources) + ".",) if sources else ()
    return Table(list(kept), [list(row) for row in zip(*kept.values(), strict=True)], 2, notes)


def energy_table(operations: Entries) -> Table | None:
    """Energy of each network under each named scenario, event-driven and dense, in mJ; None where it is not stored."""
    counted = [entry for entry in operations if entry.get("energy")]
    if not counted:
        return None
    by_network = [{e["scenario"]: e for e in entry["energy"]} for entry in counted]
    rows = [[name, *(_energies(of_network.get(name)) for of_network in by_network)] for name in by_network[0]]
    header = ["scenario", *(f"{network_name(entry)} (mJ)" for entry in counted)]
    notes = [f"Event-driven / dense: {NOTICE}. The first skips zeros, the second computes with them too."]
    reasons = dict.fromkeys(e["reason"] for entry in counted for e in entry["energy"] if e["event_driven_pj"] is None)
    if reasons:
        notes.append(f"{MISSING}: {', or '.join(reasons)}.")
    return Table(header, rows, 1, tuple(notes))


def scenario_facts(operations: Entries) -> dict[str, str]:
    """What each scenario is, and where its constants come from."""
    stored = next((entry["energy"] for entry in operations if entry.get("energy")), [])
    return {e["scenario"]: f"{e['description']}. {e['constants']}. Source: {e['source']}." for e in stored}


def _interval_text(metrics: Mapping[str, Any]) -> str:
    return f" [{round(100 * metrics['intervals']['level'])} % interval]"


def _has_counts(figure: Mapping[str, Any]) -> bool:
    return any(figure.get(name) is not None for name in ("parameters_m", "macs_g", "energy_share"))


def _scaled(value: float | None, prefix: str) -> str:
    return DASH if value is None else f"{value:g} {prefix}".strip()


def _shares(entry: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """Energies in per cent of those of the first network."""
    ours, base = (
        next((e for e in part.get("energy") or [] if e["scenario"] == SHARE_SCENARIO), None)
        for part in (entry, baseline)
    )
    if ours is None or base is None:
        return MISSING
    pairs = [(ours[name], base[name]) for name in ("event_driven_pj", "dense_pj")]
    return " / ".join(f"{100 * a / b:.1f}" if a is not None and b else MISSING for a, b in pairs)


def _energies(estimate: Mapping[str, Any] | None) -> str:
    values = [estimate["event_driven_pj"], estimate["dense_pj"]] if estimate else [None, None]
    if values == [None, None]:
        return MISSING
    return " / ".join(DASH if value is None else f"{value / 1e9:.3g}" for value in values)
