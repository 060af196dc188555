"""Tables of a report, as text cells made from the numbers in ``metrics.json`` and ``ops.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from snnfer.benchmark._format import (
    MISSING,
    NOT_COMPARABLE,
    difference_text,
    network_name,
    of_variant,
    p_text,
    percent,
    with_interval,
)
from snnfer.datasets import class_meaning
from snnfer.plot.style import si


@dataclass(frozen=True)
class Table:
    """A table of text; the first `n_names` columns are names, the rest are values; rows in `strong` stand out."""

    header: list[str]
    rows: list[list[str]]
    n_names: int = 1
    notes: tuple[str, ...] = ()
    strong: tuple[int, ...] = ()


def labelled(table: Table, *, comparable: bool) -> Table:
    """The table, with what must stand below each table of a run that is not comparable."""
    return table if comparable else replace(table, notes=(NOT_COMPARABLE, *table.notes))


def main_table(
    metrics: Mapping[str, Any], operations: Sequence[Mapping[str, Any]], published: Sequence[Mapping[str, Any]]
) -> Table:
    """Scores and costs of the networks, with published figures beside them."""
    level = round(100 * metrics["intervals"]["level"])
    published = [figure for figure in published if figure["top1"] is not None]
    header = ["model", "modality", f"top-1 (%) [{level} % interval]", "top-3 (%)",
              *(["published top-1 / top-3 (%)"] if published else []), "UF1 (%)", "UAR (%)",
              "subject mean ± SD (%)", "clips", "parameters", "MACs per clip", "ACs per clip"]  # fmt: skip
    costs = {(entry["model"], entry["modality"]): entry for entry in operations}
    figures = {(entry["model"], entry["modality"]): entry for entry in published}
    rows = []
    for network in of_variant(metrics, "standard"):
        key = (network["model"], network["modality"])
        top1, top3, *rest = _scores(network)
        row: list[str] = [*key, top1, top3, *([_published(figures.get(key))] if published else []), *rest]
        row += [_mean_sd(network["subject_top1"]), str(network["n_clips"])]
        rows.append(row + [si(costs.get(key, {}).get(name)) for name in ("parameters", "macs", "acs")])
    sources = dict.fromkeys(figure["source"] for figure in published if figure.get("source"))
    notes = ("Published figures: " + "; ".join(sources) + ".",) if sources else ()
    return Table(header, rows, 2, notes)


def control_table(metrics: Mapping[str, Any]) -> Table:
    """What guessing, a linear model and shuffled labels reach on the same clips."""
    level = round(100 * metrics["intervals"]["level"])
    header = ["control", "modality", f"top-1 (%) [{level} % interval]", "top-3 (%)", "UF1 (%)", "UAR (%)"]
    chance = metrics["chance"]
    rows = [["chance", "any", percent(chance["top1"]), percent(chance["top3"]), MISSING, percent(chance["top1"])]]
    names = {"majority": "majority class", "linear_probe": "linear probe"}
    same: dict[tuple[str, ...], list[str]] = {}  # a control that ignores its input scores the same on every modality
    for network in of_variant(metrics, "control"):
        name = str(network["model"])
        same.setdefault((names.get(name, name), *_scores(network)), []).append(network["modality"])
    rows += [[name, ", ".join(modalities), *scores] for (name, *scores), modalities in same.items()]
    for network in of_variant(metrics, "label_permuted"):
        rows.append([f"{network['model']}, shuffled labels", network["modality"], *_scores(network)])
    return Table(header, rows, 2)


def comparison_table(metrics: Mapping[str, Any]) -> Table:
    """Paired tests of networks that share the model or the modality."""
    level = round(100 * metrics["intervals"]["level"])
    header = ["a", "b", f"a - b, top-1 (points) [{level} % interval]", "subjects a > b / a < b / tie",
              "p", "p, Holm", "smallest possible p", "at 5 %"]  # fmt: skip
    rows = []
    for test in metrics["comparisons"]:
        ties = test["n_subjects"] - test["n_better"] - test["n_worse"]
        rows.append([
            network_name(test["a"]), network_name(test["b"]), difference_text(test),
            f"{test['n_better']} / {test['n_worse']} / {ties}", p_text(test["p_value"]), p_text(test["p_holm"]),
            p_text(test["smallest_p_holm"]), "significant" if test["significant"] else "not significant",
        ])  # fmt: skip
    return Table(header, rows, 2)


def seed_table(metrics: Mapping[str, Any]) -> Table:
    """Top-1 of each seed and their spread."""
    networks = of_variant(metrics, "standard")
    seeds = sorted({seed for network in networks for seed in network["seeds"]})
    rows = []
    for network in networks:
        scores = {entry["seed"]: entry["top1"] for entry in network["per_seed"]}
        values = list(scores.values())
        mean = sum(values) / len(values)
        sd = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else None
        rows.append([network_name(network), *(percent(scores.get(seed)) for seed in seeds), percent(mean), percent(sd)])
    return Table(["network", *(f"seed {seed}" for seed in seeds), "mean (%)", "SD (points)"], rows)


def recall_table(metrics: Mapping[str, Any]) -> Table:
    """Recall of each class under each network."""
    networks = of_variant(metrics, "standard")
    rows = []
    for k, name in enumerate(metrics["class_names"]):
        n_clips = max((sum(network["confusion"][k]) // len(network["seeds"]) for network in networks), default=0)
        rows.append([name, class_meaning(name), str(n_clips), *(percent(network["recall"][k]) for network in networks)])
    return Table(["class", "meaning", "clips", *(f"{network_name(network)} (%)" for network in networks)], rows, 2)


def layer_table(entry: Mapping[str, Any]) -> Table:
    """Operations and activity of each layer of one network, for the example clip."""
    rows = []
    for layer in entry.get("layers") or []:
        rate = layer.get("firing_rate")
        cells = [si(layer.get(name)) for name in ("macs", "acs", "spikes")]
        rows.append(
            [str(layer["name"]), str(layer.get("kind", "")), *cells, MISSING if rate is None else f"{rate:.4f}"]
        )
    return Table(["layer", "kind", "MACs", "ACs", "spikes", "spikes per neuron and step"], rows, 2)


def _scores(network: Mapping[str, Any]) -> list[str]:
    return [with_interval(network["top1"]), *(percent(network[name]["estimate"]) for name in ("top3", "uf1", "uar"))]


def _mean_sd(spread: Mapping[str, Any]) -> str:
    return f"{percent(spread['mean'])} ± {percent(spread['sd'])}"


def _published(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return MISSING
    top3 = figure.get("top3")
    return f"{figure['top1']:.1f} / {MISSING if top3 is None else f'{top3:.1f}'}"
