"""Answers past their time: while a new one is fetched, and when none can be had."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.cache.asking import ask, expired, how, saying, warm
from tests.e2e.cache.configuration import configuration
from tests.harness.configuration import TOKEN
from tests.harness.exchange import Script
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import unseen
from tests.harness.redis_server import RedisServer
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

SAME_CALL = pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])
SHAPES = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def old(gateway: Gateway, upstream: Upstream, prompt: Any, **fields: Any) -> None:
    """An answer `old` to this prompt, kept and not fresh any more."""
    upstream.on("up", saying("old"))
    ask(gateway, prompt, **fields)
    eventually(lambda: bool(upstream.requests))
    expired(gateway, prompt, **fields)
    upstream.requests.clear()


def told(reply: Reply) -> str:
    if reply.headers["content-type"].startswith("application/json"):
        return "".join(reply.texts)
    return "".join(reply.streamed_texts().values())


# While it is renewed.


@SAME_CALL
@SHAPES
def test_a_stale_answer_is_served_at_once_and_renewed_once(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any], stream: bool
) -> None:
    fields = fields | {"model": "renewed"}
    old(gateway, upstream, prompt, **fields)
    gate = upstream.gate()

    async def held(request, wire):
        await gate.wait()
        await saying("new")(request, wire)

    upstream.on("up", held)
    # The renewal is held: whoever waited for it would get nothing.
    served = [ask(gateway, prompt, stream=stream, **fields) for _ in range(3)]
    assert [how(reply) for reply in served] == ["stale"] * 3
    assert {told(reply) for reply in served} == {"old"}
    assert len(upstream.wait_for(1)) == 1
    first = served[0]
    assert first.headers["x-headgate-cost-usd"] == "0"
    assert first.headers["x-headgate-attempts"] == "0"
    assert first.headers["x-headgate-cache-layer"] == "exact"
    assert int(first.headers["age"]) in range(5)
    gate.open()
    lines = gateway.lines(first.headers["x-request-id"], 2)
    renewal = next(line for line in lines if line["cache"] == "renewal")
    caller = next(line for line in lines if line["cache"] == "stale")
    assert float(renewal["cost_usd"]) == 6 * TOKEN / 1e9
    assert renewal["key"] == caller["key"] == "all"
    assert renewal["model"] == caller["model"]
    assert float(caller["cost_usd"]) == 0
    assert float(caller["saved_usd"]) == 6 * TOKEN / 1e9
    assert renewal.get("saved_usd") is None
    upstream.on("up", saying("newer"))
    assert told(ask(gateway, prompt, stream=stream, **fields)) == "new"
    assert float(caller["total_ms"]) < 1000


def test_a_renewal_is_recorded_as_usage(
    redis_server: RedisServer, the_upstream: Upstream, upstream: Upstream
) -> None:
    for url in ("memory://", redis_server.url):
        settings = configuration(url, the_upstream)
        settings["tenants"] = {"renewing": {}}
        settings["keys"] = [settings["keys"][0] | {"id": "renewing", "tenant": "renewing"}]
        prompt = unseen()
        with open_gateway(settings, the_upstream) as gateway:
            old(gateway, upstream, prompt, model="renewed")
            assert how(ask(gateway, prompt, model="renewed")) == "stale"

            def spent(gateway: Gateway = gateway) -> float:
                rows = gateway.get("/v1/usage").document["models"]
                return sum(float(row["cost_usd"]) for row in rows)

            eventually(lambda spent=spent: spent() == 2 * 6 * TOKEN / 1e9)


def test_a_renewal_that_fails_leaves_the_old_answer(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    old(gateway, upstream, prompt, model="renewed")
    upstream.on("up", refusing(503))  # after which it is not asked again
    for _ in range(3):
        reply = ask(gateway, prompt, model="renewed")
        assert (how(reply), reply.texts) == ("stale", ["old"])
        gateway.lines(reply.headers["x-request-id"], 1)
    eventually(lambda: bool(upstream.requests))


def test_a_stale_batch_is_served_whole(gateway: Gateway, upstream: Upstream) -> None:
    prompts = [unseen(), unseen()]
    for prompt in prompts:
        ask(gateway, prompt, model="renewed")
        expired(gateway, prompt, model="renewed")
    reply = ask(gateway, prompts, model="renewed")
    assert how(reply) == "stale"
    assert reply.texts == [text_of(p) for p in prompts]
    eventually(lambda: len(upstream.requests) == 3)
    assert upstream.requests[2].document["prompt"] == prompts


def test_no_store_has_nothing_renewed_that_would_not_be_kept(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    """A call whose answer reaches nobody and is kept nowhere is money for nothing."""
    old(gateway, upstream, prompt, model="renewed")
    upstream.on("up", saying("new"))
    reply = ask(gateway, prompt, model="renewed", headers={"cache-control": "no-store"})
    assert how(reply) in ("stale", "miss")
    warm(gateway, unseen())
    asked = [request for request in upstream.requests if request.document["prompt"] == prompt]
    assert len(asked) == (how(reply) == "miss")


@pytest.mark.parametrize("directives", ["no-cache", "max-age=60"])
def test_who_names_an_age_or_wants_it_new_gets_no_stale_answer(
    gateway: Gateway, upstream: Upstream, prompt: str, directives: str
) -> None:
    old(gateway, upstream, prompt, model="renewed")
    upstream.on("up", saying("new"))
    reply = ask(gateway, prompt, model="renewed", headers={"cache-control": directives})
    assert (how(reply), reply.texts) == ("miss", ["new"])


# When the upstream is down.


def refusing(status: int, body: Any = None) -> Script:
    async def script(request, wire):
        await wire.answer(body or {"error": {"message": "no"}}, status=status)

    return script


async def _hang_up(request, wire):
    wire.close()


async def _nonsense(request, wire):
    await wire.answer(b"<html>")


def _mute(upstream: Upstream) -> Script:
    gate = upstream.gate()

    async def script(request, wire):
        await gate.wait()

    return script


DOWN: dict[str, Callable[[Upstream], Script]] = {
    "500": lambda _: refusing(500),
    "503": lambda _: refusing(503),
    "429": lambda _: refusing(429),
    "401": lambda _: refusing(401),
    "hangs up": lambda _: _hang_up,
    "times out": _mute,
    "nonsense": lambda _: _nonsense,
}


@pytest.mark.parametrize(
    ("model", "fields", "stream"),
    [
        ("backed", {}, False),
        ("backed", {"temperature": 0}, True),
        ("backed-chat", {}, True),
        ("backed-chat", {"temperature": 0}, False),
    ],
)
@pytest.mark.parametrize("what", DOWN)
def test_an_old_answer_is_better_than_an_error(
    gateway: Gateway,
    upstream: Upstream,
    prompt: str,
    what: str,
    model: str,
    fields: dict[str, Any],
    stream: bool,
) -> None:
    fields = fields | {"model": model}
    ask(gateway, prompt, **fields)
    expired(gateway, prompt, **fields)
    upstream.on("up", DOWN[what](upstream))
    reply = ask(gateway, prompt, stream=stream, **fields)
    assert how(reply) == "stale"
    assert told(reply) == text_of(prompt)
    assert reply.headers["x-headgate-cost-usd"] == "0"
    assert int(reply.headers["age"]) in range(5)
    assert (reply.headers["x-provider"], reply.headers["x-model"]) == ("quick", "up")
    names = [name for name, _ in reply.headers.multi_items()]
    assert len(names) == len(set(names))
    line = gateway.line(reply.headers["x-request-id"])
    assert (line["cache"], line["status"]) == ("stale", 200)
    # What is still wanted new is an error, as ever.
    anew = ask(gateway, prompt, headers={"cache-control": "max-age=60"}, stream=stream, **fields)
    assert anew.status >= 429
    assert anew.headers.get("x-headgate-cache") in (None, "miss")


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_the_upstream_refuses_connections(redis_server: RedisServer, kind: str) -> None:
    fresh, stale, partly = unseen(), unseen(), unseen()
    with Upstream() as own:
        settings = configuration("memory://" if kind == "memory" else redis_server.url, own)
        gateway = open_gateway(settings, own)
        gateway.__enter__()
        try:
            warm(gateway, fresh)
            ask(gateway, stale, model="backed")
            expired(gateway, stale, model="backed")
        except BaseException:
            gateway.__exit__()
            raise
    try:
        reply = ask(gateway, stale, model="backed")
        assert (how(reply), reply.texts) == ("stale", [text_of(stale)])
        assert reply.headers["content-length"] == str(len(reply.body))
        assert how(ask(gateway, fresh)) == "hit"
        for unknown in (partly, [stale, partly]):
            error = ask(gateway, unknown, model="backed")
            assert error.status == 502
            assert error.error["code"] == "upstream_unreachable"
            assert "age" not in error.headers
        only = {"cache-control": "max-age=60"}
        assert ask(gateway, stale, model="backed", headers=only).status == 502
        assert (
            ask(gateway, stale, model="backed", headers={"cache-control": "no-cache"}).status == 502
        )
    finally:
        gateway.__exit__()


@pytest.mark.parametrize("status", [400, 404, 422])
def test_the_callers_own_mistake_is_told(
    gateway: Gateway, upstream: Upstream, prompt: str, status: int
) -> None:
    ask(gateway, prompt, model="backed")
    expired(gateway, prompt, model="backed")
    upstream.on("up", refusing(status))
    assert ask(gateway, prompt, model="backed").status == status


def test_an_answer_too_old_is_not_served(gateway: Gateway, upstream: Upstream, prompt: str) -> None:
    ask(gateway, prompt, model="windowed")
    expired(gateway, prompt, model="windowed")
    upstream.on("up", refusing(500))
    eventually(lambda: ask(gateway, prompt, model="windowed").status >= 500)


def test_no_stale_answer_where_there_is_no_window(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    ask(gateway, prompt, model="brief")
    expired(gateway, prompt, model="brief")
    upstream.on("up", refusing(500))
    assert ask(gateway, prompt, model="brief").status >= 500


def test_a_batch_is_stale_only_where_all_of_it_is_known(
    gateway: Gateway, upstream: Upstream
) -> None:
    prompts = [unseen(), unseen()]
    for prompt in prompts:
        ask(gateway, prompt, model="backed")
        expired(gateway, prompt, model="backed")
    upstream.on("up", refusing(500))
    reply = ask(gateway, prompts, model="backed")
    assert (how(reply), reply.texts) == ("stale", [text_of(p) for p in prompts])
    assert ask(gateway, [*prompts, unseen()], model="backed").status >= 500


def test_a_stale_answer_stays_stale(gateway: Gateway, upstream: Upstream, prompt: str) -> None:
    ask(gateway, prompt, model="backed")
    expired(gateway, prompt, model="backed")
    upstream.on("up", refusing(503))  # after which it is not asked again
    assert [how(ask(gateway, prompt, model="backed")) for _ in range(3)] == ["stale"] * 3
    assert len(upstream.requests) == 4


@SAME_CALL
def test_a_stream_that_breaks_after_its_first_byte_is_an_error(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    ask(gateway, prompt, model="backed", **fields)
    expired(gateway, prompt, model="backed", **fields)

    async def script(request, wire):
        await wire.begin_stream()
        choice = {"text": "half", "index": 0, "logprobs": None, "finish_reason": None}
        body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "up"}
        await wire.event(body | {"choices": [choice]})
        wire.reset()

    upstream.on("up", script)
    reply = ask(gateway, prompt, model="backed", stream=True, **fields)
    assert not reply.done
    assert "error" in json.loads(reply.payloads[-1])
    assert b"half" in reply.body
