"""From the predictions of a transfer run to every number of its report; a pure function of the table.

The published unit is the window: each window of 33.3 ms (or each triple of them) is one prediction. A clip's windows
are not independent, nor are a subject's clips, so intervals and tests resample or swap subjects as a whole.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from snnfer.benchmark._statistics import Score, interval_settings, with_bootstrap
from snnfer.benchmark.store import check_rows, check_scores
from snnfer.benchmark.transfer._comparisons import compare, order_trainings
from snnfer.benchmark.transfer._systems import place_of
from snnfer.errors import DatasetError
from snnfer.metrics import top_k_hits, uar

if TYPE_CHECKING:
    import pandas

NETWORK = ["system", "representation", "encoder_training", "variant"]
COLUMNS = (*NETWORK, "seed", "fold", "subject", "clip", "y_true", "scores", "window_predictions")


def summarise_transfer(predictions: "pandas.DataFrame", class_names: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """All numbers of recognition in a transfer report, as plain values; shares run from 0 to 1.

    ``window_top1`` pools the windows of all held-out clips (and seeds); ``clip_top1``, ``clip_top3`` and ``clip_uar``
    take the mean scores of a clip's windows as its one prediction.

    Args:
        predictions: The predictions table: one row per clip, network, seed and fold.
        class_names: Name of each class, in index order.
        seed: Of the bootstrap and of permutation tests with too many subjects to enumerate.

    Returns:
        ``chance``, ``intervals``, ``networks`` (one entry per system, representation, encoder training and variant:
        scores with intervals, per subject), ``comparisons`` (paired tests on the share of right windows per clip, with
        Holm's correction over all of them) and ``ordering`` (whether scratch < transferred < fine-tuned, per system).

    Raises:
        DatasetError: the table does not fit.

    Examples:
        >>> import pandas
        >>> rows = [("evtransfer", "t0_t", "scratch", "standard", 0, s, s, f"{s}{y}", y, [1.0 - y, y], [y, y, 1 - y])
        ...         for s in "abc" for y in (0, 1)]
        >>> table = pandas.DataFrame(rows, columns=COLUMNS)
        >>> [network] = summarise_transfer(table, ["Happy", "Sadness"])["networks"]
        >>> round(network["window_top1"]["estimate"], 3), network["clip_top1"]["estimate"], network["n_windows"]
        (0.667, 1.0, 18)
    """
    n_classes = len(class_names)
    table = _with_hits(check_transfer_predictions(predictions, n_classes=n_classes))
    groups: list[tuple[Any, pandas.DataFrame]] = list(table.groupby(NETWORK, sort=True))
    groups.sort(key=lambda group: place_of(*group[0][:3]))
    comparisons = compare(table[table["variant"] == "standard"], seed=seed)
    return {
        "class_names": list(class_names),
        "chance": {"top1": 1 / n_classes, "top3": min(1.0, 3 / n_classes)},
        "intervals": interval_settings(seed),
        "networks": [dict(zip(NETWORK, key, strict=True)) | _network(rows, n_classes, seed) for key, rows in groups],
        "comparisons": comparisons,
        "ordering": order_trainings(comparisons),
    }


def check_transfer_predictions(
    table: "pandas.DataFrame", *, n_classes: int, source: str = "the predictions"
) -> "pandas.DataFrame":
    """Return the predictions in a fixed order, or raise `DatasetError` naming what is wrong with them."""
    key = [*NETWORK, "seed", "fold", "subject", "clip"]
    ordered = check_rows(table, COLUMNS, key, source=source, unit="clip, network, seed and fold")
    check_scores(ordered, n_classes=n_classes, source=source)
    lengths = ordered["window_predictions"].map(len)
    if not lengths.all():
        raise DatasetError(
            f"{source} holds a clip without windows",
            expected="one predicted class or more in window_predictions",
            cause="a clip without events",
        )
    windows = np.concatenate(ordered["window_predictions"].tolist())
    if windows.min() < 0 or windows.max() >= n_classes:
        raise DatasetError(
            f"{source} holds a predicted class outside 0 to {n_classes - 1}", cause="a manifest of another run"
        )
    return ordered


def _with_hits(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """Whether each clip is right, and how many of its windows are."""
    scores = np.stack(table["scores"].tolist())
    y = table["y_true"].to_numpy(dtype=np.int64)
    windows = [np.asarray(predicted) for predicted in table["window_predictions"]]
    return table.assign(
        y=y,
        predicted=scores.argmax(1),
        top1=top_k_hits(scores, y, 1).astype(float),
        top3=top_k_hits(scores, y, 3).astype(float),
        n_windows=[len(predicted) for predicted in windows],
        n_hits=[int((predicted == label).sum()) for predicted, label in zip(windows, y, strict=True)],
    )


def _network(rows: "pandas.DataFrame", n_classes: int, seed: int) -> dict[str, Any]:
    clips = rows.drop_duplicates(["subject", "clip"])
    return {
        "n_windows": int(clips["n_windows"].sum()),
        "n_clips": len(clips),
        "n_subjects": int(rows["subject"].nunique()),
        "seeds": sorted(int(value) for value in rows["seed"].unique()),
        **_scores(rows, n_classes, seed),
        "per_subject": {str(name): _subject(part) for name, part in rows.groupby("subject", sort=True)},
    }


def _scores(rows: "pandas.DataFrame", n_classes: int, seed: int) -> dict[str, Score]:
    """The four scores with their intervals, from one row of sums per subject: all of them are ratios of sums."""
    one_hot = np.eye(n_classes)[rows["y"].to_numpy()]
    sums = rows[["n_hits", "n_windows", "top1", "top3"]].assign(n=1.0, subject=rows["subject"])
    of_subjects = sums.groupby("subject", sort=True).sum()
    per_class = _sums_by(rows["subject"].to_numpy(), np.hstack([one_hot * rows[["top1"]].to_numpy(), one_hot]))

    def ratio(part: str, whole: str) -> Score:
        return with_bootstrap(of_subjects[[part, whole]].to_numpy(dtype=float), names, _ratio_of_sums, seed=seed)

    names = of_subjects.index.to_numpy()
    return {
        "window_top1": ratio("n_hits", "n_windows"),
        "clip_top1": ratio("top1", "n"),
        "clip_top3": ratio("top3", "n"),
        "clip_uar": with_bootstrap(per_class, names, _mean_recall, seed=seed),
    }


def _sums_by(names: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of the rows of each name, names in sorted order."""
    return np.stack([values[names == name].sum(0) for name in np.unique(names)])


def _ratio_of_sums(pooled: np.ndarray) -> float:
    return float(pooled[:, 0].sum() / pooled[:, 1].sum())


def _mean_recall(pooled: np.ndarray) -> float:
    """Mean recall of the classes that occur, from hits and clips of each class, ``[m, 2 K]``."""
    hits, clips = np.split(pooled.sum(0), 2)
    return float((hits[clips > 0] / clips[clips > 0]).mean())


def _subject(rows: "pandas.DataFrame") -> dict[str, float | int]:
    clips = rows.drop_duplicates("clip")
    return {
        "n_clips": len(clips),
        "n_windows": int(clips["n_windows"].sum()),
        "window_top1": float(rows["n_hits"].sum() / rows["n_windows"].sum()),
        "clip_top1": float(rows["top1"].mean()),
        "clip_uar": uar(rows["predicted"].to_numpy(), rows["y"].to_numpy()),
    }
