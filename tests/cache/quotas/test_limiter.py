"""Limits that hold over every kind of store: all or nothing, exact, truthful, given back."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.core.limits import Bucket, Level, Slots
from cache.quotas.limiter import Admission, Limiter
from cache.store import key_names as names
from cache.store.base import Store
from tests.cache.quotas.limiting import KEY, KEY_TOKENS, SLOW, TENANT, admitted, levels, plan_of
from tests.cache.stores import on, settled
from tests.harness.redis_server import RedisServer

# How many are let in


@pytest.mark.parametrize("burst", [1, 7, 100])
def test_of_concurrent_requests_exactly_the_burst_is_let_in(url: str, burst: int) -> None:
    plan = plan_of(Bucket("key:a", "requests", SLOW, burst))

    async def body(store: Store) -> int:
        return await admitted(Limiter(store, "refuse"), plan, burst + 50)

    assert on(url, body) == burst


def test_tokens_are_taken_as_asked(url: str) -> None:
    plan = plan_of(KEY_TOKENS)

    async def body(store: Store) -> tuple[int, int, list[int]]:
        limiter = Limiter(store, "refuse")
        first = await admitted(limiter, plan, 20, 99)
        last = await admitted(limiter, plan, 20, 1)
        return first, last, await levels(limiter, plan)

    assert on(url, body) == (10, 10, [0])


def test_a_request_of_several_calls_takes_several_requests(url: str) -> None:
    plan = plan_of(KEY, KEY_TOKENS)

    async def body(store: Store) -> tuple[list[bool], list[int]]:
        limiter = Limiter(store, "refuse")
        asked = [(await limiter.admit(plan, 1, calls)).decision.allowed for calls in (7, 4, 3, 1)]
        return asked, await levels(limiter, plan)

    assert on(url, body) == ([True, False, True, False], [0, 998])


def test_more_calls_than_a_bucket_holds_can_never_pass(url: str) -> None:
    async def body(store: Store) -> tuple[bool, int | None]:
        decision = (await Limiter(store, "refuse").admit(plan_of(KEY), 1, 11)).decision
        return decision.allowed, decision.wait

    assert on(url, body) == (False, None)


def test_two_replicas_share_one_limit(server: RedisServer) -> None:
    plan = plan_of(Bucket("key:a", "requests", SLOW, 25), Slots("key:a", 25))

    async def body(store: Store) -> int:
        async def other_body(other: Store) -> int:
            counts = await asyncio.gather(
                admitted(Limiter(store, "refuse"), plan, 40),
                admitted(Limiter(other, "refuse"), plan, 40),
            )
            return sum(counts)

        from cache.store.opening import open_store

        other = open_store(server.url, 2.0)
        try:
            return await other_body(other)
        finally:
            await other.aclose()

    assert on(server.url, body) == 25


def test_what_is_refused_by_one_scope_consumes_nothing_of_any(url: str) -> None:
    plan = plan_of(KEY, KEY_TOKENS, TENANT, Slots("key:a", 100))

    async def body(store: Store) -> tuple[int, list[int]]:
        limiter = Limiter(store, "refuse")
        count = await admitted(limiter, plan, 50, 3)
        return count, await levels(limiter, plan)

    assert on(url, body) == (5, [5, 985, 0])


def test_a_full_slot_set_consumes_nothing_of_the_buckets(url: str) -> None:
    plan = plan_of(KEY, KEY_TOKENS, Slots("key:a", 3), Slots("tenant", 100))

    async def body(store: Store) -> tuple[int, list[int], int]:
        limiter = Limiter(store, "refuse")
        count = await admitted(limiter, plan, 20, 10)
        others = await store.command("ZCARD", names.slots("acme", "tenant"))
        return count, await levels(limiter, plan), others

    assert on(url, body) == (3, [7, 970], 3)


def test_a_refusal_names_the_scope_that_waits_longest(url: str) -> None:
    plan = plan_of(
        Bucket("key:a", "requests", 600, 1),
        Bucket("model:m", "tokens", 120, 10),
        Bucket("tenant", "requests", 6, 1),
        Slots("key:a", 1),
    )

    async def body(store: Store) -> Admission:
        limiter = Limiter(store, "refuse")
        await limiter.admit(plan, 10)
        return await limiter.admit(plan, 10)

    decision = on(url, body).decision
    assert decision.refused_by == ("tenant", "requests")
    assert decision.wait is not None
    assert 9_000_000 < decision.wait <= 10_000_000


def test_what_no_bucket_can_hold_is_never_let_in(url: str) -> None:
    plan = plan_of(KEY, KEY_TOKENS)

    async def body(store: Store) -> tuple[Admission, list[int]]:
        limiter = Limiter(store, "refuse")
        return await limiter.admit(plan, 1001), await levels(limiter, plan)

    admission, left = on(url, body)
    assert admission.decision.wait is None
    assert admission.decision.refused_by == ("key:a", "tokens")
    assert left == [10, 1000]


@pytest.mark.parametrize("tokens", [2**31, 2**53 + 1, 2**64, 10**30])
def test_an_absurd_number_of_tokens_is_refused_like_any(url: str, tokens: int) -> None:
    plan = plan_of(KEY_TOKENS)

    async def body(store: Store) -> Admission:
        return await Limiter(store, "refuse").admit(plan, tokens)

    assert on(url, body).decision.wait is None


def test_nothing_asked_is_let_in(url: str) -> None:
    plan = plan_of(Bucket("key:a", "tokens", SLOW, 10))

    async def body(store: Store) -> list[bool]:
        limiter = Limiter(store, "refuse")
        return [(await limiter.admit(plan, tokens)).decision.allowed for tokens in (10, 0, 1)]

    assert on(url, body) == [True, True, False]


def test_tenants_share_nothing(url: str) -> None:
    async def body(store: Store) -> list[int]:
        limiter = Limiter(store, "refuse")
        return [await admitted(limiter, plan_of(TENANT, tenant=name), 9) for name in ("a", "b")]

    assert on(url, body) == [5, 5]


def test_all_keys_of_a_tenant_are_on_one_node() -> None:
    plan = plan_of(KEY, KEY_TOKENS, TENANT, Slots("key:a", 3))
    assert {key.partition("{")[2].partition("}")[0] for key in plan.keys} == {"acme"}
    assert len(set(plan.keys)) == 4


# What it says


def test_levels_after_a_decision(url: str) -> None:
    plan = plan_of(KEY, KEY_TOKENS)

    async def body(store: Store) -> Admission:
        return await Limiter(store, "refuse").admit(plan, 300)

    requests, tokens = on(url, body).decision.levels
    assert requests == Level(9, 10_000_000)
    assert tokens.remaining == 700
    assert abs(tokens.full_in - 3_000_000_000) <= 1


def test_whoever_waits_exactly_so_long_is_let_in(url: str) -> None:
    # One token comes back each 0.5 ms; the wait is some 15 ms of real time.
    plan = plan_of(Bucket("key:a", "requests", 60_000, 10), Bucket("key:a", "tokens", 120_000, 50))

    async def body(store: Store) -> list[int]:
        limiter = Limiter(store, "refuse")
        waits = []
        for _ in range(8):
            while (admission := await limiter.admit(plan, 40)).decision.allowed:
                pass
            wait = admission.decision.wait
            assert wait is not None
            began = time.perf_counter_ns()
            while time.perf_counter_ns() - began < wait * 1000:
                pass
            assert (await limiter.admit(plan, 40)).decision.allowed
            waits.append(wait)
        return waits

    waits = on(url, body)
    assert max(waits) <= 20_000


def test_whoever_comes_before_that_is_refused(url: str) -> None:
    plan = plan_of(Bucket("key:a", "tokens", 600, 100))

    async def body(store: Store) -> tuple[int, int, float]:
        limiter = Limiter(store, "refuse")
        await limiter.admit(plan, 100)
        began = time.perf_counter()
        first = (await limiter.admit(plan, 50)).decision
        again = (await limiter.admit(plan, 50)).decision
        passed = (time.perf_counter() - began) * 1e6
        assert first.wait is not None
        assert again.wait is not None
        return first.wait, again.wait, passed

    first, again, passed = on(url, body)
    assert 4_900_000 < first <= 5_000_000
    assert 0 <= first - again <= passed + 1  # being refused made it no longer


def test_a_bucket_refills_with_time_and_never_beyond_its_burst(url: str) -> None:
    plan = plan_of(Bucket("key:a", "requests", 60_000, 20))  # one a millisecond

    async def body(store: Store) -> tuple[int, int, float]:
        limiter = Limiter(store, "refuse")
        began = time.perf_counter()
        first = await admitted(limiter, plan, 100)
        await asyncio.sleep(0.05)
        second = await admitted(limiter, plan, 100)
        return first, second, (time.perf_counter() - began) * 1000

    first, second, milliseconds = on(url, body)
    assert first >= 20
    assert second >= 20
    assert first + second <= 20 + milliseconds + 1


# Settling


@pytest.mark.parametrize(("used", "left"), [(100, 900), (0, 1000), (400, 600), (1600, 0)])
def test_tokens_are_settled_to_what_was_used(url: str, used: int, left: int) -> None:
    plan = plan_of(KEY, KEY_TOKENS)

    async def body(store: Store) -> list[int]:
        limiter = Limiter(store, "refuse")
        admission = await limiter.admit(plan, 300)
        limiter.settle(plan, admission, used)
        await settled(store)
        return await levels(limiter, plan)

    assert on(url, body) == [9, left]


def test_what_was_used_beyond_the_burst_is_waited_for(url: str) -> None:
    plan = plan_of(Bucket("key:a", "tokens", 60, 100))  # one a second

    async def body(store: Store) -> int | None:
        limiter = Limiter(store, "refuse")
        limiter.settle(plan, await limiter.admit(plan, 10), 250)
        await settled(store)
        return (await limiter.admit(plan, 1)).decision.wait

    wait = on(url, body)
    assert wait is not None
    assert 150_000_000 < wait <= 151_000_000


def test_giving_back_never_fills_a_bucket_beyond_its_burst(url: str) -> None:
    plan = plan_of(Bucket("key:a", "tokens", 6_000_000, 1000))  # full again in 10 ms

    async def body(store: Store) -> int:
        limiter = Limiter(store, "refuse")
        admission = await limiter.admit(plan, 1000)
        await asyncio.sleep(0.02)
        limiter.settle(plan, admission, 0)
        await settled(store)
        return sum([(await limiter.admit(plan, 1000)).decision.allowed for _ in range(2)])

    assert on(url, body) == 1


def test_many_admit_and_settle_at_once_and_nothing_is_lost(url: str) -> None:
    plan = plan_of(Bucket("key:a", "tokens", SLOW, 100_000), Slots("key:a", 1000))

    async def body(store: Store) -> tuple[list[int], int]:
        limiter = Limiter(store, "refuse")

        async def request(number: int) -> None:
            admission = await limiter.admit(plan, 100 + number)
            assert admission.decision.allowed
            await asyncio.sleep(0)
            limiter.settle(plan, admission, number)

        await asyncio.gather(*(request(number) for number in range(100)))
        await settled(store)
        return await levels(limiter, plan), await store.command("ZCARD", plan.keys[1])

    assert on(url, body) == ([100_000 - sum(range(100))], 0)
