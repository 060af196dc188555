"""How numbers and networks are written in a report and on the command line."""

from collections.abc import Mapping
from typing import Any

NBSP = "\u00a0"
MISSING = "n/a"
DASH = "\u2013"
NOT_COMPARABLE = "Not comparable with scores of people who were not seen in training."


def percent(share: float | None) -> str:
    """A share of 0 to 1 in per cent, one decimal, without the sign.

    Examples:
        >>> percent(0.51234), percent(None)
        ('51.2', 'n/a')
    """
    return MISSING if share is None else f"{100 * share:.1f}"


def with_interval(score: Mapping[str, float | None]) -> str:
    """An estimate with its interval in per cent.

    Examples:
        >>> with_interval({"estimate": 0.51, "low": 0.44, "high": 0.58})
        '51.0 [44.0, 58.0]'
    """
    if score["low"] is None:
        return percent(score["estimate"])
    return f"{percent(score['estimate'])} [{percent(score['low'])}, {percent(score['high'])}]"


def value_with_interval(score: Mapping[str, float | None] | None, decimals: int) -> str:
    """A value in its own unit with its interval, a dash where there is none.

    Examples:
        >>> value_with_interval({"estimate": 27.983, "low": 26.5, "high": 29.25}, 1), value_with_interval(None, 1)
        ('28.0 [26.5, 29.2]', '\u2013')
    """
    if score is None or score["estimate"] is None:
        return DASH
    if score["low"] is None:
        return f"{score['estimate']:.{decimals}f}"
    return f"{score['estimate']:.{decimals}f} [{score['low']:.{decimals}f}, {score['high']:.{decimals}f}]"


def difference_text(test: Mapping[str, Any]) -> str:
    """A difference of shares with its interval, in percentage points.

    Examples:
        >>> difference_text({"difference": 0.1, "low": -0.02, "high": 0.2})
        '+10.0 [-2.0, +20.0]'
    """
    difference, low, high = (test[name] for name in ("difference", "low", "high"))
    interval = "" if low is None else f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{100 * difference:+.1f}{interval}"


def p_text(p: float) -> str:
    """A p-value.

    Examples:
        >>> p_text(0.015625), p_text(0.00001), p_text(1.0)
        ('0.016', '< 0.001', '1.000')
    """
    return f"{p:.3f}" if p >= 0.0005 else "< 0.001"


def p_equals(p: float) -> str:
    """A p-value in a sentence.

    Examples:
        >>> p_equals(0.015625), p_equals(0.00001)
        ('p = 0.016', 'p < 0.001')
    """
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def network_name(entry: Mapping[str, Any]) -> str:
    """Name of a network as it stands in tables and figures.

    Examples:
        >>> network_name({"model": "au_snn", "modality": "events"})
        'au_snn, events'
    """
    return f"{entry['model']}, {entry['modality']}"


def of_variant(metrics: Mapping[str, Any], variant: str) -> list[dict[str, Any]]:
    """The entries of ``metrics["networks"]`` of one variant."""
    return [network for network in metrics["networks"] if network["variant"] == variant]
