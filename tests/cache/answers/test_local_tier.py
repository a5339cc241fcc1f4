"""Hot answers in the process: few, for a short time, and gone within a second of a purge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.core.usage import Usage
from cache.answers import local_tier as shelves
from cache.answers.entry import CacheEntry
from cache.answers.local_tier import ASK_SECONDS, KNOWN_FOR, LARGEST_SHARE, OVERHEAD, LocalTier
from cache.answers.shared_tier import Responses
from cache.store.base import Store, StoreUnavailable
from tests.cache.stores import fails, on, until
from tests.harness.redis_server import RedisServer

A, B = b"a" * 32, b"b" * 32
NOW = 1_700_000_000_000
SIZE = 1 << 20
TTL = 10.0


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(shelves, "monotonic", made)
    return made


def answer(size: int = 100, **times: int) -> CacheEntry:
    moments = {"asked": NOW, "stored": NOW, "fresh": NOW + 60_000}
    return CacheEntry(
        b"x" * size, "up", "m", Usage(1, 2), 7, **(moments | times), revalidate=0, on_error=0
    )


def on_shelf(body: Callable[[LocalTier, Store], Awaitable[Any]], size: int = SIZE) -> Any:
    """What ``body`` returns, given an empty tier that knows of every purge."""

    async def run(store: Store) -> Any:
        tier = LocalTier(store, size, TTL)
        await tier.ask()
        return await body(tier, store)

    return on("memory://", run)


def test_what_was_put_is_there(clock: Clock) -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(), NOW + 500, tier.epoch)
        return tier.get(A, None), tier.get(B, None)

    assert on_shelf(body) == ((answer(), NOW + 500), None)


def test_the_stores_time_goes_on_while_it_is_there(clock: Clock) -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(), NOW + 500, tier.epoch)
        clock.now += 0.5
        found = tier.get(A, None)
        return found and found[1]

    assert on_shelf(body) == NOW + 1000


def test_nothing_stays_longer_than_its_time(clock: Clock) -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(), NOW, tier.epoch)
        clock.now += TTL + 0.001
        await tier.ask()
        return tier.get(A, None), tier._used

    assert on_shelf(body) == (None, 0)


def test_nothing_is_served_that_is_not_fresh(clock: Clock) -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(fresh=NOW + 500), NOW, tier.epoch)
        clock.now += 0.499
        before = tier.get(A, None)
        clock.now += 0.001
        return before is not None, tier.get(A, None), tier._used

    assert on_shelf(body) == (True, None, 0)


def test_an_age_holds_here_too(clock: Clock) -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(), NOW + 4500, tier.epoch)
        clock.now += 0.5
        before = tier.get(A, 5)
        clock.now += 0.001
        return before is not None, tier.get(A, 5), tier.get(A, None) is not None

    assert on_shelf(body) == (True, None, True)


# Room


def test_a_shelf_stays_under_its_bound() -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        digests = [b"%032d" % number for number in range(200)]
        for digest in digests:
            tier.put(digest, answer(1000), NOW, tier.epoch)
        return sum(1 for digest in digests if tier.get(digest, None)), tier._used

    there, used = on_shelf(body, 20_000)
    assert there == 20_000 // (1000 + OVERHEAD)
    assert used == there * (1000 + OVERHEAD)


def test_what_was_asked_for_last_stays_longest() -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(1000), NOW, tier.epoch)
        for number in range(100):
            assert tier.get(A, None)
            tier.put(b"%032d" % number, answer(1000), NOW, tier.epoch)
        return tier.get(A, None) is not None, tier.get(b"%032d" % 0, None)

    assert on_shelf(body, 20_000) == (True, None)


def test_an_answer_put_again_counts_once() -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        for size in (100, 2000, 50):
            tier.put(A, answer(size), NOW, tier.epoch)
        return tier._used

    assert on_shelf(body) == 50 + OVERHEAD


def test_no_answer_takes_more_than_its_part() -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(int(SIZE * LARGEST_SHARE) - OVERHEAD), NOW, tier.epoch)
        tier.put(B, answer(int(SIZE * LARGEST_SHARE) - OVERHEAD + 1), NOW, tier.epoch)
        return tier.get(A, None) is not None, tier.get(B, None)

    assert on_shelf(body) == (True, None)


def test_an_answer_that_has_grown_too_large_does_not_leave_the_old_one() -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(), NOW, tier.epoch)
        tier.put(A, answer(SIZE), NOW, tier.epoch)
        return tier.get(A, None)

    assert on_shelf(body) is None


def test_a_shelf_without_room_keeps_nothing_and_asks_nothing() -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(0), NOW, tier.epoch)
        await tier.keep_asking()
        return tier.get(A, None)

    assert on_shelf(body, 0) is None


# Purges


def test_a_purge_empties_it(url: str) -> None:
    async def body(store: Store) -> Any:
        tier = LocalTier(store, SIZE, TTL)
        await tier.ask()
        tier.put(A, answer(), NOW, tier.epoch)
        responses = Responses(store, 1 << 20)
        await responses.purge("acme", None, None)
        await responses.purges_done()
        await tier.ask()
        return tier.get(A, None), tier._used

    assert on(url, body) == (None, 0)


def test_without_a_purge_it_stays_full(url: str) -> None:
    async def body(store: Store) -> Any:
        await Responses(store, 0).purges_done()
        tier = LocalTier(store, SIZE, TTL)
        await tier.ask()
        tier.put(A, answer(), NOW, tier.epoch)
        await tier.ask()
        return tier.get(A, None) is not None

    assert on(url, body)


def test_a_purge_holds_within_a_second_by_itself(url: str) -> None:
    async def body(store: Store) -> None:
        tier = LocalTier(store, SIZE, TTL)
        asking = asyncio.create_task(tier.keep_asking())
        tier.put(A, answer(), NOW, tier.epoch)
        await until(lambda: tier.get(A, None) is not None)
        await Responses(store, 0).purges_done()
        await until(lambda: tier.get(A, None) is None, 1.0)
        asking.cancel()

    on(url, body)


def test_it_serves_nothing_before_it_has_asked_once(clock: Clock) -> None:
    async def body(store: Store) -> Any:
        tier = LocalTier(store, SIZE, TTL)
        tier.put(A, answer(), NOW, tier.epoch)
        before = tier.get(A, None)
        await tier.ask()
        return before

    assert on("memory://", body) is None


def test_it_serves_nothing_while_its_knowledge_is_old(clock: Clock) -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(), NOW, tier.epoch)
        clock.now += KNOWN_FOR + 0.001
        before = tier.get(A, None)
        await tier.ask()
        return before, tier.get(A, None) is not None

    assert on_shelf(body) == (None, True)


def test_an_answer_that_came_late_says_what_was_known_when_it_was_asked_for(clock: Clock) -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(), NOW, tier.epoch)
        ask = store.command

        async def slow(*args: Any) -> Any:
            found = await ask(*args)
            clock.now += KNOWN_FOR + 0.001
            return found

        store.command = slow  # type: ignore[method-assign]
        await tier.ask()
        return tier.get(A, None)

    assert on_shelf(body) is None


def test_it_serves_nothing_while_the_store_is_out() -> None:
    async def body(tier: LocalTier, store: Store) -> Any:
        tier.put(A, answer(), NOW, tier.epoch)
        store.breaker.failed("gone", at_once=True)
        before = tier.get(A, None)
        store.breaker.close()
        return before, tier.get(A, None) is not None

    assert on_shelf(body) == (None, True)


def test_it_asks_often_enough_for_its_knowledge_not_to_grow_old() -> None:
    assert ASK_SECONDS * 2 < KNOWN_FOR < 1


def test_a_store_that_comes_back_without_its_purges_empties_it(server: RedisServer) -> None:
    async def body(store: Store) -> Any:
        await Responses(store, 0).purges_done()
        tier = LocalTier(store, SIZE, TTL)
        await tier.ask()
        tier.put(A, answer(), NOW, tier.epoch)
        server.restart()
        await until(lambda: _known_again(tier))
        return tier.get(A, None)

    assert on(server.url, body) is None


async def _known_again(tier: LocalTier) -> bool:
    return not await fails(tier.ask())


def test_asking_goes_on_after_an_outage(clock: Clock) -> None:
    async def body(tier: LocalTier, store: Store) -> None:
        ask, asked = store.command, 0

        async def failing(*args: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise StoreUnavailable
            return await ask(*args)

        store.command = failing  # type: ignore[method-assign]
        asking = asyncio.create_task(tier.keep_asking())
        await until(lambda: asked >= 2)
        asking.cancel()

    on_shelf(body)
