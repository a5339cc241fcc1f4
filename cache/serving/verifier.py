"""Asks again what was answered from the cache, now and then and aside, to learn how often it errs.

The calls are the gateway's own: under its name in the records, out of a budget of their own, never
on the caller's account, and nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import random

from app.concurrency.background import Background
from app.core.budgets import Budget
from app.core.call import Call, Handler
from app.core.errors import GatewayError
from app.core.keys import GATEWAY, Key
from app.core.reply import DISCARD
from app.core.units import FREE, NanoDollars
from cache.answers.entry import CacheEntry
from cache.quotas.ledger import BudgetPlan, Ledger, Refusal
from cache.semantic.plan import MeaningPlan
from cache.semantic.query import Match, SemanticQuery, query_of
from cache.semantic.search import ByMeaning
from cache.serving.capture import ReplyCapture
from cache.serving.lookup import CacheLookup
from cache.store.base import StoreUnavailable


class Verifier:
    """``upstream`` answers calls without anything in front of it; ``bound_of`` gives the most that
    one can cost; ``recorder`` is told of every call."""

    def __init__(
        self,
        *,
        upstream: Handler,
        by_meaning: ByMeaning,
        background: Background,
        ledger: Ledger,
        bound_of: Callable[[Call], NanoDollars | None],
        recorder: Callable[[Call], None],
    ) -> None:
        self._upstream = upstream
        self._by_meaning = by_meaning
        self._background = background
        self._ledger = ledger
        self._bound_of = bound_of
        self._recorder = recorder

    def sample_match(self, lookup: CacheLookup, query: SemanticQuery, match: Match) -> None:
        """Perhaps verify an answer that was served by meaning."""
        if random() >= query.plan.share(match.tier):  # noqa: S311 - a sample, not a secret
            return

        async def verify() -> None:
            fresh = await self._ask(lookup, query.plan)
            if fresh is not None:
                with suppress(StoreUnavailable):
                    await self._by_meaning.verdict(query, match, fresh)

        self._background.start(verify)

    def sample_control(self, lookup: CacheLookup, plan: MeaningPlan, served: CacheEntry) -> None:
        """Perhaps verify an exact hit: how often does the model differ from itself?"""
        if random() >= plan.control:  # noqa: S311
            return
        query = query_of(lookup, plan)
        if query is None:
            return  # what is never answered by meaning says nothing about what is

        async def verify() -> None:
            fresh = await self._ask(lookup, plan)
            if fresh is not None:
                self._by_meaning.control(query, served, fresh)

        self._background.start(verify)

    async def _ask(self, lookup: CacheLookup, plan: MeaningPlan) -> str | None:
        """What the upstream says now; None where it cannot be had, or not be paid."""
        models = lookup.call.key.models
        gateway = Key(GATEWAY, GATEWAY, (), frozenset[str](), models, None)
        call = lookup.call.background("shadow", gateway)
        capture = ReplyCapture(lookup.again(call), DISCARD)
        budget = Budget(f"shadow:{call.request.model}", plan.per_day, "day")
        paying = BudgetPlan(GATEWAY, (budget,))
        try:
            hold = await self._ledger.reserve(paying, self._bound_of(call) or FREE)
        except StoreUnavailable:
            return None
        if isinstance(hold, Refusal):
            return None
        outcome = call.outcome
        try:
            await self._upstream(capture.call, capture)
            outcome.status = 200
        except GatewayError as error:
            outcome.status, outcome.error_code = error.status, error.code
        finally:
            self._ledger.charge(hold, call)
            outcome.cache = "shadow"
            self._recorder(call)
        body = await capture.body()
        return lookup.family.answer_text(body) if body is not None else None
