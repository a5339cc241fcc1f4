"""How limits and budgets stand, without taking anything from them."""

from __future__ import annotations

from typing import NamedTuple

from app.core.limits import Bucket, Level, Slots, level
from cache.store import key_names as names
from cache.store.base import Store


class LimitLevel(NamedTuple):
    """What is left of one limit."""

    bucket: Bucket
    level: Level


class SlotLevel(NamedTuple):
    """How many of a scope's requests run."""

    slots: Slots
    taken: int


async def read_buckets(
    store: Store, tenant: str, buckets: list[Bucket], now: float
) -> list[LimitLevel]:
    """What is left in each; ``now`` is unix seconds. Raises StoreUnavailable."""
    if not buckets:
        return []
    keys = [names.bucket(tenant, one.scope, one.unit) for one in buckets]
    found = await store.command("MGET", *keys)
    moment = (now - names.EPOCH) * 1e6
    return [
        LimitLevel(bucket, level(bucket, float(full or 0), moment))
        for bucket, full in zip(buckets, found, strict=True)
    ]


async def read_slots(store: Store, tenant: str, slots: Slots, now: float) -> SlotLevel:
    """How many are taken; leases that ran out are not counted. Raises StoreUnavailable."""
    moment = f"{(now - names.EPOCH) * 1e6:.0f}"
    taken = await store.command("ZCOUNT", names.slots(tenant, slots.scope), moment, "+inf")
    return SlotLevel(slots, int(taken))
