"""Which requests for a model may be answered by meaning, and how, as values."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from app.core.units import NanoDollars
from cache.semantic.encoders.base import Encoder


class MeaningPlan(NamedTuple):
    """``tier1``, ``tier2`` and ``control`` are the shares of hits that are verified.

    ``also`` is what must be equal besides the request; ``model`` is where its counts stand.
    """

    encoder: Encoder | None
    threshold: float
    dry_run: bool
    reuse_sampled: bool
    tier1: float
    tier2: float
    control: float
    max_error: float
    per_day: NanoDollars  # for verification
    also: str
    model: bytes

    def share(self, tier: int) -> float:
        """The share of a tier's hits to verify."""
        return self.tier1 if tier == 1 else self.tier2


def model_place(alias: str) -> bytes:
    """Where a model's counts stand in the store."""
    return blake2b(b"model:" + alias.encode(), digest_size=16).digest()
