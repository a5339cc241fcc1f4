"""What the gateway does that a provider does not: stop sequences beyond its limit, over sockets."""

from __future__ import annotations

import json

import pytest

from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE

STOPS = ["1", "2", "3", "4", "\n\n", "END"]


def test_a_stream_that_has_stopped_is_cancelled_at_the_provider(
    gateway: Gateway, upstream: Upstream
) -> None:
    gate = upstream.gate()

    async def endless(request: Request, wire: Wire) -> None:
        await wire.begin_stream()
        for text in ("one ", "two E", "ND three", " four"):
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            await wire.event({"id": "x", "model": "m", "choices": [choice]})
        await gate.wait()  # it would go on for ever

    upstream.on("m", endless)
    reply = gateway.complete(model="xai", stop=STOPS, stream=True)
    assert reply.streamed_texts() == {0: "one two "}
    reasons = [c["finish_reason"] for chunk in reply.chunks for c in chunk["choices"]]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert upstream.request.document["stop"] == STOPS[:4]
    assert upstream.request.connection.closed.wait(PATIENCE)


def test_a_plain_answer_ends_before_the_first_stop_sequence(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def plain(request: Request, wire: Wire) -> None:
        block = {"type": "text", "text": "one\n\ntwo"}
        used = {"input_tokens": 3, "output_tokens": 4}
        message = {"id": "msg_1", "type": "message", "model": "c", "content": [block]}
        await wire.answer(message | {"stop_reason": "end_turn", "usage": used})

    upstream.on("m", plain)
    reply = gateway.complete(model="anthropic", stop=STOPS)
    assert reply.texts == ["one"]
    sent = upstream.request.document["stop_sequences"]
    assert sent == ["1", "2", "3", "4", "END"], "the API takes no white space"


@pytest.mark.parametrize(("members", "limit"), [({}, 777), ({"max_completion_tokens": 5}, 5)])
def test_anthropic_is_told_the_models_limit_where_the_caller_names_none(
    gateway: Gateway, upstream: Upstream, members: dict[str, int], limit: int
) -> None:
    async def message(request: Request, wire: Wire) -> None:
        await wire.answer({"id": "m", "content": [], "stop_reason": "end_turn"})

    upstream.on("m", message)
    body = {"model": "capped", "messages": [{"role": "user", "content": "Hi"}]} | members
    headers = {"content-type": "application/json"}
    gateway.ask("POST", "/v1/chat/completions", headers=headers, content=json.dumps(body).encode())
    assert upstream.request.document["max_tokens"] == limit
