"""Limits by this process alone, while the shared store is out: its share of each, by the same rule."""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Mapping, Sequence
from time import monotonic
from types import MappingProxyType

from app.core.limits import Bucket, Decision, Level, Slots, give_back, level, take

MAX_BUCKETS = 10_000
NOBODY: Mapping[str, Collection[str]] = MappingProxyType({})


class LocalLimits:
    """Buckets and slots in memory, bounded; ``replicas`` share every limit evenly."""

    def __init__(self) -> None:
        self.replicas = 1
        self._full_at: dict[str, float] = {}
        self.leases: dict[str, set[str]] = {}

    def admit(
        self,
        buckets: Sequence[Bucket],
        slots: Sequence[Slots],
        keys: Sequence[str],
        lease: str,
        tokens: int,
        running: Mapping[str, Collection[str]] = NOBODY,
        requests: int = 1,
        taken: Container[str] = (),
    ) -> Decision:
        """As the script decides, on this process's clock and share.

        ``running`` are the leases, by key, of requests that the store admitted here and that still
        run.
        """
        now = monotonic() * 1e6
        if len(self._full_at) > MAX_BUCKETS:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        shares = [self._share(bucket) for bucket in buckets]
        after: list[float] = []
        wait: float | None = 0.0
        refused_by: tuple[str, str] | None = None
        for key, bucket, share in zip(keys, buckets, shares, strict=False):
            cost = tokens if bucket.unit == "tokens" else requests - (key in taken)
            # A share is never too small for one request: it would lock its caller out.
            whole = share._replace(burst=max(share.burst, min(cost, bucket.burst)))
            new, over = take(whole, self._full_at.get(key, 0.0), now, cost)
            after.append(new)
            if over is None:
                wait, refused_by = None, (bucket.scope, bucket.unit)
            elif over > 0 and wait is not None and over > wait:
                wait, refused_by = over, (bucket.scope, bucket.unit)
        slot_keys = keys[len(buckets) :]
        for key, slot in zip(slot_keys, slots, strict=True):
            most = max(1, slot.most // self.replicas)
            occupied = len(set(self.leases.get(key, ())) | set(running.get(key, ())))
            if refused_by is None and occupied >= most:
                refused_by = (slot.scope, "concurrent")
        if refused_by is None:
            self._full_at.update(zip(keys, after, strict=False))
            for key in slot_keys:
                self.leases.setdefault(key, set()).add(lease)
        levels = self._levels(shares, keys, now)
        if refused_by is None:
            return Decision(True, levels, local=True)
        return Decision(
            False, levels, None if wait is None else math.ceil(wait), refused_by, local=True
        )

    def settle(
        self,
        buckets: Sequence[Bucket],
        keys: Sequence[str],
        slots: Sequence[Slots],
        lease: str,
        units: int,
    ) -> None:
        """Give ``units`` tokens back and free the slots."""
        now = monotonic() * 1e6
        for key, bucket in zip(keys, buckets, strict=False):
            if bucket.unit == "tokens" and units and key in self._full_at:
                share = self._share(bucket)
                self._full_at[key] = give_back(share, self._full_at[key], now, units)
        for key in keys[len(buckets) : len(buckets) + len(slots)]:
            leases = self.leases.get(key)
            if leases is not None:
                leases.discard(lease)
                if not leases:
                    del self.leases[key]

    def _share(self, bucket: Bucket) -> Bucket:
        return bucket._replace(
            per_minute=max(1, bucket.per_minute // self.replicas),
            burst=max(1, bucket.burst // self.replicas),
        )

    def _levels(self, shares: Sequence[Bucket], keys: Sequence[str], now: float) -> list[Level]:
        return [
            level(share, self._full_at.get(key, 0.0), now)
            for key, share in zip(keys, shares, strict=False)
        ]
