"""Hot answers in the process: few, for a short time, and gone within a second of a purge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.core.usage import Usage
from cache.answers import local_tier as shelves
from cache.answers.entry import Stored
from cache.answers.local_tier import ASK_SECONDS, KNOWN_FOR, LARGEST, OVERHEAD, Shelf
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


def answer(size: int = 100, **times: int) -> Stored:
    moments = {"asked": NOW, "stored": NOW, "fresh": NOW + 60_000}
    return Stored(
        b"x" * size, "up", "m", Usage(1, 2), 7, **(moments | times), revalidate=0, on_error=0
    )


def on_shelf(body: Callable[[Shelf, Store], Awaitable[Any]], size: int = SIZE) -> Any:
    """What ``body`` returns, given an empty shelf that knows of every purge."""

    async def run(store: Store) -> Any:
        shelf = Shelf(store, size, TTL)
        await shelf.ask()
        return await body(shelf, store)

    return on("memory://", run)


def test_what_was_put_is_there(clock: Clock) -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(), NOW + 500, shelf.epoch)
        return shelf.get(A, None), shelf.get(B, None)

    assert on_shelf(body) == ((answer(), NOW + 500), None)


def test_the_stores_time_goes_on_while_it_is_there(clock: Clock) -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(), NOW + 500, shelf.epoch)
        clock.now += 0.5
        found = shelf.get(A, None)
        return found and found[1]

    assert on_shelf(body) == NOW + 1000


def test_nothing_stays_longer_than_its_time(clock: Clock) -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(), NOW, shelf.epoch)
        clock.now += TTL + 0.001
        await shelf.ask()
        return shelf.get(A, None), shelf._used

    assert on_shelf(body) == (None, 0)


def test_nothing_is_served_that_is_not_fresh(clock: Clock) -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(fresh=NOW + 500), NOW, shelf.epoch)
        clock.now += 0.499
        before = shelf.get(A, None)
        clock.now += 0.001
        return before is not None, shelf.get(A, None), shelf._used

    assert on_shelf(body) == (True, None, 0)


def test_an_age_holds_here_too(clock: Clock) -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(), NOW + 4500, shelf.epoch)
        clock.now += 0.5
        before = shelf.get(A, 5)
        clock.now += 0.001
        return before is not None, shelf.get(A, 5), shelf.get(A, None) is not None

    assert on_shelf(body) == (True, None, True)


# Room


def test_a_shelf_stays_under_its_bound() -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        digests = [b"%032d" % number for number in range(200)]
        for digest in digests:
            shelf.put(digest, answer(1000), NOW, shelf.epoch)
        return sum(1 for digest in digests if shelf.get(digest, None)), shelf._used

    there, used = on_shelf(body, 20_000)
    assert there == 20_000 // (1000 + OVERHEAD)
    assert used == there * (1000 + OVERHEAD)


def test_what_was_asked_for_last_stays_longest() -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(1000), NOW, shelf.epoch)
        for number in range(100):
            assert shelf.get(A, None)
            shelf.put(b"%032d" % number, answer(1000), NOW, shelf.epoch)
        return shelf.get(A, None) is not None, shelf.get(b"%032d" % 0, None)

    assert on_shelf(body, 20_000) == (True, None)


def test_an_answer_put_again_counts_once() -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        for size in (100, 2000, 50):
            shelf.put(A, answer(size), NOW, shelf.epoch)
        return shelf._used

    assert on_shelf(body) == 50 + OVERHEAD


def test_no_answer_takes_more_than_its_part() -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(SIZE // LARGEST - OVERHEAD), NOW, shelf.epoch)
        shelf.put(B, answer(SIZE // LARGEST - OVERHEAD + 1), NOW, shelf.epoch)
        return shelf.get(A, None) is not None, shelf.get(B, None)

    assert on_shelf(body) == (True, None)


def test_an_answer_that_has_grown_too_large_does_not_leave_the_old_one() -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(), NOW, shelf.epoch)
        shelf.put(A, answer(SIZE), NOW, shelf.epoch)
        return shelf.get(A, None)

    assert on_shelf(body) is None


def test_a_shelf_without_room_keeps_nothing_and_asks_nothing() -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(0), NOW, shelf.epoch)
        await shelf.keep_asking()
        return shelf.get(A, None)

    assert on_shelf(body, 0) is None


# Purges


def test_a_purge_empties_it(url: str) -> None:
    async def body(store: Store) -> Any:
        shelf = Shelf(store, SIZE, TTL)
        await shelf.ask()
        shelf.put(A, answer(), NOW, shelf.epoch)
        responses = Responses(store, 1 << 20)
        await responses.purge("acme", None, None)
        await responses.purges_done()
        await shelf.ask()
        return shelf.get(A, None), shelf._used

    assert on(url, body) == (None, 0)


def test_without_a_purge_it_stays_full(url: str) -> None:
    async def body(store: Store) -> Any:
        await Responses(store, 0).purges_done()
        shelf = Shelf(store, SIZE, TTL)
        await shelf.ask()
        shelf.put(A, answer(), NOW, shelf.epoch)
        await shelf.ask()
        return shelf.get(A, None) is not None

    assert on(url, body)


def test_a_purge_holds_within_a_second_by_itself(url: str) -> None:
    async def body(store: Store) -> None:
        shelf = Shelf(store, SIZE, TTL)
        asking = asyncio.create_task(shelf.keep_asking())
        shelf.put(A, answer(), NOW, shelf.epoch)
        await until(lambda: shelf.get(A, None) is not None)
        await Responses(store, 0).purges_done()
        await until(lambda: shelf.get(A, None) is None, 1.0)
        asking.cancel()

    on(url, body)


def test_it_serves_nothing_before_it_has_asked_once(clock: Clock) -> None:
    async def body(store: Store) -> Any:
        shelf = Shelf(store, SIZE, TTL)
        shelf.put(A, answer(), NOW, shelf.epoch)
        before = shelf.get(A, None)
        await shelf.ask()
        return before

    assert on("memory://", body) is None


def test_it_serves_nothing_while_its_knowledge_is_old(clock: Clock) -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(), NOW, shelf.epoch)
        clock.now += KNOWN_FOR + 0.001
        before = shelf.get(A, None)
        await shelf.ask()
        return before, shelf.get(A, None) is not None

    assert on_shelf(body) == (None, True)


def test_an_answer_that_came_late_says_what_was_known_when_it_was_asked_for(clock: Clock) -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(), NOW, shelf.epoch)
        ask = store.command

        async def slow(*args: Any) -> Any:
            found = await ask(*args)
            clock.now += KNOWN_FOR + 0.001
            return found

        store.command = slow  # type: ignore[method-assign]
        await shelf.ask()
        return shelf.get(A, None)

    assert on_shelf(body) is None


def test_it_serves_nothing_while_the_store_is_out() -> None:
    async def body(shelf: Shelf, store: Store) -> Any:
        shelf.put(A, answer(), NOW, shelf.epoch)
        store.breaker.failed("gone", at_once=True)
        before = shelf.get(A, None)
        store.breaker.close()
        return before, shelf.get(A, None) is not None

    assert on_shelf(body) == (None, True)


def test_it_asks_often_enough_for_its_knowledge_not_to_grow_old() -> None:
    assert ASK_SECONDS * 2 < KNOWN_FOR < 1


def test_a_store_that_comes_back_without_its_purges_empties_it(server: RedisServer) -> None:
    async def body(store: Store) -> Any:
        await Responses(store, 0).purges_done()
        shelf = Shelf(store, SIZE, TTL)
        await shelf.ask()
        shelf.put(A, answer(), NOW, shelf.epoch)
        server.restart()
        await until(lambda: _known_again(shelf))
        return shelf.get(A, None)

    assert on(server.url, body) is None


async def _known_again(shelf: Shelf) -> bool:
    return not await fails(shelf.ask())


def test_asking_goes_on_after_an_outage(clock: Clock) -> None:
    async def body(shelf: Shelf, store: Store) -> None:
        ask, asked = store.command, 0

        async def failing(*args: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise StoreUnavailable
            return await ask(*args)

        store.command = failing  # type: ignore[method-assign]
        asking = asyncio.create_task(shelf.keep_asking())
        await until(lambda: asked >= 2)
        asking.cancel()

    on_shelf(body)
