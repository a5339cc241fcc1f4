"""Budgets that cannot be overspent: hold the bound on a cost, then settle what it really was."""

from __future__ import annotations

import asyncio
from collections import deque
from random import getrandbits
from typing import Any, NamedTuple

from app.core.budgets import DAY, Budget, Window, window
from app.core.call import Call
from app.core.units import FREE, NanoDollars
from app.core.usage import NOTHING
from cache.quotas.usage import settlement
from cache.store import key_names as names
from cache.store.base import Script, Store, StoreUnavailable, script
from cache.store.clock import StoreClock

LEASE_SECONDS = 60.0  # how long a dead replica's holds stay held
RENEWALS = 4  # a hold is renewed this many times in its lease
RETRY_SECONDS = 1.0
MAX_UNSETTLED = 10_000
MAX_PLANS = 10_000
WINDOW_TRIES = 3  # a window may end between two of them, but not twice


class BudgetPlan(NamedTuple):
    """Every budget on one key's requests for one model."""

    tenant: str
    budgets: tuple[Budget, ...]


class Account(NamedTuple):
    """A budget as it stands; ``ends`` is unix seconds, ``granted`` stands on top of its limit until then."""

    budget: Budget
    spent: NanoDollars
    held: NanoDollars
    ends: int
    granted: NanoDollars = FREE

    @property
    def limit(self) -> NanoDollars:
        """What may be spent in this window."""
        return NanoDollars(self.budget.limit + self.granted)

    @property
    def left(self) -> NanoDollars:
        """What may still be reserved; less than nothing where the limit was lowered."""
        return NanoDollars(self.limit - self.spent - self.held)


class Current(NamedTuple):
    """A plan's windows and the names behind them, as long as none of them has ended.

    ``kept`` says for each budget until which unix second its account is kept.
    """

    windows: list[Window]
    reserve_keys: tuple[str, ...]
    settle_keys: tuple[str, ...]
    starts: int
    ends: int
    kept: tuple[int, ...]

    @property
    def leases(self) -> tuple[str, ...]:
        return self.reserve_keys[1::2]


class Reservation(NamedTuple):
    """Money held for one request, in the windows that it began in.

    One that is not ``real`` stands for a request let through while the store was out.
    """

    id: str
    current: Current
    real: bool = True


class Refusal(NamedTuple):
    """A budget that could not bear a cost."""

    account: Account


class Debt(NamedTuple):
    """A settlement that the store has not confirmed: see ``Ledger.settle``."""

    hold: Reservation
    cost: NanoDollars
    used: str


def _current(plan: BudgetPlan, now: float) -> Current:
    windows = [window(budget.per, now) for budget in plan.budgets]
    keys: list[str] = []
    for budget, span in zip(plan.budgets, windows, strict=True):
        keys.append(names.account(plan.tenant, budget.scope, span.name))
        keys.append(names.leases(plan.tenant, budget.scope, span.name))
    index = names.index(plan.tenant)
    return Current(
        windows,
        (*keys, index),
        (*keys, names.settled(plan.tenant), index),
        max(span.start for span in windows),
        min(span.end for span in windows),
        tuple(span.end + DAY for span in windows),
    )


