"""What is to come fits into the chain as it is: the cache and the budget layer are not touched.

Each toy stands for a capability: a fallback, a rule on outputs, and a second endpoint family. Around
it stands the real chain, over ``memory://``, behind the real door to HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from app.core.budgets import Budget as Amount
from app.core.call import Call, Handler
from app.core.errors import GatewayError, UpstreamError, UpstreamOverloaded
from app.core.limits import Bucket
from app.core.reply import Answer, Chunk, Origin, ReplyWriter, StreamEnd
from cache.quotas.ledger import BudgetPlan, Ledger
from cache.quotas.limiter import Limiter, LimitPlan
from middleware.budget import Budget
from middleware.rate_limit import RateLimit
from middleware.response_cache import ResponseCache
from tests.cache.serving.serving import COST, Worker, plans_of
from tests.harness.chain import ALIAS, Answering, Door, in_loop, stream_of, texts_of, turns

LIMITS = LimitPlan.of("acme", [Bucket("key:web", "requests", 60_000, 1000)], [])
BUDGETS = BudgetPlan("acme", (Amount("key:web", 10**9, "day"),))


class Chain:
    """The layers of the inner chain over what answers; ``ask`` goes through all of them."""

    def __init__(self, innermost: Handler) -> None:
        self.worker = Worker()
        store = self.worker.store
        self._ledger = Ledger(store)
        budget = Budget(
            innermost,
            ledger=self._ledger,
            plan_of=lambda key, alias: BUDGETS,
            bound_of=lambda call: 10 * COST,
            on_outage="refuse",
        )
        cache = ResponseCache(
            budget,
            services=self.worker.services,
            plan_of=plans_of().of_call,
            verifier=None,  # type: ignore[arg-type]
            recorder=lambda call: None,
        )
        self.handler = RateLimit(
            cache,
            limiter=Limiter(store, "refuse"),
            plan_of=lambda key, alias: LIMITS,
        )

    async def ask(self, **members: Any) -> Door:
        return await Door(**members).through(self.handler)

    async def spent(self) -> int:
        [account] = await self._ledger.accounts(BUDGETS)
        assert account.held == 0
        return account.spent


def said(door: Door) -> str:
    """The text that a caller reads of an answer that is whole, in either shape."""
    assert (door.status, door.ended) == (200, True)
    if door.headers[b"content-type"] == b"application/json":
        return texts_of(door.body)[0]
    *events, mark = door.body.decode().split("\n\n")[:-1]
    assert mark == "data: [DONE]"
    chunks = [orjson.loads(event.removeprefix("data: ")) for event in events]
    return "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])


def status(door: Door) -> bytes:
    return door.headers[b"x-headgate-cache"]


# A fallback


class Fallback:
    """Asks ``second`` where ``first`` fails before it has begun to answer."""

    def __init__(self, first: Handler, second: Handler) -> None:
        self._first = first
        self._second = second

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        try:
            await self._first(call, reply)
        except UpstreamError:
            await self._second(call, reply)


SPARE = Origin("spare", "m-2", ("spare", "m-2"))


class Falling:
    """A chain with a fallback behind it; ``first`` is down."""

    def __init__(self, gate: asyncio.Event | None = None) -> None:
        self.first = Answering("first", refusal=UpstreamOverloaded("down"), cost=COST)
        self.second = Answering("second", origin=SPARE, cost=2 * COST, gate=gate)
        self.chain = Chain(Fallback(self.first, self.second))


@pytest.mark.parametrize("stream", [False, True])
def test_a_fallback_answers_where_the_first_target_is_down(stream: bool) -> None:
    async def body() -> None:
        falling = Falling()
        door = await falling.chain.ask(stream=stream)
        assert said(door) == "second"
        assert (door.headers[b"x-provider"], door.headers[b"x-model"]) == (b"spare", b"m-2")
        assert door.headers[b"x-headgate-attempts"] == b"2"
        assert await falling.chain.spent() == 2 * COST

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_fallbacks_answer_is_not_kept_under_the_key_of_the_first_target(stream: bool) -> None:
    async def body() -> None:
        falling = Falling()
        await falling.chain.ask(stream=stream)
        falling.first.refusal = None
        doors = [await falling.chain.ask(stream=stream) for _ in range(2)]
        assert [(status(door), said(door)) for door in doors] == [
            (b"miss", "first"),
            (b"hit", "first"),
        ]

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_all_who_ask_at_once_share_a_fallbacks_answer(stream: bool) -> None:
    async def body() -> None:
        gate = asyncio.Event()
        falling = Falling(gate)
        asked = [asyncio.create_task(falling.chain.ask(stream=stream)) for _ in range(3)]
        await turns()
        gate.set()
        assert {said(door) for door in await asyncio.gather(*asked)} == {"second"}
        assert len(falling.second.calls) == 1

    in_loop(body)


def test_a_stream_that_has_begun_does_not_fall_back() -> None:
    async def body() -> None:
        falling = Falling()
        falling.first.refusal, falling.first.cut = None, UpstreamOverloaded("down")
        falling.first.text = "half an answer"
        door = await falling.chain.ask(stream=True)
        assert b"upstream_overloaded" in door.body
        assert b"[DONE]" not in door.body
        assert not falling.second.calls

    in_loop(body)


# A rule on outputs


class Blocked(GatewayError):
    status = 400
    code = "output_blocked"
    retryable = False


class OutputRule:
    """Writes in capitals, and not a word about ``secret``; stands inside the cache."""

    def __init__(self, inner: Handler) -> None:
        self._inner = inner

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        await self._inner(call, RuledReply(reply))


class RuledReply:
    """An answer that has passed the rule."""

    def __init__(self, out: ReplyWriter) -> None:
        self._out = out
        self.begin = out.begin
        self.fail = out.fail

    async def answer(self, origin: Origin, answer: Answer) -> None:
        body = orjson.dumps(_ruled(orjson.loads(answer.body)))
        await self._out.answer(origin, answer._replace(body=body))

    async def write(self, chunks: Sequence[Chunk]) -> None:
        await self._out.write([Chunk.of(_ruled(chunk.document)) for chunk in chunks])

    async def finish(self, end: StreamEnd, chunks: Sequence[Chunk] = ()) -> None:
        await self._out.finish(end, [Chunk.of(_ruled(chunk.document)) for chunk in chunks])


def _ruled(document: dict[str, Any]) -> dict[str, Any]:
    choices = document["choices"]
    if any("secret" in choice["text"] for choice in choices):
        raise Blocked("The answer was blocked.")
    return document | {"choices": [c | {"text": c["text"].upper()} for c in choices]}


@pytest.mark.parametrize("stream", [False, True])
def test_an_output_rule_sees_every_answer(stream: bool) -> None:
    async def body() -> str:
        chain = Chain(OutputRule(Answering("yes it is")))
        return said(await chain.ask(stream=stream))

    assert in_loop(body) == "YES IT IS"


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("then", [False, True])
def test_what_is_kept_has_passed_the_output_rule(first: bool, then: bool) -> None:
    async def body() -> None:
        inner = Answering("yes it is")
        chain = Chain(OutputRule(inner))
        await chain.ask(stream=first)
        door = await chain.ask(stream=then)
        assert (status(door), said(door)) == (b"hit", "YES IT IS")
        assert len(inner.calls) == 1

    in_loop(body)


def test_a_blocked_answer_is_an_error_that_is_paid_for_and_not_kept() -> None:
    async def body() -> None:
        inner = Answering("the secret is", cost=COST)
        chain = Chain(OutputRule(inner))
        doors = [await chain.ask() for _ in range(2)]
        assert [door.status for door in doors] == [400, 400]
        assert all(b"output_blocked" in door.body for door in doors)
        assert len(inner.calls) == 2
        assert await chain.spent() == 2 * COST

    in_loop(body)


def test_a_blocked_stream_breaks_off_before_the_word_and_is_not_kept() -> None:
    async def body() -> None:
        inner = Answering("the very secret thing")
        chain = Chain(OutputRule(inner))
        doors = [await chain.ask(stream=True) for _ in range(2)]
        for door in doors:
            assert (door.status, door.ended) == (200, True)
            assert b"THE " in door.body
            assert b"secret" not in door.body
            assert b"output_blocked" in door.body
            assert b"[DONE]" not in door.body
        assert len(inner.calls) == 2
        assert chain.worker.idle

    in_loop(body)


def test_a_rule_changes_nothing_for_those_who_read_the_same_chunks() -> None:
    chunks, end = stream_of("a", "b")
    before = [orjson.dumps(chunk.document) for chunk in chunks]

    async def handler(call: Call, reply: ReplyWriter) -> None:
        await reply.begin(SPARE)
        await reply.finish(end, chunks)

    assert said(in_loop(lambda: Chain(OutputRule(handler)).ask(stream=True, model=ALIAS))) == "AB"
    assert [orjson.dumps(chunk.document) for chunk in chunks] == before
