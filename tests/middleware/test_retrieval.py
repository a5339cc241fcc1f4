"""Retrieval between two readings of the guardrails, before the cache: in the real chain, by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from app.chain.retrieving import with_retrieval
from app.core.budgets import Budget
from app.core.call import Call
from app.core.pricing import Price
from app.core.reply import ReplyWriter
from app.core.units import NanoDollars
from app.core.usage import Usage
from app.policy.guardrails import Guardrails
from app.policy.retrieval import Paid, RetrievalPlan, Retrievals
from app.retrieval.chunk import Chunk, Embedded, Question, RetrievalFailure, Wanted
from app.retrieval.prompts.placement import Templates
from app.retrieval.prompts.template import SYSTEM, TEMPLATE, parse_system, parse_template
from app.retrieval.retriever import Retriever
from app.retrieval.sources.static import Kept
from cache.quotas.ledger import BudgetPlan, Ledger
from cache.serving.verifier import Verifier
from middleware.response_cache import ResponseCache
from tests.cache.serving.serving import Worker, plans_of
from tests.harness.chain import ALIAS, KEY, Door, in_loop
from tests.harness.configuration import NOT_VERIFIED
from tests.harness.guarded import (
    BLOCK,
    EMAIL,
    FAMILIES,
    REDACT,
    SECRET,
    Counted,
    Speaking,
    both,
    error_of,
    plans_with,
    question,
    shapes,
)

SEMANTIC: dict[str, Any] = {
    "semantic": {"enabled": True, "sampled": "reuse", "tier1b": False, "verify": NOT_VERIFIED}
}
BUDGETS = BudgetPlan("acme", (Budget("key:web", NanoDollars(1_000), "day"),))


class Listed:
    """A source that finds for every question the chunks it has; ``failure`` is why it has none."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.failure = ""
        self.asked: list[str] = []

    async def prepare(self) -> None:
        return

    async def aclose(self) -> None:
        return

    async def find(self, question: Question, wanted: Wanted) -> list[Chunk]:
        self.asked.append(question.text)
        if self.failure:
            raise RetrievalFailure(self.failure)
        return [
            Chunk(f"doc#{place}", text, "doc", 1 - place / 10)
            for place, text in enumerate(self.texts)
        ]


class Priced:
    """An encoder that tells what it used, or waits for ever."""

    identity = "priced"

    def __init__(self) -> None:
        self.waits = False

    async def vectors(self, texts: Sequence[str]) -> Embedded:
        if self.waits:
            await asyncio.Event().wait()
        return Embedded([b"\0\0\0\0" for _ in texts], Usage(5, 0))


class Target(NamedTuple):
    identity: str = "up/m-1"


class Chain:
    """Guardrails, retrieval, guardrails and the cache over a handler that says ``fine``."""

    def __init__(
        self, *texts: str, rules: dict[str, Any] | None = None, encoder: Any = None, **plan: Any
    ) -> None:
        self.source = Listed(*texts)
        self.counted = Counted()
        self.inner = Speaking()
        self.recorded: list[Call] = []
        worker = Worker()
        self.ledger = Ledger(worker.store)
        parts = worker.services._replace(counters=self.counted)  # type: ignore[arg-type]
        cache = ResponseCache(
            self.inner,
            services=parts,
            plan_of=plans_of(**SEMANTIC).of_call,
            verifier=Verifier(
                upstream=self.inner,
                by_meaning=parts.by_meaning,
                background=parts.background,
                ledger=self.ledger,
                bound_of=lambda call: None,
                recorder=self.recorded.append,
            ),
            recorder=self.recorded.append,
        )
        default: dict[str, Any] = {
            "name": "handbook",
            "retriever": Retriever(self.source, encoder, 0.05),
            "templates": Templates(parse_template(TEMPLATE), parse_system(SYSTEM)),
            "k": 5,
            "min_score": None,
            "max_tokens": 500,
            "overhead": 0,
            "refuses": False,
            "suffix": "off",
            "paid": None,
        }
        plans = {ALIAS: RetrievalPlan(**default | plan)}
        guardrails = Guardrails(plans_with(**rules), []) if rules else None
        self.handler = with_retrieval(
            cache,
            Retrievals(plans, {}, Kept()),
            guardrails,
            parts,
            {},
            ledger=self.ledger,
            budgets_of=lambda key, alias: BUDGETS,
            recorder=self.recorded.append,
        )

    async def ask(self, family: str = "completions", text: str = "why", **members: Any) -> Door:
        body = question(family, text) | {"model": ALIAS, "temperature": 0} | members

        async def targeted(call: Call, reply: ReplyWriter) -> None:
            call.targets = (Target(),)
            await self.handler(call, reply)

        return await Door(None, KEY, FAMILIES[family], **body).through(targeted)

    def asked(self, family: str = "completions", text: str = "why", **members: Any) -> Door:
        door: Door = in_loop(lambda: self.ask(family, text, **members))
        return door

    @property
    def sent(self) -> str:
        """What the one call of the upstream said."""
        [call] = self.inner.calls
        return call.request.body_for("m").decode()

    @property
    def actions(self) -> dict[str, int]:
        """What became of chunks."""
        start = "headgate_retrieval_chunks_total:"
        return {
            name.removeprefix(start).partition(",")[0]: count
            for name, count in self.counted.counts.items()
            if name.startswith(start)
        }


