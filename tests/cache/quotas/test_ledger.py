"""Money over every kind of store: never over, given back, charged exactly once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.budgets import Budget, Window, window
from cache.quotas.ledger import Account, BudgetPlan, Ledger, Refusal, Reservation
from cache.quotas.usage import COUNTED, fold_settled, read_usage, settlement
from cache.store import key_names as names
from cache.store.base import Script, Store, StoreUnavailable
from cache.store.clock import StoreClock
from tests.cache.stores import on, on_spied, settled, until
from tests.harness.redis_server import RedisServer

DOLLAR = 10**9
PLAN = BudgetPlan("acme", (Budget("key:a", DOLLAR, "month"),))
SEVERAL = BudgetPlan(
    "acme",
    (
        Budget("key:a", 10 * DOLLAR, "hour"),
        Budget("model:m", DOLLAR, "day"),
        Budget("tenant", 5 * DOLLAR, "month"),
    ),
)


async def stand(ledger: Ledger, plan: BudgetPlan = PLAN) -> list[tuple[int, int]]:
    """Spent and held of each budget."""
    return [(account.spent, account.held) for account in await ledger.accounts(plan)]


async def held(ledger: Ledger, cost: int, plan: BudgetPlan = PLAN) -> Reservation:
    hold = await ledger.reserve(plan, cost)
    assert isinstance(hold, Reservation)
    return hold


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


# Leases


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


# Windows


def seconds_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of two seconds; what the real ones are is tested with app.core.budgets."""

    def window(per: str, now: float) -> Window:
        start = int(now) // 2 * 2
        return Window(f"w{start}", start, start + 2)

    monkeypatch.setattr("cache.quotas.ledger.window", window)


def test_a_new_window_is_a_new_budget(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds_for_hours(monkeypatch)

    async def body(store: Store) -> list[Any]:
        ledger = Ledger(store)
        while True:
            spent = await held(ledger, DOLLAR // 2)
            running = await ledger.reserve(PLAN, DOLLAR // 2)
            if isinstance(running, Reservation) and running.current is spent.current:
                break  # else a window ended in between
        ledger.settle(spent, DOLLAR // 2)
        await settled(store)
        refused = await ledger.reserve(PLAN, 1)

        async def let_in() -> bool:
            hold = await ledger.reserve(PLAN, 1)
            if isinstance(hold, Reservation):
                ledger.settle(hold, 0)
            return isinstance(hold, Reservation)

        await until(let_in)
        ledger.settle(running, 5)  # it belongs to the window that it began in
        await settled(store)
        [account] = await ledger.accounts(PLAN)
        return [isinstance(refused, Refusal), account.spent]

    assert on(url, body) == [True, 0]


@pytest.mark.parametrize("wrong", [90_000, -90_000, 40 * 86400], ids=["ahead", "behind", "months"])
def test_windows_are_the_stores_whatever_the_replicas_clock_says(url: str, wrong: float) -> None:
    # A replica 25 hours ahead opened a second budget.
    async def body(store: Store) -> list[Any]:
        right = Ledger(store)
        skewed = Ledger(store, clock=StoreClock(own=lambda: time.time() + wrong))
        hold = await held(right, DOLLAR, SEVERAL)
        refused = await skewed.reserve(SEVERAL, 1)
        right.settle(hold, 0)
        await settled(store)
        skewed.settle(await held(skewed, 7, SEVERAL), 7)
        await settled(store)
        moments = [account.ends for account in await skewed.accounts(SEVERAL)]
        true = [account.ends for account in await right.accounts(SEVERAL)]
        return [isinstance(refused, Refusal), await stand(right, SEVERAL), moments == true]

    assert on(url, body) == [True, [(7, 0)] * 3, True]


def test_a_window_that_ends_on_the_way_is_asked_for_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds_for_hours(monkeypatch)

    async def body(store: Store, sent: list[Any]) -> int:
        store.start()
        ledger = Ledger(store)
        await held(ledger, 1)
        ledger.clock.hear(time.time() - 3, ledger.clock.steady())  # a store three seconds back
        before = len(sent)
        hold = await held(ledger, 1)
        assert abs(ledger.clock.now() - time.time()) < 1
        assert hold.current.starts <= time.time()
        return len(sent) - before

    assert on_spied(server.url, body) == 2


def test_accounts_do_not_expire_by_themselves(url: str) -> None:
    async def body(store: Store) -> list[int]:
        ledger = Ledger(store)
        first, second = await held(ledger, 5, SEVERAL), await held(ledger, 5, SEVERAL)
        keys = first.current.settle_keys
        for key in keys:
            await store.command("EXPIRE", key, 60)  # as an earlier release did
        ledger.settle(first, 5, "2026-03-04T05|1|1|1|5|web|demo")
        await held(ledger, 5, SEVERAL)
        ledger.settle(second, 5, "2026-03-04T05|1|1|1|5|web|demo")
        await settled(store)
        return [await store.command("TTL", key) for key in keys if ":index" not in key]

    assert on(url, body) == [-1] * 7


def test_an_account_is_in_the_index_until_a_day_after_its_window(url: str) -> None:
    async def body(store: Store) -> tuple[list[float], list[float]]:
        ledger = Ledger(store)
        hold = await held(ledger, 5, SEVERAL)
        found = []
        for key in hold.current.reserve_keys[:-1]:
            score = await store.command("ZSCORE", names.index("acme"), key)
            found += [float(score) / 1e6 + names.EPOCH]
        return found, [end for end in hold.current.kept for _ in (0, 1)]

    found, kept = on(url, body)
    assert found == kept
    assert kept == [window(b.per, time.time()).end + 86400 for b in SEVERAL.budgets for _ in (0, 1)]


# What was used


def test_a_settlement_counts_what_was_used_in_the_same_step(url: str) -> None:
    async def body(store: Store) -> Any:
        ledger = Ledger(store)
        moment = ledger.clock.now()
        for plan, cost in ((PLAN, 60), (SEVERAL, 7)):
            used = settlement(moment, "web", "de|mo", cost, 10, 3)
            hold = await held(ledger, 100, plan)
            ledger.settle(hold, cost, used)
            ledger.settle(hold, cost, used, again=True)
        ledger.settle(ledger.unreserved(PLAN), 5, settlement(moment, "web", "de|mo", 5, 0, 0))
        await settled(store)
        when = datetime.fromtimestamp(moment, UTC)
        [row] = await read_usage(store, "acme", when, when)
        [day] = await read_usage(store, "acme", when - timedelta(days=8), when)
        assert day == row
        return row.key, row.model, row.counts

    counts = dict.fromkeys(COUNTED, 0) | {
        "requests": 3, "cost": 72, "prompt_tokens": 20, "completion_tokens": 6
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
        ledger.settle(hold, 60, settlement(ledger.clock.now(), "web", "demo", 60, 1, 1))
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
                ledger.unreserved(PLAN), number, settlement(now, "web", "m", number, 1, 0)
            )
        await settled(store)
        await fold_settled(store, "acme")
        left = await store.command("EXISTS", names.settled("acme"))
        when = datetime.fromtimestamp(now, UTC)
        [row] = await read_usage(store, "acme", when, when)
        return left, row.counts["cost"], row.counts["requests"]

    assert on(url, body) == (0, sum(range(95)), 95)


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
