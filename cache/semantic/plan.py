"""Which requests for a model may be answered by meaning, and how, as values."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal, NamedTuple, get_args

from app.config.values.patterns import Patterns
from app.core.units import NanoDollars
from cache.semantic.encoders.base import Encoder

Tier = Literal["1", "1b", "2"]
TIERS: tuple[Tier, ...] = get_args(Tier)


class MeaningPlan(NamedTuple):
    """``tier1``, ``tier1b``, ``tier2`` and ``control`` are the shares of hits that are verified.

    ``ignore`` is what of a text does not count. ``languages`` are read besides
    English. ``wide`` says whether the wide key may answer.

    ``also`` is what must be equal besides the request; ``model`` is where its counts stand.
    """

    encoder: Encoder | None
    threshold: float
    dry_run: bool
    reuse_sampled: bool
    wide: bool
    tier1: float
    tier1b: float
    tier2: float
    control: float
    max_error: float
    per_day: NanoDollars  # for verification
    also: str
    model: bytes
    ignore: Patterns | None = None
    languages: frozenset[str] = frozenset()

    def share(self, tier: Tier) -> float:
        """The share of a tier's hits to verify."""
        shares: dict[Tier, float] = {"1": self.tier1, "1b": self.tier1b, "2": self.tier2}
        return shares[tier]


def model_place(alias: str) -> bytes:
    """Where a model's counts stand in the store."""
    return blake2b(b"model:" + alias.encode(), digest_size=16).digest()
