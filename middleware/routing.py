"""Who may answer, in which order? Fixed once a request, before anything depends on who it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from app.core.call import Call, Handler
from app.core.keys import Key
from app.core.pricing import NANO
from app.core.reply import ReplyWriter
from app.providers.routing.routes import Alias
from app.providers.routing.selection import Selector
from cache.quotas.ledger import BudgetPlan, Ledger
from cache.store.base import StoreUnavailable


class Routing:
    """Puts the targets of a call in their order. ``alias_of`` says where a call leads.

    An alias that is unknown, or that the key may not use, is left without targets for the end of the
    chain to refuse, so that it is limited and recorded as any other request is. What is left of the
    budgets of ``plan_of`` is asked for only where a condition depends on it. ``most_added`` says how
    many tokens retrieval may put into the prompts.
    """

    def __init__(
        self,
        inner: Handler,
        *,
        alias_of: Callable[[Call], Alias | None],
        selector: Selector,
        ledger: Ledger,
        plan_of: Callable[[Key, str], BudgetPlan | None],
        most_added: Callable[[Call], int] | None = None,
    ) -> None:
        self._inner = inner
        self._most_added = most_added
        self._alias_of = alias_of
        self._selector = selector
        self._ledger = ledger
        self._plan_of = plan_of

    def __call__(self, call: Call, reply: ReplyWriter) -> Awaitable[None]:
        alias = self._alias_of(call) if call.request.model in call.key.models else None
        if alias is None:
            return self._inner(call, reply)
        if self._most_added is not None:
            call.to_add = self._most_added(call)
        if call.steering is not None:
            alias = alias.of_provider(call.steering.provider)
        if alias.asks_budget:
            return self._by_budget(alias, call, reply)
        if not alias.only:
            call.targets = self._selector.select(alias, call).routes
        elif call.family.name in alias.routes[0].endpoints:
            call.targets = alias.routes
        return self._inner(call, reply)

    async def _by_budget(self, alias: Alias, call: Call, reply: ReplyWriter) -> None:
        remaining = await self._remaining(call)
        call.targets = self._selector.select(alias, call, remaining).routes
        await self._inner(call, reply)

    async def _remaining(self, call: Call) -> float | None:
        """Dollars left of the budget that has least; None without one, and while nobody knows."""
        plan = self._plan_of(call.key, call.request.model)
        if plan is None or call.store_out:
            return None
        try:
            accounts = await self._ledger.accounts(plan)
        except StoreUnavailable:
            return None
        rests = [one.left for one in accounts]
        return max(0, min(rests)) / NANO if rests else None
