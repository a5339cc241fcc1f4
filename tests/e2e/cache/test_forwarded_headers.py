"""A header that changes the upstream's answer: nobody else gets what was answered to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cache.asking import ONLY_CACHED, ask, how, warm
from tests.e2e.cache.configuration import configuration
from tests.e2e.semantic.asking import PARAPHRASE, QUESTION
from tests.harness.configuration import NOT_VERIFIED, PRICE, openai, target
from tests.harness.credentials import COLLEAGUE, KEY, STRANGER
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import good_server, text_of
from tests.harness.prompts import unseen
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

EVIL = {"x-org": "evil"}
TEMPERATURES: list[dict[str, Any]] = [{}, {"temperature": 0}]
EACH = pytest.mark.parametrize("fields", TEMPERATURES, ids=["alone", "shared"])


@pytest.fixture(scope="module")
def header_gateway(redis_server: RedisServer, the_upstream: Upstream) -> Iterator[Gateway]:
    """Its upstream is sent `x-org` and, declared neutral, `x-trace`; `plain` is sent neither."""
    named = {
        "forward_headers": ["x-org", "x-trace", "traceparent"],
        "neutral_headers": ["x-trace", "traceparent"],
    }
    settings = configuration(redis_server.url, the_upstream)
    settings["providers"] |= {
        "main": openai(the_upstream.base_url, **named),
        "plain": openai(the_upstream.base_url),
    }
    meaning = {"semantic": {"enabled": True, "verify": NOT_VERIFIED}}
    settings["models"] |= {
        "plain": target("plain", "up", price=PRICE, cache={"scope": "global"}),
        "by-meaning": target("main", "up", price=PRICE, cache=meaning),
    }
    with open_gateway(settings, the_upstream) as gateway:
        yield gateway


@pytest.fixture
def by_header(upstream: Upstream) -> Upstream:
    """It answers as the caller's header has it, as a server with organisations or languages does."""

    async def script(request, wire):
        if request.headers.get("x-org") != "evil":
            await good_server(request, wire)
            return
        choice = {"index": 0, "text": "planted", "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "cmpl-9", "object": "text_completion", "created": 1, "model": "up"}
        await wire.answer(body | {"choices": [choice], "usage": usage})

    upstream.on("up", script)
    return upstream


@EACH
@pytest.mark.parametrize(
    ("model", "victim"), [("cached", COLLEAGUE), ("everybody", STRANGER), ("plain", STRANGER)]
)
def test_an_answer_cannot_be_planted_by_a_header(
    header_gateway: Gateway,
    by_header: Upstream,
    prompt: str,
    model: str,
    victim: str,
    fields: dict[str, Any],
) -> None:
    fields = fields | {"model": model}
    planted = warm(header_gateway, prompt, KEY, EVIL, **fields)
    assert planted.texts == [text_of(prompt) if model == "plain" else "planted"]
    reply = ask(header_gateway, prompt, victim, **fields)
    assert reply.texts == [text_of(prompt)]
    # What never went upstream is no reason to keep answers apart.
    assert how(reply) == ("hit" if model == "plain" else "miss")


@EACH
def test_each_header_has_an_answer_of_its_own(
    header_gateway: Gateway, by_header: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    warm(header_gateway, prompt, KEY, EVIL, **fields)
    warm(header_gateway, prompt, KEY, {"x-org": "good"}, **fields)
    for headers, text in ((EVIL, "planted"), ({"x-org": "good"}, text_of(prompt))):
        reply = ask(header_gateway, prompt, COLLEAGUE, headers, **fields)
        assert (how(reply), reply.texts) == ("hit", [text])
    other = ask(header_gateway, prompt, COLLEAGUE, {"x-org": "other"} | ONLY_CACHED, **fields)
    assert other.status == 504


def test_neutral_headers_share_an_answer(
    header_gateway: Gateway, by_header: Upstream, prompt: str
) -> None:
    warm(header_gateway, prompt, KEY, {"x-trace": "1", "traceparent": "00-1-2-01"})
    assert by_header.requests[-1].headers["x-trace"] == "1"
    assert how(ask(header_gateway, prompt, COLLEAGUE, {"x-trace": "2"})) == "hit"
    assert how(ask(header_gateway, prompt, COLLEAGUE)) == "hit"


def test_requests_with_other_headers_do_not_share_a_flight(
    header_gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await gate.wait()
        await good_server(request, wire)

    upstream.on("up", script)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as threads:
        headers = [EVIL, {"x-org": "good"}]
        both = [threads.submit(ask, header_gateway, prompt, KEY, h, temperature=0) for h in headers]
        upstream.wait_for(2)
        gate.open()
        assert [how(one.result()) for one in both] == ["miss", "miss"]


def test_another_header_is_another_partition(header_gateway: Gateway, by_header: Upstream) -> None:
    space = {"x-headgate-cache-namespace": unseen().replace(" ", "-")[-60:]}
    fields = {"model": "by-meaning", "temperature": 0}
    warm(header_gateway, QUESTION, KEY, space | EVIL, **fields)
    only = space | ONLY_CACHED
    eventually(lambda: ask(header_gateway, PARAPHRASE, KEY, only | EVIL, **fields).status == 200)
    assert ask(header_gateway, PARAPHRASE, KEY, only, **fields).status == 504
    assert ask(header_gateway, PARAPHRASE, KEY, space, **fields).texts == [text_of(PARAPHRASE)]
