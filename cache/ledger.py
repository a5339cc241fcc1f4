"""Budgets that cannot be overspent: hold the bound on a cost, then settle what it really was."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import getrandbits
from time import time
from typing import NamedTuple

from app.core.budgets import DAY, Budget, Window, window
from cache import names
from cache.connection import Store, StoreUnavailable, script

LEASE_SECONDS = 60.0  # how long a dead replica's holds stay held
RENEWALS = 4  # a hold is renewed this many times in its lease
RETRY_SECONDS = 1.0
MAX_UNSETTLED = 10_000
MAX_PLANS = 10_000


class BudgetPlan(NamedTuple):
    """Every budget on one key's requests for one model."""

    tenant: str
    budgets: tuple[Budget, ...]


class Account(NamedTuple):
    """A budget as it stands, in nano-dollars; ``ends`` is unix seconds."""

    budget: Budget
    spent: int
    held: int
    ends: int


class Hold(NamedTuple):
    """Money held for one request: the keys it stands under, and seconds they are kept.

    One that is not ``real`` stands for a request let through while the store was out.
    """

    id: str
    keys: tuple[str, ...]
    keep: int
    real: bool = True


class Refusal(NamedTuple):
    """A budget that could not bear a cost."""

    account: Account


class Current(NamedTuple):
    """A plan's windows and the names behind them, as long as none of them has ended."""

    windows: list[Window]
    keys: tuple[str, ...]
    starts: int
    ends: int
    kept_until: int


def _current(plan: BudgetPlan, now: float) -> Current:
    windows = [window(budget.per, now) for budget in plan.budgets]
    keys: list[str] = []
    for budget, span in zip(plan.budgets, windows, strict=True):
        keys.append(names.account(plan.tenant, budget.scope, span.name))
        keys.append(names.leases(plan.tenant, budget.scope, span.name))
    return Current(
        windows,
        tuple(keys),
        max(span.start for span in windows),
        min(span.end for span in windows),
        max(span.end for span in windows) + DAY,
    )


class Ledger:
    """Reserves, settles and reads. Every method that asks the store raises StoreUnavailable."""

    def __init__(
        self, store: Store, lease: float = LEASE_SECONDS, clock: Callable[[], float] = time
    ) -> None:
        self._lease = lease
        self._store = store
        self._clock = clock
        self._reserve = script("reserve")
        self._settle = script("settle_budget")
        self._account = script("account")
        self._renew = script("renew")
        self._running: dict[str, Hold] = {}
        self._current: dict[BudgetPlan, Current] = {}
        self._unsettled: deque[tuple[Hold, int]] = deque(maxlen=MAX_UNSETTLED)
        self.lost = 0  # settlements given up because the store was out for too long

    async def reserve(self, plan: BudgetPlan, cost: int) -> Hold | Refusal:
        """Hold ``cost`` nano-dollars against every budget of a plan, or against none."""
        hold, windows = self._hold(plan)
        limits = [budget.limit for budget in plan.budgets]
        args = [hold.id, int(self._lease * 1e6), cost, hold.keep, *limits]
        try:
            answer = await self._store.run(self._reserve, hold.keys, args)
        except StoreUnavailable:
            # It may be done all the same, by a store that was only slow to answer.
            self._owe(hold, 0)
            raise
        allowed, place, spent, held, _ = answer
        if allowed:
            self._running[hold.id] = hold
            return hold
        budget, span = plan.budgets[place - 1], windows[place - 1]
        return Refusal(Account(budget, int(spent), int(held), span.end))

    def unheld(self, plan: BudgetPlan) -> Hold:
        """Something to settle for a request that was let through without a reservation."""
        return self._hold(plan)[0]._replace(real=False)

    def _hold(self, plan: BudgetPlan) -> tuple[Hold, list[Window]]:
        now = self._clock()
        current = self._current.get(plan)
        if current is None or not current.starts <= now < current.ends:
            if len(self._current) > MAX_PLANS:  # those of configurations long gone
                self._current.clear()
            current = self._current[plan] = _current(plan, now)
        keep = current.kept_until - int(now)
        return Hold(f"{getrandbits(96):024x}", current.keys, keep), current.windows

    def settle(self, hold: Hold, cost: int, *, again: bool = False) -> None:
        """Charge what a held request really cost. Not waited for; kept where the store is out."""
        self._running.pop(hold.id, None)
        args = [hold.id, cost, hold.keep, int(again) if hold.real else 2]
        self._store.tell(self._settle, hold.keys, args, lambda: self._owe(hold, cost))

    def _owe(self, hold: Hold, cost: int) -> None:
        if len(self._unsettled) == MAX_UNSETTLED:
            self.lost += 1
        self._unsettled.append((hold, cost))

    async def accounts(self, plan: BudgetPlan) -> list[Account]:
        """The budgets of a plan as they stand now."""
        now = self._clock()
        found = []
        for budget in plan.budgets:
            span = window(budget.per, now)
            keys = [
                names.account(plan.tenant, budget.scope, span.name),
                names.leases(plan.tenant, budget.scope, span.name),
            ]
            spent, held = await self._store.run(self._account, keys, [])
            found.append(Account(budget, int(spent), int(held), span.end))
        return found

    async def keep_leases(self) -> None:
        """Renew the holds of running requests and settle what is owed, while this task runs."""
        elapsed = 0.0
        turn = min(RETRY_SECONDS, self._lease / RENEWALS)
        while True:
            await asyncio.sleep(turn)
            elapsed += turn
            if self._unsettled and not self._store.breaker.open:
                self.settle_owed()
            if elapsed >= self._lease / RENEWALS:
                elapsed = 0.0
                await self._renew_all()

    def settle_owed(self) -> None:
        """Settle what could not be settled while the store was out."""
        for _ in range(len(self._unsettled)):
            hold, cost = self._unsettled.popleft()
            self.settle(hold, cost, again=True)

    async def _renew_all(self) -> None:
        by_key: dict[str, list[str]] = {}
        for hold in self._running.values():
            for key in hold.keys[1::2]:
                by_key.setdefault(key, []).append(hold.id)
        for key, holds in by_key.items():
            try:
                await self._store.run(self._renew, [key], [int(self._lease * 1e6), *holds])
            except StoreUnavailable:
                return
