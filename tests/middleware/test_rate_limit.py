"""May this key ask now? Taken before the call, settled to the real use after it."""

from __future__ import annotations

import asyncio

import pytest

from app.core.call import Call, Handler
from app.core.errors import GatewayError, UpstreamTimeout
from app.core.limits import Bucket, Decision, Slots
from app.core.request import FanOut
from cache.quotas.admission import Asked, refusal_of
from cache.quotas.limiter import Limiter, LimitPlan
from middleware.rate_limit import RateLimit
from tests.harness.chain import (
    USAGE,
    Answering,
    FailingStore,
    RecordingWriter,
    call_of,
    header_of,
    in_loop,
    turns,
)

REQUESTS = LimitPlan.of("acme", [Bucket("key:web", "requests", 60, 2)], [])
TOKENS = LimitPlan.of("acme", [Bucket("tenant", "tokens", 60, 100)], [])
ONE_AT_A_TIME = LimitPlan.of("acme", [], [Slots("model:house", 1)])
PROMPT, OUTPUT = [7] * 30, 10  # tokens
RESERVED = 40


def asked() -> Call:
    return call_of(prompt=PROMPT, max_tokens=OUTPUT)


class Layer:
    """The layer over a handler, with a store of its own."""

    def __init__(
        self, inner: Handler, plan: LimitPlan | None = REQUESTS, on_outage: str = "refuse"
    ) -> None:
        self.store = FailingStore()
        self._layer = RateLimit(
            inner,
            limiter=Limiter(self.store, on_outage),
            plan_of=lambda key, alias: plan,
        )

    async def ask(self, call: Call | None = None) -> Call:
        call = call or asked()
        await self._layer(call, RecordingWriter())
        return call

    async def refused(self) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await self.ask()
        return caught.value


def left(call: Call, unit: bytes) -> int:
    """What the reply says is left."""
    said = header_of(call, b"x-ratelimit-remaining-" + unit)
    assert said is not None
    return int(said)


def test_without_a_limit_a_call_just_passes() -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner, None)
        call = await layer.ask()
        assert inner.calls == [call]
        assert (call.reply_headers, layer.store.asked) == ([], 0)

    in_loop(body)


def test_who_is_admitted_is_told_what_is_left() -> None:
    async def body() -> list[int]:
        layer = Layer(Answering())
        return [left(await layer.ask(), b"requests") for _ in range(2)]

    assert in_loop(body) == [1, 0]


def test_who_is_refused_asks_nothing_and_is_told_when_to_come_back() -> None:
    async def body() -> None:
        inner = Answering()
        layer = Layer(inner)
        for _ in range(2):
            await layer.ask()
        error = await layer.refused()
        assert (error.status, error.code) == (429, "rate_limit_exceeded")
        assert "This key's limit of requests per minute" in error.message
        assert dict(error.headers)[b"retry-after"] == b"1"
        assert len(inner.calls) == 2

    in_loop(body)


def test_a_refused_reply_has_the_limits_too() -> None:
    async def body() -> int:
        layer = Layer(Answering())
        for _ in range(2):
            await layer.ask()
        call = call_of()
        with pytest.raises(GatewayError):
            await layer.ask(call)
        return left(call, b"requests")

    assert in_loop(body) == 0


def test_a_request_that_can_never_pass_is_not_told_to_come_back() -> None:
    async def body() -> GatewayError:
        small = LimitPlan.of("acme", [Bucket("tenant", "tokens", 60, RESERVED - 1)], [])
        return await Layer(Answering(), small).refused()

    error = in_loop(body)
    assert (error.status, error.retryable) == (429, False)
    assert b"retry-after" not in dict(error.headers)
    assert error.message == (
        "This request may use 40 tokens; the limit for the tenant is 39: "
        "lower `max_tokens`, or send fewer or shorter prompts."
    )


