"""From the scores of reconstructed windows to every number of a report; a pure function of the table."""

from typing import TYPE_CHECKING, Any

import numpy as np

from snnfer.benchmark._statistics import Score, interval_settings, with_bootstrap
from snnfer.benchmark.store import check_rows
from snnfer.errors import DatasetError

if TYPE_CHECKING:
    import pandas

NETWORK = ["model", "representation", "resolution", "condition"]
METRICS = ("mse", "rmse", "mae", "psnr", "ssim", "ncc")
COLUMNS = (*NETWORK, "seed", "fold", "subject", "clip", "window", *METRICS)


def summarise_reconstructions(table: "pandas.DataFrame", *, seed: int = 0) -> dict[str, Any]:
    """Mean of each score over all held-out windows, with intervals from resampling subjects.

    Every score, PSNR too, is the mean of the values of single images (the PSNR of the mean MSE would be lower). A
    perfect image has no finite PSNR: such images are left out of that mean and counted in ``n_perfect``.

    Args:
        table: One row per tested window, network, seed and fold.
        seed: Of the bootstrap.

    Returns:
        ``intervals`` and ``networks``: one entry per model, representation, condition and resolution, with a score of
        ``estimate``, ``low`` and ``high`` for each metric (None where nothing can be said), and means per subject.

    Raises:
        DatasetError: the table does not fit.

    Examples:
        >>> import pandas
        >>> rows = [("cvae", "polarity_image", "64 x 64", "events", 0, s, s, "clip", w, .01, .1, .05, 20.0, .8, .9)
        ...         for s in "ab" for w in range(3)]
        >>> [network] = summarise_reconstructions(pandas.DataFrame(rows, columns=COLUMNS))["networks"]
        >>> network["psnr"], network["n_windows"]
        ({'estimate': 20.0, 'low': 20.0, 'high': 20.0}, 6)
    """
    groups = check_reconstructions(table).groupby(NETWORK, sort=True)
    return {
        "intervals": interval_settings(seed),
        "networks": [dict(zip(NETWORK, key, strict=True)) | _network(rows, seed) for key, rows in groups],
    }


def check_reconstructions(table: "pandas.DataFrame", *, source: str = "the reconstructions") -> "pandas.DataFrame":
    """Return the table in a fixed order, or raise `DatasetError` naming what is wrong with it."""
    key = [*NETWORK, "seed", "fold", "subject", "clip", "window"]
    ordered = check_rows(table, COLUMNS, key, source=source, unit="window, network, seed and fold")
    for name in METRICS:
        values = ordered[name].to_numpy(dtype=float)
        if not (np.isfinite(values) | ((name == "psnr") & (values == np.inf))).all():
            raise DatasetError(f"{source} holds an infinite '{name}'", cause="training diverged",
                               fix="lower the learning rate and run again")  # fmt: skip
    return ordered


def _network(rows: "pandas.DataFrame", seed: int) -> dict[str, Any]:
    return {
        "n_windows": len(rows.drop_duplicates(["subject", "clip", "window"])),
        "n_clips": len(rows.drop_duplicates(["subject", "clip"])),
        "n_subjects": int(rows["subject"].nunique()),
        "n_perfect": int(np.isinf(rows["psnr"]).sum()),
        "seeds": sorted(int(value) for value in rows["seed"].unique()),
        **{name: _score(rows, name, seed) for name in METRICS},
        "per_subject": {str(name): _subject(part) for name, part in rows.groupby("subject", sort=True)},
    }


def _score(rows: "pandas.DataFrame", name: str, seed: int) -> Score:
    """Mean over the windows with its interval, from one row of sum and count per subject."""
    finite = rows[np.isfinite(rows[name])]
    if finite.empty:
        return {"estimate": None, "low": None, "high": None}
    sums = finite.assign(value=finite[name].astype(float)).groupby("subject", sort=True)["value"].agg(["sum", "count"])
    return with_bootstrap(sums.to_numpy(dtype=float), sums.index.to_numpy(), _mean, seed=seed)


def _mean(pooled: np.ndarray) -> float:
    return float(pooled[:, 0].sum() / pooled[:, 1].sum())


def _subject(rows: "pandas.DataFrame") -> dict[str, float | int | None]:
    means = {name: rows[name][np.isfinite(rows[name])].astype(float).mean() for name in METRICS}
    windows = rows.drop_duplicates(["clip", "window"])
    return {"n_windows": len(windows)} | {name: None if np.isnan(v) else float(v) for name, v in means.items()}
