"""Asks again what was answered from the cache, now and then and aside, to learn how often it errs.

The calls are the gateway's own: under its name in the records, out of a budget of their own, never
on the caller's account, and nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from random import random
from time import perf_counter

from app.caching.asked import Asked
from app.caching.background import Background
from app.caching.by_meaning import ByMeaning
from app.caching.call import Listener, assembled
from app.caching.journey import never, to_nobody
from app.caching.meaning_plan import MeaningPlan
from app.caching.question import Match, Question, question_of, text_of
from app.core.asgi import ASGIApp, Scope
from app.core.budgets import Budget
from app.core.completions import CompletionRequest
from app.core.exchange import Exchange
from app.core.keys import GATEWAY, Key
from app.core.stored_answer import Stored
from app.records import charge
from cache.connection import StoreUnavailable
from cache.ledger import BudgetPlan, Ledger, Refusal


class Verifier:
    """``route`` answers requests without anything in front of it; ``bound_of`` gives the most that
    one can cost, in nano-dollars; ``recorder`` is told of every call."""

    def __init__(
        self,
        *,
        route: ASGIApp,
        by_meaning: ByMeaning,
        background: Background,
        ledger: Ledger,
        bound_of: Callable[[CompletionRequest], int | None],
        recorder: Callable[[Exchange], None],
    ) -> None:
        self._route = route
        self._by_meaning = by_meaning
        self._background = background
        self._ledger = ledger
        self._bound_of = bound_of
        self._recorder = recorder

    def match(self, question: Question, match: Match, scope: Scope) -> None:
        """Perhaps verify an answer that was served by meaning."""
        if random() >= question.plan.share(match.tier):  # noqa: S311 - a sample, not a secret
            return

        async def verify() -> None:
            fresh = await self._ask(question.asked, question.plan, scope)
            if fresh is not None:
                with suppress(StoreUnavailable):
                    await self._by_meaning.verdict(question, match, fresh)

        self._background.start(verify)

    def control(self, asked: Asked, plan: MeaningPlan, served: Stored, scope: Scope) -> None:
        """Perhaps verify an exact hit: how often does the model differ from itself?"""
        if random() >= plan.control:  # noqa: S311
            return
        question = question_of(asked, plan)
        if question is None:
            return  # what is never answered by meaning says nothing about what is

        async def verify() -> None:
            fresh = await self._ask(asked, plan, scope)
            if fresh is not None:
                self._by_meaning.control(question, served, fresh)

        self._background.start(verify)

    async def _ask(self, asked: Asked, plan: MeaningPlan, scope: Scope) -> str | None:
        """What the upstream says now; None where it cannot be had, or not be paid."""
        exchange = _exchange(asked)
        request = exchange.request
        assert request is not None
        again = Asked(exchange, asked.plan, asked.wishes, asked.where)
        again.headers = asked.headers
        again.digests = asked.digests
        again.ask_for_missing()
        bound = self._bound_of(request)
        budget = Budget(f"shadow:{request.model}", plan.per_day, "day")
        paying = BudgetPlan(GATEWAY, (budget,))
        try:
            hold = await self._ledger.reserve(paying, bound or 0)
        except StoreUnavailable:
            return None
        if isinstance(hold, Refusal):
            return None
        listener = Listener(again, to_nobody, None)
        try:
            inner = {**scope, "state": {"exchange": exchange}}
            await self._route(inner, never, listener)
        finally:
            charge(self._ledger, hold, exchange)
            exchange.outcome.cache, exchange.outcome.status = "shadow", listener.status
            self._recorder(exchange)
        body = listener.body
        if body is None and listener.whole and listener.blocks:
            body = await assembled(listener.blocks)
        return text_of(body) if body is not None else None


def _exchange(asked: Asked) -> Exchange:
    """The same request, on the gateway's own account."""
    original = asked.exchange
    assert original.key is not None
    exchange = Exchange(original.request_id, original.headers, perf_counter())
    none = frozenset[str]()
    exchange.key = Key(GATEWAY, GATEWAY, (), none, original.key.models, None)
    exchange.request = copy(asked.request)
    exchange.outcome.alias = original.outcome.alias
    return exchange