class Ledger:
    """Reserves, settles and reads. Every method that asks the store raises StoreUnavailable."""

    def __init__(
        self, store: Store, lease: float = LEASE_SECONDS, clock: StoreClock | None = None
    ) -> None:
        self._lease = lease
        self._store = store
        self.clock = clock or StoreClock()
        self._reserve = script("reserve", on_full_server=True)
        self._settle = script("settle_budget", on_full_server=True)
        self._account = script("account", on_full_server=True)
        self._renew = script("renew", on_full_server=True)
        self._grant = script("grant_budget", on_full_server=True)
        self._reset = script("reset_budget", on_full_server=True)
        self._running: dict[str, Reservation] = {}
        self._current: dict[BudgetPlan, Current] = {}
        self._unsettled: deque[Debt] = deque(maxlen=MAX_UNSETTLED)
        self.lost = 0  # settlements given up because the store was out for too long

    async def reserve(self, plan: BudgetPlan, cost: NanoDollars) -> Reservation | Refusal:
        """Hold ``cost`` against every budget of a plan, or against none."""
        hold = self._hold(plan, self.clock.now())
        for _ in range(WINDOW_TRIES):
            asked = self.clock.steady()
            allowed, place, *rest = await self._ask(plan, hold, cost)
            if allowed == 1:
                self._running[hold.id] = hold
                return hold
            if allowed == 0:
                budget, span = plan.budgets[place - 1], hold.current.windows[place - 1]
                spent, held, granted = (NanoDollars(int(amount)) for amount in rest)
                return Refusal(Account(budget, spent, held, span.end, granted))
            # It is another window's time: ours is wrong, or a window has just ended.
            told = int(place) + int(rest[0]) / 1e6
            self.clock.hear(told, asked)
            hold = self._hold(plan, told)
        raise StoreUnavailable("clock")

    async def _ask(self, plan: BudgetPlan, hold: Reservation, cost: NanoDollars) -> Any:
        current = hold.current
        args = [hold.id, int(self._lease * 1e6), cost, current.starts, current.ends]
        for budget, kept in zip(plan.budgets, current.kept, strict=True):
            args += (budget.limit, kept)
        try:
            return await self._store.run(self._reserve, current.reserve_keys, args)
        except StoreUnavailable:
            # It may be done all the same, by a store that was only slow to answer.
            self._owe(Debt(hold, FREE, ""))
            raise

    def unreserved(self, plan: BudgetPlan) -> Reservation:
        """Something to settle for a request that was let through without a reservation."""
        return self._hold(plan, self.clock.now())._replace(real=False)

    def _hold(self, plan: BudgetPlan, now: float) -> Reservation:
        current = self._current.get(plan)
        if current is None or not current.starts <= now < current.ends:
            if len(self._current) > MAX_PLANS:  # those of configurations long gone
                self._current.clear()
            current = self._current[plan] = _current(plan, now)
        return Reservation(f"{getrandbits(96):024x}", current)

    def settle(
        self, hold: Reservation, cost: NanoDollars, used: str = "", *, again: bool = False
    ) -> None:
        """Charge what a held request really cost, and count its use in the same step.

        ``used`` is a ``cache.quotas.usage.settlement``, or nothing to count. Not waited for; kept where
        the store is out.
        """
        self._running.pop(hold.id, None)
        current = hold.current
        args = [hold.id, cost, int(again) if hold.real else 2, used, *current.kept]
        debt = Debt(hold, cost, used)
        self._store.tell(self._settle, current.settle_keys, args, lambda: self._owe(debt))

    def charge(self, hold: Reservation, call: Call) -> None:
        """Settle a hold to what a call cost, and count its use in the same step."""
        outcome, key = call.outcome, call.key
        cost = outcome.cost or FREE
        alias = outcome.alias_for(key) or ""
        used = settlement(self.clock.now(), key.id, alias, cost, outcome.usage or NOTHING)
        self.settle(hold, cost, used)
        outcome.charged = cost

    def _owe(self, debt: Debt) -> None:
        if len(self._unsettled) == MAX_UNSETTLED:
            self.lost += 1
        self._unsettled.append(debt)

    async def accounts(self, plan: BudgetPlan) -> list[Account]:
        """The budgets of a plan as they stand now."""
        now = self.clock.now()
        found = []
        for budget in plan.budgets:
            span = window(budget.per, now)
            keys = [
                names.account(plan.tenant, budget.scope, span.name),
                names.leases(plan.tenant, budget.scope, span.name),
            ]
            answer = await self._store.run(self._account, keys, [])
            spent, held, granted = (NanoDollars(int(amount)) for amount in answer)
            found.append(Account(budget, spent, held, span.end, granted))
        return found

    async def grant(self, tenant: str, budget: Budget, amount: NanoDollars, act: str) -> None:
        """Let a budget spend more until its window ends, once for each ``act``."""
        await self._amend(self._grant, tenant, budget, act, amount)

    async def reset(self, tenant: str, budget: Budget, act: str) -> None:
        """Forget what a budget spent in this window, once for each ``act``; what is held stays held."""
        await self._amend(self._reset, tenant, budget, act)

    async def _amend(
        self, amend: Script, tenant: str, budget: Budget, act: str, *more: object
    ) -> None:
        span = window(budget.per, self.clock.now())
        keys = [names.account(tenant, budget.scope, span.name), names.index(tenant)]
        await self._store.run(amend, keys, [act, span.end + DAY, *more])

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
            self.settle(*self._unsettled.popleft(), again=True)

    async def _renew_all(self) -> None:
        by_key: dict[str, list[str]] = {}
        for hold in self._running.values():
            for key in hold.current.leases:
                by_key.setdefault(key, []).append(hold.id)
        for key, holds in by_key.items():
            try:
                await self._store.run(self._renew, [key], [int(self._lease * 1e6), *holds])
            except StoreUnavailable:
                return
