"""Layers that send nothing: where nothing is sent, nothing is compared."""

from collections.abc import Sequence

SILENT = "silent"
"""Stands in a table where the share of differences would."""


def warn_of_silence(silent: Sequence[str], n_layers: int, *, sent: str = "spike") -> str:
    """One line that names the layers which sent nothing in either run; empty where there are none.

    Examples:
        >>> warn_of_silence(["fc1", "fc2"], 4)
        'warning: fc1, fc2 sent no spikes: nothing was compared there'
        >>> warn_of_silence(["fc1"], 1, sent="message")
        'warning: the network sent no messages (fc1): nothing was compared'
    """
    if not silent:
        return ""
    names = ", ".join(silent)
    if len(silent) == n_layers:
        return f"warning: the network sent no {sent}s ({names}): nothing was compared"
    return f"warning: {names} sent no {sent}s: nothing was compared there"
