"""A budget's windows, by the store's clock."""

from __future__ import annotations

import time
from typing import Any

import pytest

from app.core.budgets import Window, window
from cache.quotas.ledger import Ledger, Refusal, Reservation
from cache.store import key_names as names
from cache.store.base import Store
from cache.store.clock import StoreClock
from tests.cache.quotas.holding import DOLLAR, PLAN, SEVERAL, held, stand
from tests.cache.stores import on, on_spied, settled, until
from tests.harness.redis_server import RedisServer

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
