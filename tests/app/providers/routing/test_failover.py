"""Targets asked one after the other: who is asked, what it costs, and what the caller is told."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import (
    InvalidRequest,
    UpstreamInvalid,
    UpstreamTimeout,
)
from app.core.usage import Usage
from app.providers.base import ChunkSink, UpstreamCall
from app.providers.routing.retry import Rules
from tests.app.providers.routing.asking import (
    COST,
    Server,
    ask,
    both,
    counts,
    status,
)
from tests.harness.chain import USAGE, call_of, chunk_of
from tests.harness.routing import PRICE, Counted, failover_of, route_of


@pytest.mark.parametrize("stream", [False, True])
def test_a_well_target_is_asked_once_and_says_so(stream: bool) -> None:
    a, b = Server(), Server()
    asked = ask(*both(a, b), stream=stream)
    assert (counts(a, b), asked.reply.texts, asked.call.outcome.trail) == ([1, 0], ["yes"], None)


@pytest.mark.parametrize("stream", [False, True])
def test_where_the_first_is_overloaded_the_second_answers(stream: bool) -> None:
    a, b = Server(status(503)), Server("from b")
    asked = ask(*both(a, b), stream=stream)
    assert (counts(a, b), asked.reply.texts) == ([1, 1], ["from b"])
    assert asked.trail == ["a/m=503", "b/m=200"]
    assert asked.reply.origin is not None
    assert asked.reply.origin.target == ("b", "m")
    assert asked.call.outcome.attempts == 2


def test_a_passing_failure_is_repeated_before_the_next_is_asked() -> None:
    a, b = Server(status(500)), Server()
    assert ask(*both(a, b)).trail == ["a/m=500", "a/m=500", "b/m=200"]


class Picky(Server):
    """Says beforehand that it cannot."""

    def check(self, call: UpstreamCall) -> None:
        raise InvalidRequest("`seed` is not supported.", param="seed")


def test_a_target_that_cannot_honour_the_request_is_no_fallback() -> None:
    a, b, c = Server(status(503)), Picky(), Server("from c")
    routes = [route_of(one, f"{name}/m") for one, name in zip((a, b, c), "abc", strict=True)]
    asked = ask(*routes)
    assert (counts(a, b, c), asked.reply.texts) == ([1, 0, 1], ["from c"])
    assert asked.trail == ["a/m=503", "c/m=200"]


def test_three_targets_are_asked_once_each() -> None:
    servers = [Server(status(500)), Server(status(500)), Server("c")]
    routes = [route_of(server, f"{name}/m") for server, name in zip(servers, "abc", strict=True)]
    assert ask(*routes).reply.texts == ["c"]
    assert counts(*servers) == [1, 1, 1]


def test_where_all_fail_the_caller_hears_the_last_with_the_smallest_wait() -> None:
    a, b = Server(status(429, retry_after=b"20")), Server(status(503, retry_after=b"9"))
    error = ask(*both(a, b)).error
    assert error is not None
    headers = dict(error.headers)
    assert (error.status, headers[b"retry-after"]) == (503, b"9")
    assert headers[b"x-should-retry"] == b"false"


def test_what_is_wrong_with_the_request_goes_to_nobody_else() -> None:
    a, b = Server(status(400)), Server()
    asked = ask(*both(a, b))
    assert (counts(a, b), asked.error is not None and asked.error.status) == ([1, 0], 400)


def test_a_target_that_cannot_honour_a_parameter_is_passed_by() -> None:
    class Unable(Server):
        async def answer(self, call: UpstreamCall) -> bytes:
            raise InvalidRequest("no logprobs", code="unsupported_parameter")

    a, b = Unable(), Server("b")
    assert ask(*both(a, b)).reply.texts == ["b"]
    alone = ask(route_of(Unable(), "a/m"))
    assert alone.error is not None
    assert alone.error.code == "unsupported_parameter"


def test_a_longer_context_is_looked_for() -> None:
    too_long = status(400, b'{"error": {"message": "x", "code": "context_length_exceeded"}}')
    a, b, c = Server(too_long), Server("b"), Server("c")
    routes = [
        route_of(a, "a/m", context=8_000),
        route_of(b, "b/m", context=8_000),
        route_of(c, "c/m", context=32_000),
    ]
    assert ask(*routes).reply.texts == ["c"]
    assert counts(a, b, c) == [1, 0, 1]


@pytest.mark.parametrize(("rule", "calls"), [("next", [1, 1]), ("fail", [1, 0])])
def test_after_a_timeout_the_models_rule_holds(rule: Any, calls: list[int]) -> None:
    a, b = Server(UpstreamTimeout("late")), Server()
    ask(*both(a, b, failures=Rules(on_timeout=rule)))
    assert counts(a, b) == calls


def test_a_caller_may_want_no_fallback() -> None:
    a, b = Server(status(503)), Server()
    call = call_of([(b"x-headgate-fallback", b"none")])
    asked = ask(*both(a, b), call=call)
    assert (counts(a, b), asked.error is not None and asked.error.status) == ([1, 0], 503)


# Streams


def test_a_stream_that_breaks_before_content_goes_to_the_next_target() -> None:
    a, b = Server("cut early"), Server("b")
    asked = ask(*both(a, b), stream=True)
    assert asked.reply.texts == ["b"]
    assert asked.reply.said.count("begin") == 1


def test_a_stream_that_breaks_after_content_never_does() -> None:
    a, b = Server("cut late"), Server("b")
    asked = ask(*both(a, b), stream=True)
    assert (counts(a, b), asked.reply.said[-1]) == ([1, 0], "fail")
    assert asked.trail == ["a/m=transient"]


def test_chunks_without_content_wait_up_to_64_kib() -> None:
    class Silent(Server):
        async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
            await self._next(call)
            for _ in range(70):
                await sink.write([chunk_of("", padding="x" * 1000)])
            raise UpstreamInvalid("cut")

    asked = ask(*both(Silent(), Server("b")), stream=True)
    assert asked.reply.said[0] == "begin"
    assert asked.reply.said[-1] == "fail"


# Money


def test_a_failed_call_costs_what_it_said_that_it_used() -> None:
    a, b = Server(status(503), used=Usage(5, 1)), Server()
    outcome = ask(*both(a, b)).call.outcome
    assert outcome.usage == USAGE.plus(Usage(5, 1))
    assert outcome.cost == COST + PRICE.cost(Usage(5, 1))


def test_a_failed_call_of_which_nobody_knows_is_a_metric_and_costs_nothing() -> None:
    class Vague(Server):
        async def answer(self, call: UpstreamCall) -> bytes:
            await self._next(call)
            raise UpstreamTimeout("late")

    counted = Counted()
    asked = ask(*both(Vague(), Server()), failover=failover_of(counted))
    assert (asked.call.outcome.usage, asked.call.outcome.cost) == (USAGE, COST)
    assert ("headgate_unknown_usage_total", "completions timeout", 1) in counted
