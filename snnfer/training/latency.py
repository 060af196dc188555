"""How long windows took, for streams of any length: counts in classes of time, never the times themselves."""

import math

import numpy as np

STEP = 1.005
"""Ratio of neighbouring classes: percentiles are exact within half a percent."""
SHORTEST_S, LONGEST_S = 1e-6, 1e3


class LatencyHistogram:
    """Percentiles of times in constant memory.

    Times between 1 microsecond and 1000 seconds fall into classes 0.5 % apart, shorter and longer ones into the first
    and the last. A percentile is the upper end of its class, at most the largest time.

    Attributes:
        n: Number of times.
        largest_s: The largest time in seconds, exact.

    Examples:
        >>> histogram = LatencyHistogram()
        >>> for k in range(1000):
        ...     histogram.add(k * 1e-3)
        >>> [round(histogram.percentile(q), 2) for q in (50, 90, 100)]
        [0.5, 0.9, 1.0]
    """

    def __init__(self) -> None:
        n_classes = math.ceil(math.log(LONGEST_S / SHORTEST_S, STEP)) + 1
        self._counts = np.zeros(n_classes, dtype=np.int64)
        self.n = 0
        self.largest_s = 0.0

    def add(self, seconds: float) -> None:
        """Count a time."""
        place = math.ceil(math.log(max(seconds, SHORTEST_S) / SHORTEST_S, STEP))
        self._counts[min(place, len(self._counts) - 1)] += 1
        self.n += 1
        self.largest_s = max(self.largest_s, seconds)

    def percentile(self, q: float) -> float:
        """Time in seconds that `q` percent of the times do not exceed; 0 where there are none."""
        if not self.n:
            return 0.0
        rank = max(1, math.ceil(q / 100 * self.n))
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(SHORTEST_S * STEP**place, self.largest_s)