@both
@shapes
def test_nobody_is_asked_about_a_prompt_that_a_rule_refuses(family: str, stream: bool) -> None:
    chain = Chain("a text", rules=BLOCK)
    door = chain.asked(family, f"my key is {SECRET}", stream=stream)
    assert error_of(door)["code"] == "guardrail_blocked"
    assert chain.source.asked == []


@both
def test_what_is_asked_is_the_redacted_prompt(family: str) -> None:
    chain = Chain("a text", rules=REDACT)
    chain.asked(family, f"who is {EMAIL}?")
    assert chain.source.asked == ["who is [EMAIL]?"]
    assert EMAIL not in chain.sent


@both
def test_a_chunk_that_a_rule_blocks_is_left_out_and_counted(family: str) -> None:
    chain = Chain("the first", f"key {SECRET}", "the third", rules=BLOCK)
    door = chain.asked(family)
    assert door.status == 200
    assert SECRET not in chain.sent
    assert "the first" in chain.sent
    assert "the third" in chain.sent
    assert chain.actions == {"guardrail": 1, "used": 2}
    assert door.headers[b"x-headgate-rag-sources"] == b"doc#0, doc#2"


@both
def test_a_chunk_that_a_rule_redacts_is_used_redacted(family: str) -> None:
    chain = Chain(f"write to {EMAIL}", rules=REDACT)
    chain.asked(family)
    assert "write to [EMAIL]" in chain.sent


@both
def test_the_whole_is_read_once_more(family: str) -> None:
    rules = {"short": {"kind": "length", "max_characters": 200, "phases": ["input"]}}
    chain = Chain("a text of fifty characters, more or less, as it is", rules=rules)
    door = chain.asked(family)
    assert error_of(door)["code"] == "guardrail_blocked"
    assert len(chain.source.asked) == 1
    assert chain.inner.calls == []


def test_a_prompt_to_which_nothing_was_added_is_read_once() -> None:
    chain = Chain(rules=BLOCK)
    assert chain.asked().headers[b"x-headgate-rag"] == b"empty; n=0"
    checks = "headgate_guardrail_checks_total:allow,input,no-secrets"
    assert chain.counted.counts[checks] == 1


def test_without_rules_nothing_is_read() -> None:
    chain = Chain(f"key {SECRET}")
    chain.asked()
    assert SECRET in chain.sent


@both
def test_a_source_that_fails_is_done_without(family: str) -> None:
    chain = Chain("a text")
    chain.source.failure = "timeout"
    door = chain.asked(family)
    assert (door.status, door.headers[b"x-headgate-rag"]) == (200, b"failed; n=0")
    assert "document" not in chain.sent
    assert chain.counted.counts["headgate_retrieval_failures_total:timeout,handbook"] == 1