@pytest.mark.parametrize(
    ("scope", "named"),
    [("model:code", "'code'"), ("key:web", "the key 'web'"), ("tenant", "the tenant")],
)
@pytest.mark.parametrize(
    ("operation", "cure"),
    [
        ("completions", "lower `max_tokens`, or send fewer or shorter prompts"),
        ("chat", "lower `max_completion_tokens`, or send a shorter conversation"),
        ("embeddings", "send fewer or shorter inputs"),
    ],
)
def test_a_request_larger_than_its_limit_is_told_both_and_what_to_lower(
    scope: str, named: str, operation: str, cure: str
) -> None:
    decision = Decision(False, (), None, (scope, "tokens"))
    buckets = [Bucket(scope, "requests", 60, 9), Bucket(scope, "tokens", 2_000, 2_000)]
    error = refusal_of(decision, buckets, Asked(5_011, 1, operation))
    assert error.message == (
        f"This request may use 5,011 tokens; the limit for {named} is 2,000: {cure}."
    )


def test_a_request_of_more_calls_than_its_limit_is_told_both() -> None:
    decision = Decision(False, (), None, ("model:code", "requests"))
    error = refusal_of(decision, [Bucket("model:code", "requests", 10, 10)], Asked(9, 12, "chat"))
    assert "makes 12 upstream calls" in error.message
    assert "the limit for 'code' is 10: send fewer" in error.message


def test_tokens_are_settled_to_what_was_used() -> None:
    async def body() -> list[int]:
        layer = Layer(Answering(), TOKENS)
        return [left(await layer.ask(), b"tokens") for _ in range(2)]

    assert in_loop(body) == [100 - RESERVED, 100 - USAGE.total_tokens - RESERVED]


def test_what_failed_without_using_anything_is_given_back() -> None:
    async def body() -> int:
        inner = Answering(refusal=UpstreamTimeout("late"))
        layer = Layer(inner, TOKENS)
        await layer.refused()
        inner.refusal = None
        return left(await layer.ask(), b"tokens")

    assert in_loop(body) == 100 - RESERVED


def test_as_many_run_at_once_as_may() -> None:
    async def body() -> None:
        gate = asyncio.Event()
        layer = Layer(Answering(gate=gate), ONE_AT_A_TIME)
        running = asyncio.create_task(layer.ask())
        await turns()
        error = await layer.refused()
        assert "The model's limit of concurrent requests" in error.message
        assert dict(error.headers)[b"retry-after"] == b"1"
        gate.set()
        await running
        await layer.ask()

    in_loop(body)


@pytest.mark.parametrize("end", ["raised", "cancelled"])
def test_a_call_that_ends_badly_gives_its_slot_back(end: str) -> None:
    async def body() -> None:
        inner = Answering(gate=asyncio.Event())
        if end == "raised":
            inner.refusal = UpstreamTimeout("late")
        layer = Layer(inner, ONE_AT_A_TIME)
        running = asyncio.create_task(layer.ask())
        await turns()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        inner.gate = inner.refusal = None
        await layer.ask()

    in_loop(body)


def test_a_request_of_several_upstream_calls_takes_as_many() -> None:
    async def body() -> list[int]:
        both = LimitPlan.of("acme", [*REQUESTS.buckets, *TOKENS.buckets], [])
        call = asked()
        call.fan_out = FanOut(calls=2, times=2)
        await Layer(Answering(), both).ask(call)
        return [left(call, b"requests"), left(call, b"tokens")]

    assert in_loop(body) == [0, 100 - 2 * len(PROMPT) - OUTPUT]


# Without the store


def test_without_the_store_a_limit_may_refuse() -> None:
    async def body() -> GatewayError:
        inner = Answering()
        layer = Layer(inner, on_outage="refuse")
        layer.store.out = True
        error = await layer.refused()
        assert not inner.calls
        return error

    error = in_loop(body)
    assert (error.status, error.code) == (503, "store_unavailable")


@pytest.mark.parametrize("on_outage", ["local", "allow"])
def test_without_the_store_those_inside_need_not_ask_it(on_outage: str) -> None:
    async def body() -> tuple[bool, bool]:
        layer = Layer(Answering(), on_outage=on_outage)
        before = (await layer.ask()).store_out
        layer.store.out = True
        return before, (await layer.ask()).store_out

    assert in_loop(body) == (False, True)
