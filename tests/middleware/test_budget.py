"""Can it pay? The bound is held before the call, the real cost is charged after it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.core.budgets import Budget as Amount
from app.core.call import Call
from app.core.errors import GatewayError, UpstreamTimeout
from cache.quotas.ledger import Account, BudgetPlan, Ledger
from middleware.budget import Budget
from tests.harness.chain import Answering, FailingStore, RecordingWriter, call_of, in_loop, turns

PLAN = BudgetPlan("acme", (Amount("key:web", 100, "day"),))
BOUND = 60  # nano-dollars that a request can cost at most


class Layer:
    """The layer over a handler, with a store of its own."""

    def __init__(
        self,
        inner: Answering,
        plan: BudgetPlan | None = PLAN,
        bound: int | None = BOUND,
        on_outage: Any = "refuse",
    ) -> None:
        self.store = FailingStore()
        self.ledger = Ledger(self.store)
        self._layer = Budget(
            inner,
            ledger=self.ledger,
            plan_of=lambda key, alias: plan,
            bound_of=lambda call: bound,
            on_outage=on_outage,
        )

    async def ask(self, call: Call | None = None) -> Call:
        call = call or call_of()
        await self._layer(call, RecordingWriter())
        return call

    async def refused(self, call: Call | None = None) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await self.ask(call)
        return caught.value

    async def account(self) -> tuple[int, int]:
        """What is spent and what is held."""
        account: Account
        [account] = await self.ledger.accounts(PLAN)
        return account.spent, account.held


@pytest.mark.parametrize(("plan", "bound"), [(None, BOUND), (PLAN, None)])
def test_without_a_budget_or_a_price_a_call_just_passes(
    plan: BudgetPlan | None, bound: int | None
) -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner, plan, bound)
        call = await layer.ask()
        assert inner.calls == [call]
        assert layer.store.asked == 0

    in_loop(body)


def test_the_bound_is_held_while_a_call_runs_and_its_cost_is_charged_after_it() -> None:
    async def body() -> list[tuple[int, int]]:
        gate = asyncio.Event()
        layer = Layer(Answering(gate=gate, cost=7))
        running = asyncio.create_task(layer.ask())
        await turns()
        before = await layer.account()
        gate.set()
        await running
        return [before, await layer.account()]

    assert in_loop(body) == [(0, BOUND), (7, 0)]


def test_a_call_that_nobody_can_pay_is_not_made() -> None:
    async def body() -> None:
        gate = asyncio.Event()
        inner = Answering(gate=gate, cost=7)
        layer = Layer(inner)
        running = asyncio.create_task(layer.ask())
        await turns()
        error = await layer.refused()
        assert (error.status, error.code, error.retryable) == (429, "budget_exceeded", False)
        assert "This key's budget cannot cover this request" in error.message
        assert "which may cost $0.00000006:" in error.message
        assert "$0.00000006 is held" in error.message
        assert "or wait until 20" in error.message
        assert len(inner.calls) == 1
        gate.set()
        await running
        await layer.ask()

    in_loop(body)


@pytest.mark.parametrize("end", ["raised", "cancelled"])
def test_a_call_that_ends_badly_is_charged_for_what_it_used(end: str) -> None:
    async def body() -> tuple[int, int]:
        inner = Answering(gate=asyncio.Event())
        if end == "raised":
            inner.refusal = UpstreamTimeout("late")
        layer = Layer(inner)
        call = call_of()
        call.outcome.cost = 5
        running = asyncio.create_task(layer.ask(call))
        await turns()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return await layer.account()

    assert in_loop(body) == (5, 0)


# Without the store


def test_without_the_store_a_budget_refuses() -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner)
        layer.store.out = True
        error = await layer.refused()
        assert (error.status, error.code) == (503, "store_unavailable")
        assert not inner.calls

    in_loop(body)


def test_without_the_store_a_budget_may_let_pass_and_charge_later() -> None:
    async def body() -> tuple[int, int]:
        layer = Layer(Answering(cost=7), on_outage="allow")
        layer.store.out = True
        await layer.ask()
        layer.store.out = False
        layer.ledger.settle_owed()
        return await layer.account()

    assert in_loop(body) == (7, 0)


@pytest.mark.parametrize("on_outage", ["refuse", "allow"])
def test_a_call_that_waited_for_the_store_once_does_not_wait_again(on_outage: str) -> None:
    async def body() -> int:
        layer = Layer(Answering(), on_outage=on_outage)
        call = call_of()
        call.store_out = True
        if on_outage == "allow":
            await layer.ask(call)
        else:
            await layer.refused(call)
        return layer.store.asked

    assert in_loop(body) == 0
