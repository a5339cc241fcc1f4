"""Budgets of the tests, and how they stand."""

from __future__ import annotations

from app.core.budgets import Budget
from cache.quotas.ledger import BudgetPlan, Ledger, Reservation

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
