"""From settings to a plan: which requests for a model may be answered by meaning, and how."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from app.core import canonical, guard
from app.core.pricing import nano_dollars
from app.encoders.base import Encoder
from app.settings import SemanticCache


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
    per_day: int  # nano-dollars for verification
    also: str
    model: bytes

    @classmethod
    def of(cls, alias: str, settings: SemanticCache, encoder: Encoder | None) -> MeaningPlan:
        verify = settings.verify
        versions = f"{canonical.VERSION}.{guard.VERSION}"
        return cls(
            encoder,
            settings.threshold,
            settings.dry_run,
            settings.sampled == "reuse",
            verify.tier1,
            verify.tier2,
            verify.control,
            verify.max_error,
            nano_dollars(verify.usd_per_day),
            f"{versions}/{encoder.identity if encoder is not None else ''}",
            model_place(alias),
        )

    def share(self, tier: int) -> float:
        """The share of a tier's hits to verify."""
        return self.tier1 if tier == 1 else self.tier2


def model_place(alias: str) -> bytes:
    """Where a model's counts stand in the store."""
    return blake2b(b"model:" + alias.encode(), digest_size=16).digest()
