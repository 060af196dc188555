"""Paired tests of a transfer run: the steps from scratch to fine-tuned, and the gain from the LSTM."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from snnfer._optional import require
from snnfer.benchmark._statistics import ALPHA, correct_together, paired_test
from snnfer.benchmark.transfer._systems import place_of

if TYPE_CHECKING:
    import pandas

STEPS = (("transferred", "scratch"), ("fine_tuned", "transferred"))
"""What the published ordering claims: the first is better than the second."""

TRAINING_PAIRS = (*STEPS, ("fine_tuned", "scratch"))
LSTM = "_lstm"

Cell = tuple[str, str, str]
"""System, representation, encoder training."""


def compare(table: "pandas.DataFrame", *, seed: int) -> list[dict[str, Any]]:
    """Paired tests on the share of right windows of each clip (mean over seeds), corrected together.

    For every system: transferred - scratch, fine-tuned - transferred, fine-tuned - scratch; for fine-tuned encoders:
    with LSTM - without. Each per representation and, where there are several, on the mean over representations.

    Args:
        table: Rows of variant ``standard`` with ``n_hits`` and ``n_windows``.
        seed: Of permutation tests with too many subjects to enumerate, and of the bootstrap.
    """
    shares = table.assign(share=table["n_hits"] / table["n_windows"])
    by_cell = shares.groupby(["system", "representation", "encoder_training"], sort=True)
    cells = sorted(((key, rows) for key, rows in by_cell), key=lambda cell: place_of(*cell[0]))
    per_clip = {key: rows.groupby(["subject", "clip"])["share"].mean() for key, rows in cells}
    systems = list(dict.fromkeys(system for system, _, _ in per_clip))
    found = []
    for system in systems:
        for a, b in TRAINING_PAIRS:
            found += _tests(per_clip, "training", (system, a), (system, b), seed)
    for system in systems:
        if system + LSTM in systems:
            found += _tests(per_clip, "lstm", (system + LSTM, "fine_tuned"), (system, "fine_tuned"), seed)
    correct_together(found)
    return found


def order_trainings(comparisons: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Whether scratch < transferred < fine-tuned holds, for each system that has all three.

    The ordering is one claim of two steps that must both hold, so the larger of their two p-values is the p-value of
    the claim (intersection-union test); it is multiplied by the number of systems. It does not hold where a step goes
    the other way with a p-value that, multiplied by the number of all steps, is below 5 %. Else it is not decided.

    Args:
        comparisons: From `compare`; the tests over all representations are used.

    References:
        Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24, 1982.
    """
    main = {(t["a"]["system"], t["a"]["encoder_training"], t["b"]["encoder_training"]): t for t in comparisons
            if t["kind"] == "training" and t["main"]}  # fmt: skip
    systems = [name for name in dict.fromkeys(key[0] for key in main) if all((name, *step) in main for step in STEPS)]
    return [_order(system, [main[(system, *step)] for step in STEPS], len(systems)) for system in systems]


def _order(system: str, steps: list[Mapping[str, Any]], n_systems: int) -> dict[str, Any]:
    p_value = min(1.0, n_systems * max(step["p_value"] for step in steps))
    reversed_p = [len(STEPS) * n_systems * step["p_value"] for step in steps if step["difference"] < 0]
    if all(step["difference"] > 0 for step in steps) and p_value < ALPHA:
        verdict = "holds"
    elif reversed_p and min(reversed_p) < ALPHA:
        verdict = "does not hold"
    else:
        verdict = "undecided"
    return {
        "system": system,
        "verdict": verdict,
        "p_value": p_value,
        "smallest_p": min(1.0, n_systems * max(step["smallest_p"] for step in steps)),
        "n_subjects": min(step["n_subjects"] for step in steps),
        "steps": [
            {"a": step["a"]["encoder_training"], "b": step["b"]["encoder_training"]}
            | {name: step[name] for name in ("representations", "difference", "low", "high", "p_value", "n_subjects")}
            for step in steps
        ],
    }


def _tests(
    per_clip: Mapping[Cell, "pandas.Series"], kind: str, a: tuple[str, str], b: tuple[str, str], seed: int
) -> list[dict[str, Any]]:
    """Tests of a against b (system, encoder training): per representation that both have, and over all of them."""
    pairs = {}
    for system, representation, training in per_clip:
        of_a, of_b = per_clip.get((a[0], representation, a[1])), per_clip.get((b[0], representation, b[1]))
        if (system, training) == a and of_a is not None and of_b is not None:
            common = of_a.index.intersection(of_b.index)
            if len(common):
                pairs[representation] = of_a[common], of_b[common]
    several = [(list(pairs), _mean_over(list(pairs.values())))] if len(pairs) > 1 else []
    tests = []
    for representations, (of_a, of_b) in [*several, *([[name], pair] for name, pair in pairs.items())]:
        if not len(of_a):
            continue
        subjects = of_a.index.get_level_values("subject").to_numpy()
        tests.append(
            {"kind": kind, "a": _named(a), "b": _named(b), "representations": representations,
             "main": len(representations) == len(pairs), "n_clips": len(of_a)}
            | paired_test(of_a.to_numpy(), of_b.to_numpy(), subjects, seed=seed)
        )  # fmt: skip
    return tests


def _mean_over(pairs: Sequence[tuple["pandas.Series", "pandas.Series"]]) -> tuple["pandas.Series", "pandas.Series"]:
    """Mean over representations of each clip that all of them have."""
    pandas = require("pandas", extra="bench")
    columns = [pandas.concat([pair[side] for pair in pairs], axis=1, join="inner") for side in (0, 1)]
    common = columns[0].index.intersection(columns[1].index)
    return columns[0].mean(axis=1)[common], columns[1].mean(axis=1)[common]


def _named(network: tuple[str, str]) -> dict[str, str]:
    return {"system": network[0], "encoder_training": network[1]}
