"""What a policy's hits were worth."""

from dataclasses import dataclass
from math import sqrt

_Z = 1.959964  # 95 %, two-sided


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one policy on one file. `beyond_exact` is hits that equal texts would not give."""

    policy: str
    lookups: int
    same: int | None
    hits: int
    right: int
    beyond_exact: int

    @property
    def wrong(self) -> int:
        """Hits that gave the answer to another question."""
        return self.hits - self.right

    @property
    def hit_rate(self) -> float:
        """Of all lookups."""
        return self.hits / self.lookups

    @property
    def recall(self) -> float | None:
        """Right hits of the lookups that should hit, where the file says which those are."""
        return self.right / self.same if self.same else None

    @property
    def precision(self) -> float | None:
        """Right hits of all hits."""
        return self.right / self.hits if self.hits else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % of the precision."""
        return wilson(self.right, self.hits) if self.hits else None

    @property
    def wrong_per_thousand(self) -> float:
        """Wrong hits in 1,000 lookups."""
        return 1000 * self.wrong / self.lookups

    def as_json(self) -> dict[str, object]:
        """The row for a machine to read."""
        return {
            "policy": self.policy,
            "lookups": self.lookups,
            "same": self.same,
            "hits": self.hits,
            "right": self.right,
            "wrong": self.wrong,
            "beyond_exact": self.beyond_exact,
            "hit_rate": self.hit_rate,
            "recall": self.recall,
            "precision": self.precision,
            "precision_interval": self.interval,
            "wrong_per_thousand": self.wrong_per_thousand,
        }


def wilson(right: int, hits: int) -> tuple[float, float]:
    """Wilson's score interval at 95 %: it keeps its promise also where none or all are right.

    E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    share = right / hits
    middle = share + _Z**2 / (2 * hits)
    half = _Z * sqrt(share * (1 - share) / hits + _Z**2 / (4 * hits**2))
    scale = 1 + _Z**2 / hits
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
