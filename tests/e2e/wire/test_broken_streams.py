"""Streams that fail: with a status while nothing was sent, later with an error event."""

import json
from typing import Any

import pytest

from tests.e2e.wire.test_answers import completion, saying
from tests.e2e.wire.test_broken_upstreams import ends_with_an_error, is_upstream_error
from tests.e2e.wire.test_streams import DONE, USAGE, chunk, event, streaming, usage_chunk
from tests.harness.gateway import Gateway
from tests.harness.prompts import PRIVATE
from tests.harness.upstream import Upstream

# Streams that fail before anything was sent still have a status.

BAD_FIRST = {
    "nothing": [],
    "only comments": [b": ping\n\n"],
    "only done": [DONE],
    "only usage": [usage_chunk(), DONE],
    "an error": [{"error": {"message": "out of memory", "code": 500}}],
    "an error event": [b'event: error\ndata: {"error": "out of memory"}\n\n'],
    "not json": [b"data: {\n\n"],
    "a string": [b'data: "x"\n\n'],
    "no choices": [{"id": "cmpl-1", "object": "text_completion"}, DONE],
    "choices a string": [chunk(choices="x"), DONE],
    "choices an object": [chunk(choices={"0": 1}), DONE],
    "a choice no object": [chunk(choices=["x"]), DONE],
    "text a number": [chunk(5), DONE],
    "index a string": [chunk(index="0"), DONE],
    "index out of range": [chunk(index=1), DONE],
    "index negative": [chunk(index=-1), DONE],
    "a finish reason a number": [chunk(reason=5), DONE],
    "invalid utf-8": [b'data: {"choices":[{"text":"\xff","index":0}]}\n\n'],
    "an event that is cut": [event(chunk(reason="stop"))[:-1]],
}


@pytest.mark.parametrize("packets", BAD_FIRST.values(), ids=BAD_FIRST.keys())
def test_a_stream_that_fails_at_once_is_a_502(
    gateway: Gateway, upstream: Upstream, packets: list[Any]
) -> None:
    upstream.on("native", streaming(*packets))
    assert is_upstream_error(gateway.complete(stream=True))


def test_a_plain_answer_to_a_streamed_request_is_a_502(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", saying(completion()))
    assert is_upstream_error(gateway.complete(stream=True))


# Streams that fail later end with an error event and never say that they are done.

BAD_LATER = {
    "ends": [],
    "says done": [DONE],
    "says usage and done": [usage_chunk(), DONE],
    "NaN for a text": [b'data: {"choices":[{"text":NaN,"index":NaN}]\n\n'],
    "an error": [{"error": {"message": "out of memory", "type": "x", "code": 500}}],
    "a bare error": [{"error": "out of memory"}],
    "not json": [b"data: {\n\n"],
    "a list": [b"data: []\n\n"],
    "text a number": [chunk(5)],
    "index out of range": [chunk(index=7)],
    "choices a string": [chunk(choices="x")],
    "a choice null": [chunk(choices=[None])],
    "logprobs a list": [chunk(choices=[{"text": "x", "index": 0, "logprobs": [1]}])],
    "invalid utf-8": [b'data: {"choices":[{"text":"\xff","index":0}]}\n\n'],
    "a cut event": [event(chunk("", reason="stop"))[:-3]],
    "a finishing event without its empty line": [event(chunk("", reason="stop"))[:-1]],
    "another choice finishes": [chunk("", index=1, reason="stop"), DONE],
    "null finish reasons": [chunk("", reason=""), DONE],
}


@pytest.mark.parametrize("packets", BAD_LATER.values(), ids=BAD_LATER.keys())
def test_a_broken_stream_never_says_done(
    gateway: Gateway, upstream: Upstream, packets: list[Any]
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk())
        await gate.wait()
        for packet in packets:
            await wire.packet(packet if isinstance(packet, bytes) else event(packet))
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.stream(n=2) as payloads:
        first, *between = [next(payloads)]
        gate.open()
        *between, last = payloads
    assert json.loads(first)["choices"][0]["text"] == PRIVATE
    error = json.loads(last)["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_invalid_response")
    assert b"[DONE]" not in between
    assert not any("error" in json.loads(payload) for payload in between)


@pytest.mark.parametrize("how", ["close", "reset", "bad chunk"])
def test_a_cut_stream_never_says_done(gateway: Gateway, upstream: Upstream, how: str) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk())
        await gate.wait()
        if how == "bad chunk":
            await wire.send(b"zzz\r\n")
        elif how == "close":
            wire.close()
        else:
            wire.reset()

    upstream.on("native", script)
    with gateway.stream() as payloads:
        next(payloads)
        gate.open()
        rest = list(payloads)
    assert len(rest) == 1
    assert json.loads(rest[0])["error"]["type"] == "upstream_error"


def test_a_stream_whose_chunks_and_break_come_together_loses_no_chunk(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", streaming(chunk("a"), event(chunk("b")) + event({"error": "broken"})))
    reply = gateway.complete(stream=True)
    assert reply.status == 502 or ends_with_an_error(reply)


def test_the_good_events_of_a_packet_come_before_the_error(
    gateway: Gateway, upstream: Upstream
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk("a"))
        await gate.wait()
        await wire.packet(event(chunk("b")) + event({"error": "broken"}))
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.stream() as payloads:
        next(payloads)
        gate.open()
        second, last = payloads
    assert json.loads(second)["choices"][0]["text"] == "b"
    assert "error" in json.loads(last)


def test_the_good_events_before_rubbish_in_one_packet_are_not_lost(
    gateway: Gateway, upstream: Upstream
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk("a"))
        await gate.wait()
        await wire.packet(event(chunk("b")) + b"data: {rubbish\n\n")
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.stream() as payloads:
        next(payloads)
        gate.open()
        second, last = payloads
    assert json.loads(second)["choices"][0]["text"] == "b"
    assert "error" in json.loads(last)


@pytest.mark.parametrize("finished", [0, 1])
def test_a_stream_of_two_prompts_needs_both_to_finish(
    gateway: Gateway, upstream: Upstream, finished: int
) -> None:
    upstream.on("native", streaming(chunk("x", index=finished, reason="stop"), usage_chunk(), DONE))
    reply = gateway.complete(prompt=["a", "b"], stream=True)
    assert b"[DONE]" not in reply.body


def test_what_a_broken_stream_used_is_metered(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", streaming(chunk(usage=USAGE), chunk()))
    reply = gateway.complete(stream=True)
    line = gateway.line(reply.headers["x-request-id"])
    assert line["error"] == "upstream_invalid_response"
    assert line["prompt_tokens"] == USAGE["prompt_tokens"]
    assert line["completion_tokens"] == USAGE["completion_tokens"]
