"""Can it pay? The bound on the cost is held before the call, the real cost is charged after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Literal

from app.core.call import Call, Handler
from app.core.errors import GatewayError
from app.core.keys import Key
from app.core.pricing import dollars_text
from app.core.refusal import owner_of, store_unavailable
from app.core.reply import ReplyWriter
from app.core.units import NanoDollars
from cache.quotas.ledger import Account, BudgetPlan, Ledger, Refusal, Reservation
from cache.store.base import StoreUnavailable


class BudgetExceeded(GatewayError):
    status = 429
    type = "insufficient_quota"
    code = "budget_exceeded"
    retryable = False


class Budget:
    """Asks the ledger for the plan that ``plan_of`` gives, to hold what ``bound_of`` gives.

    Without a plan, or at no price, it costs nothing. With ``on_outage`` allow, requests pass
    unreserved while the store is out, and are charged when it is back.
    """

    def __init__(
        self,
        inner: Handler,
        *,
        ledger: Ledger,
        plan_of: Callable[[Key, str], BudgetPlan | None],
        bound_of: Callable[[Call], NanoDollars | None],
        on_outage: Literal["refuse", "allow"],
    ) -> None:
        self._inner = inner
        self._ledger = ledger
        self._plan_of = plan_of
        self._bound_of = bound_of
        self._on_outage = on_outage

    def __call__(self, call: Call, reply: ReplyWriter) -> Awaitable[None]:
        plan = self._plan_of(call.key, call.request.model)
        bound = self._bound_of(call) if plan is not None else None
        if plan is None or bound is None:
            return self._inner(call, reply)
        return self._budgeted(call, reply, plan, bound)

    async def _budgeted(
        self, call: Call, reply: ReplyWriter, plan: BudgetPlan, bound: NanoDollars
    ) -> None:
        # A request that has waited for the store once does not wait again.
        held = None if call.store_out else await self._reserve(plan, bound)
        if held is None:
            if self._on_outage == "refuse":
                raise store_unavailable("budgets")
            held = self._ledger.unreserved(plan)
        if isinstance(held, Refusal):
            raise _refusal(held.account, bound)
        try:
            await self._inner(call, reply)
        finally:
            self._ledger.charge(held, call)

    async def _reserve(self, plan: BudgetPlan, bound: NanoDollars) -> Reservation | Refusal | None:
        """None while the store is out."""
        try:
            return await self._ledger.reserve(plan, bound)
        except StoreUnavailable:
            return None


def _refusal(account: Account, bound: NanoDollars) -> GatewayError:
    budget = account.budget
    until = datetime.fromtimestamp(account.ends, UTC).isoformat(timespec="seconds")
    return BudgetExceeded(
        f"{owner_of(budget.scope)} budget cannot cover this request, which may cost "
        f"${dollars_text(bound)}: of ${dollars_text(account.limit)} per {budget.per}, "
        f"${dollars_text(account.spent)} is spent and ${dollars_text(account.held)} is held by "
        f"running requests. Ask for less, or wait until {until}."
    )
