"""Slots: free again when a request is settled or its lease ends; what stays, and what an outage does."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.core.limits import Bucket, Slots
from cache.quotas.limiter import Limiter
from cache.store.base import Store, StoreUnavailable
from tests.cache.quotas.limiting import KEY, SLOW, admitted, plan_of
from tests.cache.stores import on, settled, until
from tests.harness.redis_server import RedisServer

# Slots


def test_a_slot_is_free_again_when_its_request_is_settled(url: str) -> None:
    plan = plan_of(Slots("key:a", 2))

    async def body(store: Store) -> list[bool]:
        limiter = Limiter(store, "refuse")
        first, _, third = [await limiter.admit(plan, 1) for _ in range(3)]
        limiter.settle(plan, first, 1)
        await settled(store)
        fourth, fifth = [await limiter.admit(plan, 1) for _ in range(2)]
        assert third.decision.refused_by == ("key:a", "concurrent")
        return [third.decision.allowed, fourth.decision.allowed, fifth.decision.allowed]

    assert on(url, body) == [False, True, False]


def test_settling_twice_frees_one_slot(url: str) -> None:
    plan = plan_of(Slots("key:a", 2))

    async def body(store: Store) -> int:
        limiter = Limiter(store, "refuse")
        first, _ = [await limiter.admit(plan, 1) for _ in range(2)]
        limiter.settle(plan, first, 1)
        limiter.settle(plan, first, 1)
        await settled(store)
        return await admitted(limiter, plan, 5)

    assert on(url, body) == 1


@pytest.mark.alone
def test_the_slots_of_a_dead_replica_expire(url: str) -> None:
    plan = plan_of(Slots("key:a", 2))

    async def body(store: Store) -> tuple[int, float]:
        dead, alive = Limiter(store, "refuse", 0.1), Limiter(store, "refuse")
        assert await admitted(dead, plan, 5) == 2
        began = time.perf_counter()
        assert await admitted(alive, plan, 5) == 0

        async def let_in() -> bool:
            return (await alive.admit(plan, 1)).decision.allowed

        await until(let_in)
        return await admitted(alive, plan, 5), time.perf_counter() - began

    others, waited = on(url, body)
    assert others == 1
    assert 0.05 < waited < 1.0


@pytest.mark.alone
def test_the_slots_of_a_living_replica_are_renewed(url: str) -> None:
    plan = plan_of(KEY, Slots("key:a", 2), Slots("tenant", 5))

    async def body(store: Store) -> list[int]:
        limiter = Limiter(store, "refuse", 0.2)
        keeping = asyncio.ensure_future(limiter.keep_leases())
        running = [await limiter.admit(plan, 1) for _ in range(2)]
        await asyncio.sleep(0.5)
        counts = [await admitted(limiter, plan, 3)]
        for admission in running:
            limiter.settle(plan, admission, 1)
        await settled(store)
        counts.append(await admitted(limiter, plan, 3))
        keeping.cancel()
        return counts

    assert on(url, body) == [0, 2]


@pytest.mark.alone
def test_a_lease_that_ran_out_is_not_revived(url: str) -> None:
    plan = plan_of(Slots("key:a", 1))

    async def body(store: Store) -> int:
        stalled, other = Limiter(store, "refuse", 0.05), Limiter(store, "refuse")
        assert await admitted(stalled, plan, 1) == 1

        async def let_in() -> bool:
            return (await other.admit(plan, 1)).decision.allowed

        await until(let_in)
        keeping = asyncio.ensure_future(stalled.keep_leases())
        await asyncio.sleep(0.1)
        keeping.cancel()
        return await store.command("ZCARD", plan.keys[0])

    assert on(url, body) == 1


def test_a_limiter_remembers_nothing_of_what_is_over(url: str) -> None:
    plan = plan_of(KEY, Slots("key:a", 5))

    async def body(store: Store) -> int:
        limiter = Limiter(store, "refuse")
        for _ in range(3):
            admission = await limiter.admit(plan, 1)
            limiter.settle(plan, admission, 1)
        await settled(store)
        return len(limiter._running)

    assert on(url, body) == 0


def test_nothing_that_limits_expires_by_itself(url: str) -> None:
    # An eviction policy takes what expires; what is forgotten is a full bucket and a free slot.
    plan = plan_of(
        Bucket("key:a", "requests", 60_000, 100),
        Bucket("key:a", "tokens", 60, 100),
        Slots("key:a", 9),
    )

    async def body(store: Store) -> list[int]:
        limiter = Limiter(store, "refuse")
        first = await limiter.admit(plan, 5)
        await limiter.admit(plan, 5)
        limiter.settle(plan, first, 50)
        await settled(store)
        await limiter._renew_all()
        return [await store.command("TTL", key) for key in plan.admit_keys]

    assert on(url, body) == [-1] * 4


def test_what_an_earlier_release_lets_expire_stays_once_it_is_touched(url: str) -> None:
    plan = plan_of(Bucket("key:a", "requests", 60, 100), Slots("key:a", 9))

    async def body(store: Store) -> list[int]:
        limiter = Limiter(store, "refuse")
        await limiter.admit(plan, 1)
        for key in plan.keys:
            await store.command("EXPIRE", key, 60)
        await limiter.admit(plan, 1)
        return [await store.command("TTL", key) for key in plan.keys]

    assert on(url, body) == [-1, -1]


# Outages


def test_an_outage_is_decided_as_asked(server: RedisServer) -> None:
    plan = plan_of(Bucket("key:a", "requests", SLOW, 4), Slots("key:a", 9))
    server.kill()

    async def body(store: Store) -> tuple[int, int, int]:
        local, allow = Limiter(store, "local"), Limiter(store, "allow")
        with pytest.raises(StoreUnavailable):
            await Limiter(store, "refuse").admit(plan, 1)
        alone = await admitted(local, plan, 10)
        local.share(2)
        halves = Limiter(store, "local")
        halves.share(2)
        return alone, await admitted(halves, plan, 10), await admitted(allow, plan, 10)

    assert on(server.url, body, 0.05) == (4, 2, 10)


def test_after_an_outage_the_store_decides_again(server: RedisServer) -> None:
    plan = plan_of(Bucket("key:a", "requests", SLOW, 4))

    async def body(store: Store) -> tuple[int, int]:
        limiter = Limiter(store, "local")
        server.kill()
        during = await admitted(limiter, plan, 10)
        server.restart()
        await until(lambda: not store.breaker.open)
        return during, await admitted(limiter, plan, 10)

    assert on(server.url, body, 0.1) == (4, 4)


def test_what_was_admitted_locally_is_settled_locally(server: RedisServer) -> None:
    plan = plan_of(Slots("key:a", 1), Bucket("key:a", "tokens", SLOW, 10))
    server.kill()

    async def body(store: Store) -> list[bool]:
        limiter = Limiter(store, "local")
        allowed = []
        for _ in range(3):
            admission = await limiter.admit(plan, 10)
            allowed.append(admission.decision.allowed)
            limiter.settle(plan, admission, 0)
        return allowed

    assert on(server.url, body, 0.05) == [True, True, True]
