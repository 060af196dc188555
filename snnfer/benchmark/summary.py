"""From the predictions table to every number of a report; a pure function, so that numbers can always be rebuilt."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from snnfer.benchmark._statistics import Score, correct_together, interval_settings, paired_test, with_bootstrap
from snnfer.benchmark.store import check_predictions
from snnfer.metrics import confusion_matrix, per_class_recall, top_k_hits, uar, uf1

if TYPE_CHECKING:
    import pandas

NETWORK = ["model", "modality", "variant"]


def summarise(predictions: "pandas.DataFrame", class_names: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """All numbers of a report, as plain values (the content of ``metrics.json``).

    Every score is pooled over all held-out clips (and over seeds, where there are several); shares run from 0 to 1.

    Args:
        predictions: The predictions table.
        class_names: Name of each class, in index order.
        seed: Of the bootstrap and of permutation tests with too many subjects to enumerate.

    Returns:
        ``chance``, ``networks`` (one entry per model, modality and variant: scores with intervals, per subject, per
        class, per seed, over time) and ``comparisons`` (paired tests of networks that differ in the model or in the
        modality, with Holm's correction over all of them).

    Raises:
        DatasetError: the table does not fit.

    Examples:
        >>> import pandas
        >>> rows = [("net", "events", "standard", 0, s, s, f"{s}{y}", y, [1.0 - y, y]) for s in "abc" for y in (0, 1)]
        >>> table = pandas.DataFrame(rows, columns=["model", "modality", "variant", "seed", "fold", "subject", "clip",
        ...                                         "y_true", "scores"])
        >>> summarise(table, ["AU4", "AU12"])["networks"][0]["top1"]
        {'estimate': 1.0, 'low': 1.0, 'high': 1.0}
    """
    table = check_predictions(predictions, n_classes=len(class_names))
    scores = np.stack(table["scores"].tolist())
    y = table["y_true"].to_numpy(dtype=np.int64)
    table = table.assign(predicted=scores.argmax(1), y=y, top1=top_k_hits(scores, y, 1), top3=top_k_hits(scores, y, 3))
    groups = {tuple(key): rows for key, rows in table.groupby(NETWORK, sort=True)}
    return {
        "class_names": list(class_names),
        "chance": {"top1": 1 / len(class_names), "top3": min(1.0, 3 / len(class_names))},
        "intervals": interval_settings(seed),
        "networks": [
            dict(zip(NETWORK, key, strict=True)) | _network(rows, len(class_names), seed)
            for key, rows in groups.items()
        ],
        "comparisons": _comparisons({key[:2]: rows for key, rows in groups.items() if key[2] == "standard"}, seed),
    }


def _network(rows: "pandas.DataFrame", n_classes: int, bootstrap_seed: int) -> dict[str, Any]:
    seeds = sorted(int(value) for value in rows["seed"].unique())
    matrix = confusion_matrix(rows["predicted"].to_numpy(), rows["y"].to_numpy(), n_classes)
    by_subject = rows.groupby("subject")["top1"].mean()
    return {
        "n_clips": len(rows[["subject", "clip"]].drop_duplicates()),
        "n_subjects": len(by_subject),
        "seeds": seeds,
        **_scores(rows, bootstrap_seed),
        "subject_top1": {
            "mean": float(by_subject.mean()),
            "sd": float(by_subject.std()) if len(by_subject) > 1 else None,
            "values": {str(name): float(value) for name, value in by_subject.items()},
        },
        "per_seed": [{"seed": seed, **_points(rows[rows["seed"] == seed])} for seed in seeds],
        "recall": [None if np.isnan(value) else float(value) for value in per_class_recall(matrix)],
        "confusion": matrix.tolist(),
        "top1_over_time": _top1_over_time(rows),
    }


def _scores(rows: "pandas.DataFrame", seed: int) -> dict[str, Score]:
    """The four scores with their intervals."""
    subjects = rows["subject"].to_numpy()
    classes = rows[["predicted", "y"]].to_numpy()
    return {
        "top1": with_bootstrap(rows["top1"].to_numpy(dtype=float), subjects, seed=seed),
        "top3": with_bootstrap(rows["top3"].to_numpy(dtype=float), subjects, seed=seed),
        "uf1": with_bootstrap(classes, subjects, lambda pooled: uf1(pooled[:, 0], pooled[:, 1]), seed=seed),
        "uar": with_bootstrap(classes, subjects, lambda pooled: uar(pooled[:, 0], pooled[:, 1]), seed=seed),
    }


def _points(rows: "pandas.DataFrame") -> dict[str, float]:
    predicted, y = rows["predicted"].to_numpy(), rows["y"].to_numpy()
    return {
        "top1": float(rows["top1"].mean()),
        "top3": float(rows["top3"].mean()),
        "uf1": uf1(predicted, y),
        "uar": uar(predicted, y),
    }


def _top1_over_time(rows: "pandas.DataFrame") -> list[float] | None:
    """Top-1 after each step; a clip that has ended keeps its last prediction. None without predictions over time."""
    if "prediction_over_time" not in rows:
        return None
    with_steps = rows[[steps is not None and np.size(steps) > 0 for steps in rows["prediction_over_time"]]]
    if with_steps.empty:
        return None
    curves = [np.asarray(steps, dtype=np.int64) for steps in with_steps["prediction_over_time"]]
    n_steps = max(len(curve) for curve in curves)
    padded = np.stack([np.pad(curve, (0, n_steps - len(curve)), mode="edge") for curve in curves])
    return (padded == with_steps["y"].to_numpy()[:, None]).mean(0).tolist()


def _comparisons(networks: dict[tuple, "pandas.DataFrame"], seed: int) -> list[dict[str, Any]]:
    """Paired tests of all pairs of networks that share the model or the modality."""
    per_clip = {key: rows.groupby(["subject", "clip"])["top1"].mean() for key, rows in networks.items()}
    found = []
    for a, b in itertools.combinations(per_clip, 2):
        common = per_clip[a].index.intersection(per_clip[b].index)
        if (a[0] != b[0] and a[1] != b[1]) or not len(common):
            continue
        of_a, of_b = per_clip[a][common].to_numpy(), per_clip[b][common].to_numpy()
        subjects = common.get_level_values("subject").to_numpy()
        names = {side: {"model": key[0], "modality": key[1]} for side, key in (("a", a), ("b", b))}
        found.append(names | {"n_clips": len(common)} | paired_test(of_a, of_b, subjects, seed=seed))
    correct_together(found)
    return found
