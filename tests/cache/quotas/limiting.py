"""Limits of the tests, and what stands in their buckets."""

from __future__ import annotations

import asyncio

from app.core.limits import Bucket, Slots
from cache.quotas.limiter import Limiter, LimitPlan

SLOW = 6  # a minute: nothing comes back while a test runs
KEY = Bucket("key:a", "requests", SLOW, 10)
KEY_TOKENS = Bucket("key:a", "tokens", SLOW, 1000)
TENANT = Bucket("tenant", "requests", SLOW, 5)


def plan_of(*limits: Bucket | Slots, tenant: str = "acme") -> LimitPlan:
    buckets = [limit for limit in limits if isinstance(limit, Bucket)]
    slots = [limit for limit in limits if isinstance(limit, Slots)]
    return LimitPlan.of(tenant, buckets, slots)


async def admitted(limiter: Limiter, plan: LimitPlan, times: int, tokens: int = 1) -> int:
    """How many of so many concurrent requests were let in."""
    asked = await asyncio.gather(*(limiter.admit(plan, tokens) for _ in range(times)))
    return sum(admission.decision.allowed for admission in asked)


async def levels(limiter: Limiter, plan: LimitPlan) -> list[int]:
    """What the buckets hold, learned by asking for more than they could ever hold."""
    buckets = [*plan.buckets, Bucket("probe", "tokens", SLOW, 1)]
    probe = LimitPlan.of("acme", buckets, [])
    admission = await limiter.admit(probe, 10**9)
    assert not admission.decision.allowed
    return [level.remaining for level in admission.decision.levels][: len(plan.buckets)]