@both
def test_a_source_that_fails_is_a_refusal_where_that_is_wanted(family: str) -> None:
    chain = Chain("a text", refuses=True)
    chain.source.failure = "timeout"
    door = chain.asked(family)
    assert (door.status, error_of(door)["code"]) == (503, "retrieval_unavailable")
    assert "timeout" in error_of(door)["message"]
    assert chain.inner.calls == []


PARAPHRASE = ("How do I feed a rabbit in winter?", "please, how do i feed rabbits in winter")


@both
def test_answers_by_meaning_compare_the_callers_words_and_want_the_same_chunks(family: str) -> None:
    chain = Chain("hay, and water that is not frozen")

    async def body() -> None:
        first = await chain.ask(family, PARAPHRASE[0])
        other = await chain.ask(family, PARAPHRASE[1])
        assert first.headers[b"x-headgate-cache"] == b"miss"
        assert other.headers[b"x-headgate-cache-layer"] == b"semantic"
        chain.source.texts = ("something else",)
        changed = await chain.ask(family, PARAPHRASE[1])
        assert changed.headers[b"x-headgate-cache"] == b"miss"

    in_loop(body)


def test_the_same_chunks_in_another_order_are_the_same_context() -> None:
    chain = Chain("hay", "water")

    async def body() -> None:
        await chain.ask("completions", PARAPHRASE[0])
        found = await chain.source.find(Question("q"), Wanted("acme", "web", 2))

        async def turned(question: Question, wanted: Wanted) -> list[Chunk]:
            return [one._replace(score=1 - one.score) for one in found]

        chain.source.find = turned  # type: ignore[method-assign]
        door = await chain.ask("completions", PARAPHRASE[1])
        assert door.headers[b"x-headgate-cache-layer"] == b"semantic"

    in_loop(body)


PAID = Paid("main", "embed", Price(10_000_000, 0))  # ten nano-dollars a token


def spent(chain: Chain) -> tuple[int, int]:
    async def body() -> tuple[int, int]:
        [account] = await chain.ledger.accounts(BUDGETS)
        return account.spent, account.held

    found: tuple[int, int] = in_loop(body)
    return found


def test_an_embedding_is_booked_on_the_caller() -> None:
    chain = Chain("a text", encoder=Priced(), paid=PAID)
    chain.asked()
    assert spent(chain) == (50, 0)
    [call] = chain.recorded
    outcome = call.outcome
    assert (call.key, outcome.operation, outcome.cache) == (KEY, "embeddings", "retrieval")
    assert (outcome.usage, outcome.cost, outcome.status) == (Usage(5, 0), 50, 200)
    assert (outcome.provider, outcome.model) == ("main", "embed")


def test_an_embedding_that_was_given_up_is_booked_by_an_estimate() -> None:
    encoder = Priced()
    encoder.waits = True
    chain = Chain("a text", encoder=encoder, paid=PAID)
    assert chain.asked(text="twelve bytes").headers[b"x-headgate-rag"] == b"failed; n=0"
    assert spent(chain) == (30, 0)
    [call] = chain.recorded
    assert call.outcome.usage == Usage(3, 0, estimated=True)


def test_an_embedding_that_no_budget_bears_is_not_made() -> None:
    chain = Chain("a text", encoder=Priced(), paid=PAID)
    chain.asked(text="x" * 200)  # a token a byte at most: two dollars' worth of a thousand
    assert chain.source.asked == []
    assert chain.counted.counts["headgate_retrieval_failures_total:budget,handbook"] == 1
    assert spent(chain) == (0, 0)


def test_the_header_names_as_many_sources_as_fit() -> None:
    chain = Chain(*(f"text {number}" for number in range(5)))

    async def long(question: Question, wanted: Wanted) -> list[Chunk]:
        return [
            Chunk(f"{place}\u00e9\r\n" + "x" * 400, f"text {place}", "s", -place)
            for place in range(5)
        ]

    chain.source.find = long  # type: ignore[method-assign]
    door = chain.asked()
    named = door.headers[b"x-headgate-rag-sources"]
    assert door.headers[b"x-headgate-rag"] == b"used; n=5"
    assert len(named) <= 1024
    assert named.startswith(b"0%C3%A9%0D%0Axxx")
    assert named.count(b", ") == 1
