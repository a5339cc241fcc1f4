"""One distribution: how many observations fell into each bucket, and their sum."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """``counts`` has one more than ``bounds``: what was above the last."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a bound belongs to the bucket below it, as in Prometheus."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def row(self) -> list[float]:
        """The sum, then the counts, as a snapshot has them; nothing where nothing was observed."""
        return [self.sum, *self.counts] if any(self.counts) else []
