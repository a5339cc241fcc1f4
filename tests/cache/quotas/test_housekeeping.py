"""What nothing expires is removed when nobody needs it, and not before."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from app.core.budgets import Budget
from app.core.limits import Bucket, Slots
from app.core.usage import Usage
from cache.quotas import housekeeping
from cache.quotas.housekeeping import Housekeeping
from cache.quotas.ledger import BudgetPlan, Ledger, Reservation
from cache.quotas.limiter import Limiter, LimitPlan
from cache.quotas.usage import UsageLog, settlement
from cache.store import key_names as names
from cache.store.base import Store
from tests.cache.stores import on, settled, until

DOLLAR = 10**9
BUDGETS = BudgetPlan("acme", (Budget("key:a", DOLLAR, "hour"), Budget("tenant", DOLLAR, "month")))


async def everything(store: Store) -> list[str]:
    return sorted(name.decode() for name in await store.command("KEYS", "*"))


async def age(store: Store, tenant: str = "acme") -> None:
    """As if all that the index names had come to its end."""
    for name in await store.command("ZRANGE", names.index(tenant), 0, -1):
        await store.command("ZADD", names.index(tenant), 1, name)


async def use(store: Store, tenant: str = "acme") -> None:
    """Everything that a tenant can leave in the store, but limits."""
    ledger, log = Ledger(store), UsageLog(store)
    hold = await ledger.reserve(BUDGETS._replace(tenant=tenant), 5)
    assert isinstance(hold, Reservation)
    now = ledger.clock.now()
    ledger.settle(hold, 5, settlement(now, "web", "demo", 5, Usage(1, 1)))
    facts = {"tenant": tenant, "key": "web", "alias": "demo", "status": 200, "cost": 5}
    log.add(facts | {"prompt_tokens": 1, "completion_tokens": 1}, now)
    await log.flush()
    await settled(store)


def test_what_counts_stays_while_it_counts(url: str) -> None:
    async def body(store: Store) -> bool:
        await use(store)
        keeper = Housekeeping(store)
        keeper.tenants = {"acme"}
        before = await everything(store)
        await keeper.sweep_due()
        after = await everything(store)
        return set(before) - {names.settled("acme")} <= set(after)

    assert on(url, body)


def test_of_a_tenant_whose_time_is_over_nothing_is_left(url: str) -> None:
    async def body(store: Store) -> list[str]:
        await use(store)
        await use(store, "other")
        keeper = Housekeeping(store)
        keeper.tenants = {"acme", "other"}
        await keeper.sweep_due()
        keeper.tenants = set()  # a new configuration, which knows neither
        await age(store)
        await store.command("ZADD", names.TENANTS, 1, "acme")
        await keeper.sweep_due()
        return [name for name in await everything(store) if "acme" in name] + [
            name.decode() for name in await store.command("ZRANGE", names.TENANTS, 0, -1)
        ]

    assert on(url, body) == ["other"]


def test_what_is_left_of_a_worker_that_died_before_counting_is_counted(url: str) -> None:
    async def body(store: Store) -> int:
        ledger = Ledger(store)
        used = settlement(ledger.clock.now(), "web", "demo", 5, Usage(1, 1))
        ledger.settle(ledger.unreserved(BUDGETS), 5, used)
        await settled(store)
        keeper = Housekeeping(store)
        keeper.tenants = {"acme"}
        await keeper.sweep_due()
        return await store.command("EXISTS", names.settled("acme"))

    assert on(url, body) == 0


def test_a_bucket_goes_when_it_is_full_and_slots_when_nobody_runs(url: str) -> None:
    # The first is full in a minute, the second in a tenth of a second.
    slow = Bucket("key:a", "requests", 1, 1)
    quick = Bucket("tenant", "requests", 600, 10)
    plan = LimitPlan.of("acme", [slow, quick], [Slots("key:a", 9)])

    async def body(store: Store) -> list[Any]:
        limiter = Limiter(store, "refuse", 0.3)
        await limiter.admit(plan, 1)
        keeper = Housekeeping(store)
        first = await keeper.sweep("acme")
        left = [first]

        async def only_the_slow_one() -> bool:
            left.append(await keeper.sweep("acme"))
            return left[-1] == 1

        await until(only_the_slow_one)
        found = [name for name in await everything(store) if name != names.TENANTS]
        refused = not (await limiter.admit(plan, 1)).decision.allowed
        return [first, found, refused]

    assert on(url, body) == [3, sorted([plan.keys[0], names.index("acme")]), True]


def test_running_slots_are_not_swept(url: str) -> None:
    plan = LimitPlan.of("acme", [], [Slots("key:a", 1)])

    async def body(store: Store) -> bool:
        limiter = Limiter(store, "refuse", 0.2)
        await limiter.admit(plan, 1)
        keeper = Housekeeping(store)
        end = time.monotonic() + 0.5  # more than two leases: the time is what is tested
        while time.monotonic() < end:
            await limiter._renew_all()
            await keeper.sweep("acme")
            await asyncio.sleep(0.05)
        return (await limiter.admit(plan, 1)).decision.allowed

    assert on(url, body) is False


def test_workers_take_turns(url: str) -> None:
    async def body(store: Store) -> list[int]:
        seen: list[str] = []

        class Counting(Housekeeping):
            async def sweep(self, tenant: str) -> int:
                seen.append(tenant)
                return await super().sweep(tenant)

        keepers = [Counting(store) for _ in range(4)]
        for keeper in keepers:
            keeper.tenants = {f"t{number}" for number in range(130)}
        await asyncio.gather(*(keeper.sweep_due() for keeper in keepers))
        return [len(seen), len(set(seen))]

    assert on(url, body) == [130, 130]


def test_a_sweep_takes_many_small_steps(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "KEYS_AT_ONCE", 7)

    async def body(store: Store) -> tuple[int, list[str]]:
        for number in range(50):
            key = names.counters("acme", f"p{number}")
            await store.command("HSET", key, "a", 1)
            await store.command("ZADD", names.index("acme"), 1 if number < 45 else 1e17, key)
        left = await Housekeeping(store).sweep("acme")
        return left, [name for name in await everything(store) if ":usage:" in name]

    left, found = on(url, body)
    assert (left, len(found)) == (5, 5)
