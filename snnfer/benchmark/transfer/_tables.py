"""The tables of the evTransFER paper with our figures above the published ones, and the tables behind them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from snnfer.benchmark._format import (
    DASH,
    difference_text,
    of_variant,
    p_text,
    percent,
    value_with_interval,
    with_interval,
)
from snnfer.benchmark._tables import Table
from snnfer.benchmark.reconstruction._tables import ROWS, published_value
from snnfer.benchmark.transfer._systems import (
    LSTM_WINDOWS,
    NETWORKS,
    SYSTEMS,
    TRAININGS,
    VARIANTS,
    System,
    has_lstm,
    network_text,
    training_text,
)

OURS, MEAN_FRAME = "this run", "control: mean training frame"
CONTROLS = {"majority": "majority class", "linear_probe": "linear probe"}


def variants_of(metrics: Mapping[str, Any]) -> list[str]:
    """TIE variants that the run has, in the published order; all of them if it has none yet."""
    networks = [*metrics["networks"], *(metrics["reconstructions"] or {"networks": []})["networks"]]
    found = {network["representation"] for network in networks}
    return [name for name in VARIANTS if name in found] or list(VARIANTS)


def reconstruction_table(metrics: Mapping[str, Any], published: Mapping[str, Any]) -> Table:
    """Tables 4 and 5: how well the generator reconstructs faces, per TIE variant."""
    variants = variants_of(metrics)
    networks = (metrics["reconstructions"] or {"networks": []})["networks"]
    lines = {OURS: "events", MEAN_FRAME: "mean_frame"}
    ours = {(n["condition"], n["representation"]): n for n in networks}
    rows = []
    for name, label, decimals in ROWS:
        for line, condition in lines.items():
            values = [ours.get((condition, variant), {}).get(name) for variant in variants]
            if condition == "events" or any(values):
                rows.append([label, line, *(value_with_interval(value, decimals) for value in values)])
        for source, columns in published.get("reconstruction", {}).items():
            rows.append([label, _source(source), *(published_value(columns.get(v), name, decimals) for v in variants)])
    return _compared(["metric", "figures", *variants], rows, 2)


def lstm_table(metrics: Mapping[str, Any], published: Mapping[str, Any]) -> Table:
    """Tables 6 and 7: fine-tuned evTransFER without and with LSTM, per TIE variant."""
    variants = variants_of(metrics)
    rows = []
    for system, text in NETWORKS.items():
        rows += _lines(f"evTransFER {text}", metrics, published, system, "fine_tuned", variants)
    return _compared(["network", "figures", *variants], rows, 2)


def training_table(metrics: Mapping[str, Any], published: Mapping[str, Any], system: str) -> Table:
    """Half of Tables 9 and 10: encoder training by TIE variant, without or with LSTM."""
    variants = variants_of(metrics)
    rows = []
    for training, text in TRAININGS.items():
        rows += _lines(text, metrics, published, system, training, variants)
    return _compared(["encoder training", "figures", *variants], rows, 2)


def system_table(metrics: Mapping[str, Any], published: Mapping[str, Any], window_us: int | None) -> Table:
    """Table 8: evTransFER beside other systems."""
    theirs = published.get("comparison", {})
    header = ["method", "representation", "architecture", "LSTM", "encoder training", "top-1 (%), this run",
              *(f"top-1 (%), {_source(name)}" for name in theirs), *(["published encoder training"] if theirs else []),
              "time window (ms)"]  # fmt: skip
    rows = []
    for name, system, network in _compared_systems(metrics):
        figures = [_per_cent(values.get(name)) for values in theirs.values()]
        if network is None and not any(name in values for values in theirs.values()):
            continue
        rows.append(
            [system.method, system.representation if network is None else network["representation"],
             system.architecture, "yes" if has_lstm(name) else "no",
             DASH if network is None else training_text(network["encoder_training"]) or DASH,
             DASH if network is None else with_interval(network["window_top1"]),
             *figures, *([system.training] if theirs else []), _window_text(name, window_us)]
        )  # fmt: skip
    return Table(header, rows, 5)


def comparison_table(metrics: Mapping[str, Any]) -> Table:
    """Paired tests: encoder trainings of each system, then with against without LSTM."""
    level = round(100 * metrics["intervals"]["level"])
    header = ["a", "b", "representation", f"a - b (points) [{level} % interval]", "subjects a > b / a < b / tie", "p",
              "p, Holm", "smallest possible p", "below 5 %"]  # fmt: skip
    rows = []
    for test in metrics["comparisons"]:
        names = test["representations"]
        ties = test["n_subjects"] - test["n_better"] - test["n_worse"]
        rows.append([
            *(f"{test[side]['system']}, {test[side]['encoder_training'].replace('_', '-')}" for side in "ab"),
            names[0] if len(names) == 1 else f"mean of {len(names)}", difference_text(test),
            f"{test['n_better']} / {test['n_worse']} / {ties}", p_text(test["p_value"]), p_text(test["p_holm"]),
            p_text(test["smallest_p_holm"]), "yes" if test["significant"] else "no",
        ])  # fmt: skip
    strong = tuple(i for i, test in enumerate(metrics["comparisons"]) if test["main"])
    return Table(header, rows, 3, strong=strong)


def control_table(metrics: Mapping[str, Any]) -> Table:
    """What guessing, a linear model and shuffled labels reach."""
    chance = metrics["chance"]
    rows = [["chance", "any", *map(percent, (chance["top1"], chance["top1"], chance["top3"], chance["top1"]))]]
    for network in of_variant(metrics, "control"):
        name = str(network["system"])
        rows.append([CONTROLS.get(name, name), network["representation"] or "any", *_scores(network)])
    for network in of_variant(metrics, "label_permuted"):
        text = ", ".join(part for part in (network["system"], training_text(network["encoder_training"])) if part)
        rows.append([f"{text}, shuffled labels", network["representation"], *_scores(network)])
    return Table(["control", "representation", *_score_names(metrics)], rows, 2)


def clip_table(metrics: Mapping[str, Any]) -> Table:
    """Scores of whole clips beside those of windows, and how much was tested."""
    rows = [
        [network["system"], network["representation"], training_text(network["encoder_training"]), *_scores(network),
         *(str(network[name]) for name in ("n_windows", "n_clips", "n_subjects")), str(len(network["seeds"]))]
        for network in of_variant(metrics, "standard")
    ]  # fmt: skip
    header = ["system", "representation", "encoder training", *_score_names(metrics), "windows", "clips", "subjects",
              "seeds"]  # fmt: skip
    return Table(header, rows, 3)


def subject_table(metrics: Mapping[str, Any]) -> Table:
    """Window top-1 of each held-out subject under each network."""
    networks = of_variant(metrics, "standard")
    names = sorted({name for network in networks for name in network["per_subject"]})
    rows = []
    for name in names:
        of_subject = [network["per_subject"].get(name) for network in networks]
        counts = [scores["n_windows"] for scores in of_subject if scores]
        rows.append(
            [
                name,
                str(max(counts)),
                *(DASH if scores is None else percent(scores["window_top1"]) for scores in of_subject),
            ]
        )
    return Table(["subject", "windows", *(f"{network_text(network)} (%)" for network in networks)], rows)


def _lines(
    text: str,
    metrics: Mapping[str, Any],
    published: Mapping[str, Any],
    system: str,
    training: str,
    variants: Sequence[str],
) -> list[list[str]]:
    """Our line of a table and the published ones below it."""
    ours = {n["representation"]: n for n in of_variant(metrics, "standard")
            if (n["system"], n["encoder_training"]) == (system, training)}  # fmt: skip
    lines = [[text, OURS, *(with_interval(ours[v]["window_top1"]) if v in ours else DASH for v in variants)]]
    for source, systems in published.get("recognition", {}).items():
        values = systems.get(system, {}).get(training, {})
        lines.append([text, _source(source), *(_per_cent(values.get(v)) for v in variants)])
    return lines


def _compared_systems(metrics: Mapping[str, Any]) -> Iterator[tuple[str, System, Mapping[str, Any] | None]]:
    """Name, facts and our network for each line: the published systems in their order, then what else the run has."""
    networks = of_variant(metrics, "standard")
    others = dict.fromkeys(n["system"] for n in networks if n["system"] not in SYSTEMS)
    for name in [*SYSTEMS, *others]:
        system = SYSTEMS.get(name, System(name, DASH, DASH, DASH))
        ours = [network for network in networks if network["system"] == name]
        if name in NETWORKS:
            tuned = [network for network in ours if network["encoder_training"] == "fine_tuned"]
            ours = [n for n in tuned if n["representation"] == main_variant(tuned)]
        if not ours:
            yield name, system, None
        for network in ours:
            yield name, system, network


def main_variant(networks: Sequence[Mapping[str, Any]]) -> str | None:
    """The variant that the paper goes on with, or the first that there is."""
    found = [network["representation"] for network in networks]
    return "t0_t" if "t0_t" in found else next(iter(found), None)


def _scores(network: Mapping[str, Any]) -> list[str]:
    return [with_interval(network[name]) for name in ("window_top1", "clip_top1", "clip_top3", "clip_uar")]


def _score_names(metrics: Mapping[str, Any]) -> list[str]:
    level = round(100 * metrics["intervals"]["level"])
    return [f"{name} (%) [{level} % interval]" for name in ("window top-1", "clip top-1", "clip top-3", "clip UAR")]


def _compared(header: list[str], rows: list[list[str]], n_names: int) -> Table:
    return Table(header, rows, n_names, strong=tuple(i for i, row in enumerate(rows) if row[1] == OURS))


def _source(name: str) -> str:
    return f"published, {name}"


def _per_cent(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"


def _window_text(system: str, window_us: int | None) -> str:
    if window_us is None:
        return DASH
    return f"{LSTM_WINDOWS} x {window_us / 1000:.1f}" if has_lstm(system) else f"{window_us / 1000:.1f}"
