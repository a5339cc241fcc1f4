"""Answers from the cache are asked for again, now and then and aside, on the gateway's account."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.call import Call
from app.core.errors import UpstreamTimeout
from app.core.keys import GATEWAY
from cache.quotas.ledger import Ledger
from cache.semantic.plan import Tier
from cache.semantic.query import Match, SemanticQuery, query_of
from cache.serving.lookup import CacheLookup
from cache.serving.verifier import Verifier
from tests.cache.serving.serving import COST, Worker, entry_of, lookup_of, plan_of
from tests.harness.chain import ALIAS, Answering, call_of, in_loop

PROMPT = "How do I feed a wombat in winter?"
ALWAYS = {"tier1": 1, "tier1b": 1, "tier2": 1, "control": 1}


class Verifying:
    """A verifier over a handler, and a request that was answered by meaning."""

    def __init__(self, upstream: Answering, bound: int | None = COST, **verify: Any) -> None:
        self.worker = Worker()
        self.upstream = upstream
        self.recorded: list[Call] = []
        self.plan = plan_of(semantic={"enabled": True, "verify": ALWAYS | verify})
        self.verifier = Verifier(
            upstream=upstream,
            by_meaning=self.worker.services.by_meaning,
            background=self.worker.services.background,
            ledger=Ledger(self.worker.store),
            bound_of=lambda call: bound,
            recorder=self.recorded.append,
        )
        self.lookup = self.looked_up()

    def looked_up(self, **members: Any) -> CacheLookup:
        return lookup_of(call_of(**{"prompt": PROMPT, "stream": True} | members), self.plan)

    @property
    def query(self) -> SemanticQuery:
        assert self.plan.meaning is not None
        query = query_of(self.lookup, self.plan.meaning)
        assert query is not None
        return query

    async def match(self, served: str, tier: Tier = "1") -> SemanticQuery:
        """Sample an answer that was served by meaning, and wait for what comes of it."""
        query = self.query
        self.verifier.sample_match(self.lookup, query, Match(tier, entry_of(served), b"s" * 32))
        await self.worker.services.background.aclose(5)
        return query

    async def control(self, served: str, lookup: CacheLookup | None = None) -> None:
        """Sample an exact hit, and wait for what comes of it."""
        assert self.plan.meaning is not None
        self.verifier.sample_control(lookup or self.lookup, self.plan.meaning, entry_of(served))
        await self.worker.services.background.aclose(5)

    async def counts(self) -> dict[str, int]:
        """What was counted for the model."""
        assert self.plan.meaning is not None
        return await self.worker.services.semantic_index.counts("acme", self.plan.meaning.model)


@pytest.mark.parametrize(("served", "differed"), [("yes it is", 0), ("not at all, never", 1)])
def test_an_answer_by_meaning_is_compared_with_what_the_upstream_says_now(
    served: str, differed: int
) -> None:
    async def body() -> None:
        verifying = Verifying(Answering("yes it is"))
        query = await verifying.match(served)
        samples = await verifying.worker.services.semantic_index.samples(
            "acme", query.partition, query.plan.model, 1
        )
        assert (samples.looked, samples.differed) == (1, differed)

    in_loop(body)


def test_an_answer_that_differs_is_not_served_again() -> None:
    async def body() -> bool:
        verifying = Verifying(Answering("yes it is"))
        query = await verifying.match("not at all, never")
        semantic_index = verifying.worker.services.semantic_index
        return await semantic_index.is_banned("acme", query.digest, b"s" * 32)

    assert in_loop(body)


@pytest.mark.parametrize(("served", "differed"), [("yes it is", 0), ("not at all, never", 1)])
def test_an_exact_hit_says_how_often_the_model_differs_from_itself(
    served: str, differed: int
) -> None:
    async def body() -> dict[str, int]:
        verifying = Verifying(Answering("yes it is"))
        await verifying.control(served)
        return await verifying.counts()

    counts = in_loop(body)
    assert (counts["control_looked"], counts["control_differed"]) == (1, differed)


def test_what_is_never_answered_by_meaning_is_no_control() -> None:
    async def body() -> None:
        verifying = Verifying(Answering())
        await verifying.control("kept", verifying.looked_up(temperature=1))
        assert not verifying.upstream.calls

    in_loop(body)


def test_a_verification_is_the_gateways_own_call() -> None:
    async def body() -> None:
        verifying = Verifying(Answering(cost=COST))
        await verifying.match("yes it is")
        [asked] = verifying.upstream.calls
        [recorded] = verifying.recorded
        assert (asked.key.id, asked.key.tenant) == (GATEWAY, GATEWAY)
        assert asked.key.models == verifying.lookup.call.key.models
        outcome = recorded.outcome
        assert recorded.key.id == GATEWAY
        assert (outcome.cache, outcome.status, outcome.alias) == ("shadow", 200, ALIAS)
        assert outcome.cost == COST

    in_loop(body)


def test_a_verification_changes_nothing_for_the_caller() -> None:
    async def body() -> None:
        verifying = Verifying(Answering(cost=COST))
        call = verifying.lookup.call
        await verifying.match("yes it is")
        assert (call.outcome.cost, call.outcome.cache, call.reply_headers) == (None, None, [])

    in_loop(body)


def test_a_verification_keeps_nothing_and_leads_nothing() -> None:
    async def body() -> None:
        verifying = Verifying(Answering())
        await verifying.match("yes it is")
        assert await verifying.worker.kept(verifying.lookup) == [None]
        assert verifying.worker.idle

    in_loop(body)


def test_a_share_of_none_verifies_none() -> None:
    async def body() -> None:
        verifying = Verifying(Answering(), tier1=0, control=0)
        await verifying.match("yes it is", tier="1")
        await verifying.control("yes it is")
        assert not verifying.upstream.calls

    in_loop(body)


@pytest.mark.parametrize("tier", ["1b", "2"])
def test_each_tier_has_a_share_of_its_own(tier: Tier) -> None:
    async def body() -> None:
        others = {"tier1": 0, "tier1b": 0, "tier2": 0} | {f"tier{tier}": 1}
        verifying = Verifying(Answering(), **others)
        await verifying.match("yes it is", tier="1")
        assert verifying.upstream.calls == []
        await verifying.match("yes it is", tier=tier)
        assert len(verifying.upstream.calls) == 1

    in_loop(body)


def test_what_the_days_money_cannot_pay_is_not_verified() -> None:
    async def body() -> None:
        verifying = Verifying(Answering(cost=COST), usd_per_day=0.00001)  # 10,000 nano-dollars
        await verifying.match("yes it is")
        await verifying.match("yes it is")
        assert len(verifying.upstream.calls) == len(verifying.recorded) == 1

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_verification_that_fails_is_recorded_and_compares_nothing(stream: bool) -> None:
    async def body() -> None:
        failing = Answering(refusal=UpstreamTimeout("late"))
        if stream:
            failing = Answering(cut=UpstreamTimeout("late"))
        verifying = Verifying(failing)
        await verifying.control("yes it is")
        assert len(verifying.recorded) == 1
        assert await verifying.counts() == {}

    in_loop(body)


def test_without_the_store_nothing_is_verified() -> None:
    async def body() -> None:
        verifying = Verifying(Answering())
        verifying.worker.store.out = True
        await verifying.match("yes it is")
        assert not verifying.upstream.calls

    in_loop(body)
