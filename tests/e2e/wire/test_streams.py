"""Streaming: the contract's events, out of whatever framing the upstream uses."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.e2e.wire.test_answers import without
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PRIVATE, PROMPT
from tests.harness.upstream import Upstream

USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def chunk(text: str = PRIVATE, index: int = 0, reason: str | None = None, **more: Any) -> dict:
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": reason}
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1700000000,
        "model": "native",
        "choices": [choice],
    } | more


def usage_chunk(usage: Any = USAGE) -> dict:
    return chunk(choices=[], usage=usage)


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def streaming(*packets: Any):
    """A script that streams these: bytes are packets, anything else is one event."""

    async def script(request, wire):
        await wire.begin_stream()
        for packet in packets:
            await wire.packet(packet if isinstance(packet, bytes) else event(packet))
        await wire.end_stream()

    return script


def test_a_stream_is_events_and_nothing_else(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete(stream=True)
    assert reply.status == 200
    assert reply.headers["content-type"].split(";")[0] == "text/event-stream"
    assert reply.done
    assert reply.streamed_texts() == {0: text_of(PROMPT)}


def test_every_chunk_has_the_shape_of_a_completion(gateway: Gateway, upstream: Upstream) -> None:
    for one in gateway.complete(stream=True, n=2, prompt=["a", "b"]).chunks:
        assert one["id"].startswith("cmpl-")
        assert one["object"] == "text_completion"
        assert type(one["created"]) is int
        assert one["model"] == "native"
        for choice in one["choices"]:
            assert type(choice["text"]) is str
            assert {"index", "logprobs", "finish_reason"} <= set(choice)


def test_a_stream_has_one_id_and_one_time(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on(
        "native",
        streaming(chunk(id="cmpl-1"), chunk(id="x", created=5), chunk("", reason="stop"), DONE),
    )
    chunks = gateway.complete(stream=True).chunks
    assert len({(one["id"], one["created"]) for one in chunks}) == 1


@pytest.mark.parametrize("model", ["native", "chat", "poor-chat"])
def test_every_choice_gets_one_finish_reason(
    gateway: Gateway, upstream: Upstream, model: str
) -> None:
    reply = gateway.complete(model=model, stream=True, prompt=["a", "b"], n=2)
    reasons = Counter(
        choice["index"]
        for one in reply.chunks
        for choice in one["choices"]
        if choice["finish_reason"] is not None
    )
    assert reasons == {0: 1, 1: 1, 2: 1, 3: 1}


def test_a_finish_reason_said_twice_is_said_once(gateway: Gateway, upstream: Upstream) -> None:
    end = chunk("", reason="stop")
    upstream.on("native", streaming(chunk(), end, end, DONE))
    chunks = gateway.complete(stream=True).chunks
    assert [c["finish_reason"] for one in chunks for c in one["choices"]] == [None, "stop"]


@pytest.mark.parametrize("model", ["native", "chat"])
def test_usage_comes_last_and_once_where_it_was_asked_for(
    gateway: Gateway, upstream: Upstream, model: str
) -> None:
    chunks = gateway.complete(
        model=model, stream=True, stream_options={"include_usage": True}
    ).chunks
    *before, last = chunks
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0
    assert last["object"] == "text_completion"
    assert all(one["usage"] is None for one in before)
    assert all(one["choices"] for one in before)


@pytest.mark.parametrize("model", ["native", "chat"])
@pytest.mark.parametrize(
    "options", [{}, {"stream_options": {}}, {"stream_options": {"include_usage": False}}]
)
def test_usage_is_stripped_where_it_was_not_asked_for(
    gateway: Gateway, upstream: Upstream, model: str, options: Any
) -> None:
    chunks = gateway.complete(model=model, stream=True, **options).chunks
    assert all("usage" not in one for one in chunks)
    assert all(one["choices"] for one in chunks)


def test_usage_on_the_last_choice_chunk_moves_to_a_chunk_of_its_own(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", streaming(chunk(), chunk("", reason="stop", usage=USAGE), DONE))
    chunks = gateway.complete(stream=True, stream_options={"include_usage": True}).chunks
    assert [one["usage"] for one in chunks] == [None, None, USAGE]
    assert chunks[-1]["choices"] == []


def test_usage_on_every_chunk_is_one_usage_chunk(gateway: Gateway, upstream: Upstream) -> None:
    partial = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    upstream.on(
        "native",
        streaming(chunk(usage=partial), chunk("", reason="stop", usage=USAGE), usage_chunk(), DONE),
    )
    chunks = gateway.complete(stream=True, stream_options={"include_usage": True}).chunks
    assert [one["usage"] for one in chunks] == [None, None, USAGE]


def test_usage_is_estimated_where_the_upstream_sent_none(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", streaming(chunk(), chunk("", reason="stop"), DONE))
    reply = gateway.complete(stream=True, stream_options={"include_usage": True})
    used = reply.chunks[-1]["usage"]
    assert used["prompt_tokens"] > 0
    assert used["completion_tokens"] > 0
    assert gateway.line(reply.headers["x-request-id"])["estimated"] is True


def test_token_details_are_kept_in_the_usage_chunk(gateway: Gateway, upstream: Upstream) -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 2}}
    upstream.on("native", streaming(chunk(reason="stop"), usage_chunk(usage), DONE))
    chunks = gateway.complete(stream=True, stream_options={"include_usage": True}).chunks
    assert chunks[-1]["usage"] == usage


def test_exact_usage_is_metered_though_nobody_asked(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete(stream=True)
    line = gateway.line(reply.headers["x-request-id"])
    assert line["estimated"] is False
    assert (line["prompt_tokens"], line["completion_tokens"]) == (len(PROMPT.split()), 3)


def test_extra_members_of_chunks_are_kept(gateway: Gateway, upstream: Upstream) -> None:
    first = chunk(system_fingerprint="fp", prompt_token_ids=[1, 2])
    first["choices"][0]["stop_reason"] = 5
    upstream.on("native", streaming(first, chunk("", reason="stop"), DONE))
    (got, _) = gateway.complete(stream=True).chunks
    assert got["system_fingerprint"] == "fp"
    assert got["prompt_token_ids"] == [1, 2]
    assert got["choices"][0]["stop_reason"] == 5


def test_logprobs_come_with_their_chunks(gateway: Gateway, upstream: Upstream) -> None:
    chunks = gateway.complete(stream=True, logprobs=1).chunks
    tokens = [
        token
        for one in chunks
        for choice in one["choices"]
        for token in (choice["logprobs"] or {"tokens": []})["tokens"]
    ]
    assert "".join(tokens) == text_of(PROMPT)


@pytest.mark.parametrize("value", [None, "missing"])
def test_a_choice_without_text_gets_an_empty_one(
    gateway: Gateway, upstream: Upstream, value: Any
) -> None:
    last = chunk(None, reason="stop")
    if value == "missing":
        last["choices"] = [without(last["choices"][0], "text")]
    upstream.on("native", streaming(chunk(), last, DONE))
    assert gateway.complete(stream=True).chunks[-1]["choices"][0]["text"] == ""


def test_chunks_come_as_they_are_made(gateway: Gateway, upstream: Upstream) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk("first"))
        await gate.wait()
        await wire.event(chunk("second", reason="stop"))
        await wire.packet(DONE)
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.stream() as payloads:
        assert json.loads(next(payloads))["choices"][0]["text"] == "first"
        gate.open()
        assert json.loads(next(payloads))["choices"][0]["text"] == "second"
        assert next(payloads) == b"[DONE]"


def test_a_stream_ends_at_done_though_the_upstream_lingers(
    gateway: Gateway, upstream: Upstream
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk(reason="stop"))
        await wire.packet(DONE)
        await gate.wait()

    upstream.on("native", script)
    reply = gateway.complete(stream=True)
    assert reply.done


def test_what_follows_done_is_ignored(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", streaming(chunk(reason="stop"), DONE + event(chunk("more")), DONE))
    reply = gateway.complete(stream=True)
    assert [one["choices"][0]["text"] for one in reply.chunks] == [PRIVATE]


def test_a_finished_stream_whose_connection_then_breaks_was_whole(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk(reason="stop"))
        await wire.packet(DONE)
        wire.close()

    upstream.on("native", script)
    assert gateway.complete(stream=True).done


def test_a_finished_stream_without_done_is_whole(gateway: Gateway, upstream: Upstream) -> None:
    """Some servers never send the mark; every choice has said that it is finished."""
    upstream.on("native", streaming(chunk(), chunk("", reason="stop")))
    assert gateway.complete(stream=True).done


def test_a_first_chunk_with_a_long_echo_is_borne(gateway: Gateway, upstream: Upstream) -> None:
    text = PRIVATE * 300_000
    upstream.on("native", streaming(chunk(text), chunk("", reason="stop"), DONE))
    assert gateway.complete(stream=True).streamed_texts() == {0: text}


def test_a_slow_reader_gets_everything(gateway: Gateway, upstream: Upstream) -> None:
    text = PRIVATE * 1000
    upstream.on("native", streaming(*[chunk(text)] * 500, chunk("", reason="stop"), DONE))
    with gateway.stream() as payloads:
        received = sum(len(payload) for payload in payloads)
    assert received > 500 * len(text)
