"""Money over every kind of store: never over, given back, charged exactly once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from app.core.budgets import Budget, window
from cache.quotas.ledger import Account, BudgetPlan, Ledger, Refusal, Reservation
from cache.store.base import Store
from tests.cache.quotas.holding import DOLLAR, PLAN, SEVERAL, held, stand
from tests.cache.stores import on, settled, until
from tests.harness.redis_server import RedisServer

# Holding


@pytest.mark.parametrize("cost", [10_000_000, 9_999_999, 10_000_001, 1 + DOLLAR // 3, DOLLAR])
def test_concurrent_requests_never_hold_more_than_the_limit(url: str, cost: int) -> None:
    async def body(store: Store) -> tuple[int, list[tuple[int, int]]]:
        ledger = Ledger(store)
        asked = await asyncio.gather(*(ledger.reserve(PLAN, cost) for _ in range(300)))
        return sum(isinstance(hold, Reservation) for hold in asked), await stand(ledger)

    fit = DOLLAR // cost
    assert on(url, body) == (fit, [(0, fit * cost)])


def test_not_a_nano_dollar_over_and_none_unused(url: str) -> None:
    async def body(store: Store) -> list[bool]:
        ledger = Ledger(store)
        costs = [DOLLAR - 1, 2, 1, 1]
        return [isinstance(await ledger.reserve(PLAN, cost), Reservation) for cost in costs]

    assert on(url, body) == [True, False, True, False]


def test_the_largest_budget_counts_single_nano_dollars(url: str) -> None:
    plan = BudgetPlan("acme", (Budget("key:a", 9_000_000 * DOLLAR, "month"),))

    async def body(store: Store) -> list[bool]:
        ledger = Ledger(store)
        costs = [9_000_000 * DOLLAR - 1, 2, 1, 1]
        return [isinstance(await ledger.reserve(plan, cost), Reservation) for cost in costs]

    assert on(url, body) == [True, False, True, False]


@pytest.mark.parametrize("cost", [2**53, 2**63, 10**30])
def test_an_absurd_cost_is_refused_like_any(url: str, cost: int) -> None:
    async def body(store: Store) -> tuple[bool, list[tuple[int, int]]]:
        ledger = Ledger(store)
        return isinstance(await ledger.reserve(PLAN, cost), Refusal), await stand(ledger)

    assert on(url, body) == (True, [(0, 0)])


def test_all_budgets_of_a_request_are_held_or_none(url: str) -> None:
    async def body(store: Store) -> tuple[int, list[tuple[int, int]]]:
        ledger = Ledger(store)
        asked = await asyncio.gather(*(ledger.reserve(SEVERAL, DOLLAR // 4) for _ in range(20)))
        return sum(isinstance(hold, Reservation) for hold in asked), await stand(ledger, SEVERAL)

    assert on(url, body) == (4, [(0, DOLLAR)] * 3)


def test_a_refusal_tells_what_is_spent_held_and_the_limit(url: str) -> None:
    async def body(store: Store) -> Reservation | Refusal:
        ledger = Ledger(store)
        ledger.settle(await held(ledger, DOLLAR // 2, SEVERAL), 123_456_789)
        await settled(store)
        await held(ledger, 800_000_000, SEVERAL)
        return await ledger.reserve(SEVERAL, 100_000_000)

    ends = window("day", time.time()).end
    assert on(url, body) == Refusal(Account(SEVERAL.budgets[1], 123_456_789, 800_000_000, ends))


def test_a_refused_request_holds_nothing(url: str) -> None:
    async def body(store: Store) -> list[tuple[int, int]]:
        ledger = Ledger(store)
        for _ in range(3):
            assert isinstance(await ledger.reserve(SEVERAL, 2 * DOLLAR), Refusal)
        return await stand(ledger, SEVERAL)

    assert on(url, body) == [(0, 0)] * 3


def test_two_replicas_share_one_budget(server: RedisServer) -> None:
    async def body(store: Store) -> int:
        async def beside(other: Store) -> int:
            ledgers = [Ledger(store), Ledger(other)]
            asked = await asyncio.gather(
                *(ledgers[turn % 2].reserve(PLAN, DOLLAR // 50) for turn in range(200))
            )
            return sum(isinstance(hold, Reservation) for hold in asked)

        from cache.store.opening import open_store

        other = open_store(server.url, 2.0)
        try:
            return await beside(other)
        finally:
            await other.aclose()

    assert on(server.url, body) == 50


# Leases


@pytest.mark.alone
def test_the_holds_of_a_dead_replica_are_given_back(url: str) -> None:
    async def body(store: Store) -> list[Any]:
        dead, alive = Ledger(store, 0.1), Ledger(store)
        await held(dead, DOLLAR // 2, SEVERAL)
        await held(dead, DOLLAR // 2, SEVERAL)
        refused = await alive.reserve(SEVERAL, 1)

        async def nothing_held() -> bool:
            return await stand(alive, SEVERAL) == [(0, 0)] * 3

        await until(nothing_held)
        return [
            isinstance(refused, Refusal),
            isinstance(await alive.reserve(SEVERAL, 1), Reservation),
        ]

    assert on(url, body) == [True, True]


@pytest.mark.alone
def test_reserving_gives_back_what_ran_out_by_itself(url: str) -> None:
    async def body(store: Store) -> bool:
        dead, alive = Ledger(store, 0.05), Ledger(store)
        for _ in range(10):
            await held(dead, DOLLAR // 10)

        async def let_in() -> bool:
            return isinstance(await alive.reserve(PLAN, DOLLAR), Reservation)

        await until(let_in)
        return True

    assert on(url, body)


@pytest.mark.alone
def test_the_holds_of_a_living_replica_are_renewed(url: str) -> None:
    async def body(store: Store) -> list[tuple[int, int]]:
        ledger = Ledger(store, 0.2)
        keeping = asyncio.ensure_future(ledger.keep_leases())
        await held(ledger, 100, SEVERAL)
        await asyncio.sleep(0.5)
        keeping.cancel()
        return await stand(ledger, SEVERAL)

    assert on(url, body) == [(0, 100)] * 3


@pytest.mark.parametrize("again", [False, True])
def test_a_late_settlement_of_a_hold_that_ran_out_is_charged_once(url: str, again: bool) -> None:
    async def body(store: Store) -> list[list[tuple[int, int]]]:
        ledger = Ledger(store, 0.05)
        hold = await held(ledger, 100, SEVERAL)

        async def ran_out() -> bool:
            return await stand(ledger, SEVERAL) == [(0, 0)] * 3

        await until(ran_out)
        ledger.settle(hold, 60, again=again)
        await settled(store)
        first = await stand(ledger, SEVERAL)
        ledger.settle(hold, 60, again=True)
        await settled(store)
        return [first, await stand(ledger, SEVERAL)]

    assert on(url, body) == [[(60, 0)] * 3] * 2


def test_a_late_settlement_that_nobody_noticed_is_charged_once(url: str) -> None:
    # The lease ran out, but nobody asked meanwhile, so the hold still stands.
    async def body(store: Store) -> list[tuple[int, int]]:
        ledger = Ledger(store, 0.03)
        hold = await held(ledger, 100)
        await asyncio.sleep(0.06)
        ledger.settle(hold, 60)
        await settled(store)
        return await stand(ledger)

    assert on(url, body) == [(60, 0)]


def test_tenants_pay_for_themselves(url: str) -> None:
    async def body(store: Store) -> list[bool]:
        ledger = Ledger(store)
        plans = [BudgetPlan(tenant, PLAN.budgets) for tenant in ("a", "b")]
        return [isinstance(await ledger.reserve(plan, DOLLAR), Reservation) for plan in plans]

    assert on(url, body) == [True, True]


def test_a_ledger_remembers_nothing_of_what_is_over(url: str) -> None:
    async def body(store: Store) -> tuple[int, int]:
        ledger = Ledger(store)
        for _ in range(3):
            ledger.settle(await held(ledger, 5), 5)
        await settled(store)
        return len(ledger._running), len(ledger._unsettled)

    assert on(url, body) == (0, 0)
