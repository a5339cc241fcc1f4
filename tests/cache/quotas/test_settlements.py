"""What a hold becomes: settled once, counted in the same step, owed while the store is out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.usage import Usage
from cache.quotas.ledger import Ledger, Reservation
from cache.quotas.usage import COUNTED, fold_settled, read_usage, settlement
from cache.store import key_names as names
from cache.store.base import Script, Store, StoreUnavailable
from tests.cache.quotas.holding import DOLLAR, PLAN, SEVERAL, held, stand
from tests.cache.stores import on, settled, until
from tests.harness.redis_server import RedisServer

# Settling


@pytest.mark.parametrize("cost", [0, 1, 50, 100, 5000])
def test_a_hold_becomes_what_was_spent(url: str, cost: int) -> None:
    async def body(store: Store) -> list[tuple[int, int]]:
        ledger = Ledger(store)
        ledger.settle(await held(ledger, 100, SEVERAL), cost)
        await settled(store)
        return await stand(ledger, SEVERAL)

    assert on(url, body) == [(cost, 0)] * 3


def test_a_request_that_costs_nothing_is_held_and_settled_too(url: str) -> None:
    # A model that is free under a budget: the simulator, say.
    async def body(store: Store) -> tuple[list[tuple[int, int]], int]:
        ledger = Ledger(store)
        ledger.settle(await held(ledger, 0, SEVERAL), 0)
        await settled(store)
        return await stand(ledger, SEVERAL), len(ledger._unsettled)

    assert on(url, body) == ([(0, 0)] * 3, 0)


def test_a_hold_of_nothing_runs_out_like_any(url: str) -> None:
    async def body(store: Store) -> bool:
        dead, alive = Ledger(store, 0.05), Ledger(store)
        await held(dead, 0)
        await asyncio.sleep(0.08)
        return isinstance(await alive.reserve(PLAN, DOLLAR), Reservation)

    assert on(url, body)


def test_a_thousand_requests_against_a_budget_for_a_hundred(url: str) -> None:
    bound, real = DOLLAR // 100, DOLLAR // 100 - 12_345

    async def body(store: Store) -> tuple[int, list[tuple[int, int]]]:
        ledger = Ledger(store)
        served = 0

        async def request() -> None:
            nonlocal served
            hold = await ledger.reserve(PLAN, bound)
            if isinstance(hold, Reservation):
                await asyncio.sleep(0)
                ledger.settle(hold, real)
                served += 1

        await asyncio.gather(*(request() for _ in range(1000)))
        await settled(store)
        return served, await stand(ledger)

    served, [(spent, still_held)] = on(url, body)
    assert served >= 99
    assert still_held == 0
    assert spent == served * real <= DOLLAR


def test_what_is_given_back_can_be_held_again(url: str) -> None:
    async def body(store: Store) -> list[bool]:
        ledger = Ledger(store)
        hold = await held(ledger, DOLLAR)
        before = await ledger.reserve(PLAN, 1)
        ledger.settle(hold, 0)
        await settled(store)
        return [
            isinstance(before, Reservation),
            isinstance(await ledger.reserve(PLAN, DOLLAR), Reservation),
        ]

    assert on(url, body) == [False, True]


def test_a_repetition_of_a_settlement_charges_nothing(url: str) -> None:
    async def body(store: Store) -> list[tuple[int, int]]:
        ledger = Ledger(store)
        hold = await held(ledger, 100, SEVERAL)
        ledger.settle(hold, 60)
        for _ in range(3):
            ledger.settle(hold, 60, again=True)
        await settled(store)
        return await stand(ledger, SEVERAL)

    assert on(url, body) == [(60, 0)] * 3


class Lossy:
    """A store that does what it is told, and then says that it did not know: the answer was lost."""

    def __init__(self, store: Store, done: bool) -> None:
        self._store = store
        self._done = done
        self.losing = True
        self.breaker = store.breaker
        self.shared = store.shared
        self.run = store.run
        self.command = store.command
        self.start = store.start
        self.aclose = store.aclose

    def tell(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        failed: Callable[[], None] | None = None,
    ) -> None:
        if not self.losing or self._done:
            self._store.tell(script, keys, args, failed)
        if self.losing and failed is not None:
            failed()


@pytest.mark.parametrize("done", [True, False], ids=["answer-lost", "never-arrived"])
@pytest.mark.parametrize("real", [True, False], ids=["held", "unreserved"])
def test_what_could_not_be_settled_is_charged_exactly_once(
    url: str, done: bool, real: bool
) -> None:
    async def body(store: Store) -> list[tuple[int, int]]:
        lossy = Lossy(store, done)
        ledger = Ledger(lossy)
        hold = await held(ledger, 100) if real else ledger.unreserved(PLAN)
        ledger.settle(hold, 60)
        ledger.settle_owed()  # lost again
        lossy.losing = False
        ledger.settle_owed()
        ledger.settle_owed()
        await settled(store)
        return await stand(ledger)

    assert on(url, body) == [(60, 0)]


def test_what_was_owed_while_the_store_was_out_is_paid_by_itself(server: RedisServer) -> None:
    async def body(store: Store) -> list[tuple[int, int]]:
        ledger = Ledger(store, 0.4)  # looks after what it owes each 0.1 s
        keeping = asyncio.ensure_future(ledger.keep_leases())
        hold = await held(ledger, 100)
        server.pause()
        while not store.breaker.open:
            ledger.settle(ledger.unreserved(PLAN), 7)
            await asyncio.sleep(0.03)
        ledger.settle(hold, 60)
        owed = len(ledger._unsettled)
        server.resume()
        await until(lambda: not store.breaker.open)
        await until(lambda: not ledger._unsettled)
        await settled(store)
        keeping.cancel()
        assert owed >= 1
        [(spent, still_held)] = await stand(ledger)
        return [((spent - 60) % 7, still_held)]

    assert on(server.url, body, 0.02) == [(0, 0)]


def test_what_is_owed_is_bounded_and_the_loss_is_counted(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache.quotas.ledger.MAX_UNSETTLED", 3)
    server.kill()

    async def body(store: Store) -> tuple[int, int]:
        ledger = Ledger(store)
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(PLAN, 1)
        for _ in range(5):
            ledger.settle(ledger.unreserved(PLAN), 1)
        return len(ledger._unsettled), ledger.lost

    # Five settlements, and the reservation that may have been done all the same.
    assert on(server.url, body, 0.05) == (3, 3)


# What was used


def test_a_settlement_counts_what_was_used_in_the_same_step(url: str) -> None:
    async def body(store: Store) -> Any:
        ledger = Ledger(store)
        moment = ledger.clock.now()
        for plan, cost in ((PLAN, 60), (SEVERAL, 7)):
            used = settlement(moment, "web", "de|mo", cost, Usage(10, 3, False, 4, 2, 1))
            hold = await held(ledger, 100, plan)
            ledger.settle(hold, cost, used)
            ledger.settle(hold, cost, used, again=True)
        ledger.settle(
            ledger.unreserved(PLAN), 5, settlement(moment, "web", "de|mo", 5, Usage(0, 0))
        )
        await settled(store)
        when = datetime.fromtimestamp(moment, UTC)
        [row] = await read_usage(store, "acme", when, when)
        [day] = await read_usage(store, "acme", when - timedelta(days=8), when)
        assert day == row
        return row.key, row.model, row.counts

    counts = dict.fromkeys(COUNTED, 0) | {
        "requests": 3, "cost": 72, "prompt_tokens": 20, "completion_tokens": 6,
        "cached_tokens": 8, "cache_write_tokens": 4, "reasoning_tokens": 2,
    }  # fmt: skip
    assert on(url, body) == ("web", "de|mo", counts)


@pytest.mark.parametrize("done", [True, False], ids=["answer-lost", "never-arrived"])
@pytest.mark.parametrize("real", [True, False], ids=["held", "unreserved"])
def test_what_could_not_be_settled_is_counted_exactly_once(
    url: str, done: bool, real: bool
) -> None:
    async def body(store: Store) -> tuple[list[tuple[int, int]], list[int]]:
        lossy = Lossy(store, done)
        ledger = Ledger(lossy)
        hold = await held(ledger, 100) if real else ledger.unreserved(PLAN)
        ledger.settle(hold, 60, settlement(ledger.clock.now(), "web", "demo", 60, Usage(1, 1)))
        ledger.settle_owed()  # lost again
        lossy.losing = False
        ledger.settle_owed()
        ledger.settle_owed()
        await settled(store)
        when = datetime.fromtimestamp(ledger.clock.now(), UTC)
        rows = await read_usage(store, "acme", when - timedelta(hours=1), when)
        return await stand(ledger), [row.counts["cost"] for row in rows]

    assert on(url, body) == ([(60, 0)], [60])


def test_a_reservation_that_may_have_been_made_counts_nothing(server: RedisServer) -> None:
    async def body(store: Store) -> tuple[list[tuple[int, int]], list[Any]]:
        ledger = Ledger(store)
        server.pause()
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(PLAN, 100)
        server.resume()
        await until(lambda: not store.breaker.open)
        ledger.settle_owed()
        await settled(store)
        when = datetime.fromtimestamp(ledger.clock.now(), UTC)
        return await stand(ledger), await read_usage(store, "acme", when, when)

    assert on(server.url, body, 0.2) == ([(0, 0)], [])


def test_many_settlements_are_added_up_in_several_steps(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cache.quotas.usage.FOLDED_AT_ONCE", 10)

    async def body(store: Store) -> Any:
        ledger = Ledger(store)
        now = ledger.clock.now()
        for number in range(95):
            ledger.settle(
                ledger.unreserved(PLAN), number, settlement(now, "web", "m", number, Usage(1, 0))
            )
        await settled(store)
        await fold_settled(store, "acme")
        left = await store.command("EXISTS", names.settled("acme"))
        when = datetime.fromtimestamp(now, UTC)
        [row] = await read_usage(store, "acme", when, when)
        return left, row.counts["cost"], row.counts["requests"]

    assert on(url, body) == (0, sum(range(95)), 95)
