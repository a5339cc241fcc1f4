"""What embeddings for callers cost: held against their budgets before, booked on their keys after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.core.call import Call
from app.core.keys import Key
from app.core.usage import Usage, estimate_text
from app.openai.message_size import text_bytes
from app.policy.retrieval import Paid
from app.retrieval.chunk import RetrievalFailure
from app.retrieval.retriever import Spent
from cache.quotas.ledger import BudgetPlan, Ledger, Refusal, Reservation
from cache.store.base import StoreUnavailable


class Booking(NamedTuple):
    """An embedding call that is being made: a call of its own, and what is held for it."""

    call: Call
    paid: Paid
    hold: Reservation | None
    estimate: Usage


class EmbeddingAccount:
    """``plan_of`` gives the budgets of a key and an alias; ``recorder`` is told of every call."""

    def __init__(
        self,
        ledger: Ledger,
        plan_of: Callable[[Key, str], BudgetPlan | None],
        recorder: Callable[[Call], None],
    ) -> None:
        self._ledger = ledger
        self._plan_of = plan_of
        self._recorder = recorder

    async def open(self, call: Call, paid: Paid, texts: Sequence[str]) -> Booking:
        """Hold what an embedding can cost. Raises RetrievalFailure where it cannot be paid."""
        aside = call.background("retrieval")
        outcome = aside.outcome
        outcome.operation, outcome.provider, outcome.model = "embeddings", paid.provider, paid.model
        budgets = self._plan_of(call.key, call.request.model)
        hold = None
        if budgets is not None and paid.price is not None:
            bound = paid.price.most(sum(text_bytes(text) + 4 for text in texts), 0)
            try:
                answer = await self._ledger.reserve(budgets, bound)
            except StoreUnavailable:
                raise RetrievalFailure("store_unavailable") from None
            if isinstance(answer, Refusal):
                raise RetrievalFailure("budget")
            hold = answer
        return Booking(aside, paid, hold, Usage(sum(map(estimate_text, texts)), 0, estimated=True))

    def close(self, booking: Booking, spent: Spent, failure: str | None) -> None:
        """Charge what it really cost; by an estimate where it was left alone before it said so."""
        call, paid, hold, estimate = booking
        outcome = call.outcome
        usage = spent.usage
        if usage is None and spent.asked and failure in ("timeout", "cancelled"):
            usage = estimate
        outcome.usage = usage
        outcome.status = 200 if failure is None else 503
        outcome.error_code = failure
        outcome.attempts = int(spent.asked)
        if usage is not None and paid.price is not None:
            outcome.cost = paid.price.cost(usage)
        if hold is not None:
            self._ledger.charge(hold, call)
        self._recorder(call)
