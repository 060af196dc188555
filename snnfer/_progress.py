"""Progress bars: shown on a terminal, silent elsewhere."""

from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def progress(iterable: Iterable[T] | None = None, **options: Any) -> Any:
    """A `tqdm` bar that is silent when standard error is not a terminal."""
    from tqdm.auto import tqdm

    return tqdm(iterable, **{"disable": None, "dynamic_ncols": True, **options})
