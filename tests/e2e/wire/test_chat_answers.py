"""What a chat model answers, good, odd or broken, told as a completion."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.e2e.wire.test_chat_bridge import chat_saying
from tests.harness.gateway import Gateway
from tests.harness.good_server import Answer, good_server
from tests.harness.prompts import PRIVATE
from tests.harness.upstream import Upstream


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("max_tokens", "length"),
        ("eos_token", "stop"),
        ("end_turn", "stop"),
        ("tool_calls", "stop"),
    ],
)
def test_finish_reasons_are_those_of_completions(
    gateway: Gateway, upstream: Upstream, theirs: str, ours: str
) -> None:
    upstream.on("chatty", chat_saying(finish_reason=theirs))
    assert gateway.complete(model="chat").document["choices"][0]["finish_reason"] == ours


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"role": "assistant", "content": PRIVATE}, PRIVATE),
        ({"role": "assistant", "content": ""}, ""),
        ({"role": "assistant", "content": None}, ""),
        ({"role": "assistant", "content": None, "refusal": "no"}, "no"),
        (
            {"role": "assistant", "content": [{"type": "text", "text": PRIVATE}]},
            PRIVATE,
        ),
    ],
)
def test_a_message_is_a_text(gateway: Gateway, upstream: Upstream, message: Any, text: str) -> None:
    upstream.on("chatty", chat_saying(message=message))
    assert gateway.complete(model="chat").texts == [text]


BROKEN: dict[str, dict[str, Any]] = {
    "no message": {"message": None},
    "message a string": {"message": "x"},
    "content a number": {"message": {"role": "assistant", "content": 5}},
    "content parts odd": {"message": {"role": "assistant", "content": [{"text": 5}]}},
    "index a string": {"index": "0"},
    "index out of range": {"index": 1},
    "logprobs odd": {"logprobs": {"content": [{"logprob": -1}]}},
    "logprobs entry no object": {"logprobs": {"content": ["x"]}},
    "top logprobs odd": {
        "logprobs": {"content": [{"token": "x", "logprob": -1, "top_logprobs": [5]}]}
    },
    "top logprobs without a token": {
        "logprobs": {"content": [{"token": "x", "logprob": -1, "top_logprobs": [{"logprob": 1}]}]}
    },
    "top logprobs a number": {
        "logprobs": {"content": [{"token": "x", "logprob": -1, "top_logprobs": 5}]}
    },
}


@pytest.mark.parametrize("choice", BROKEN.values(), ids=BROKEN.keys())
def test_a_malformed_chat_answer_is_a_502(
    gateway: Gateway, upstream: Upstream, choice: Any
) -> None:
    upstream.on("chatty", chat_saying(**choice))
    reply = gateway.complete(model="chat", logprobs=1)
    assert (reply.status, reply.error["code"]) == (502, "upstream_invalid_response")


# A plain answer must have its message; a chunk may leave its delta out.
BROKEN_CHUNKS = {name: c for name, c in BROKEN.items() if c.get("message", 0) is not None}


@pytest.mark.parametrize("choice", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS.keys())
def test_a_malformed_chat_chunk_is_a_502(
    gateway: Gateway, upstream: Upstream, choice: dict[str, Any]
) -> None:
    change = {("delta" if name == "message" else name): value for name, value in choice.items()}

    async def script(request, wire):
        chunk = Answer(request.document, chat=True).chunks()[1]
        chunk["choices"][0] |= change
        await wire.begin_stream()
        await wire.event(chunk)
        await wire.event(b"[DONE]")
        await wire.end_stream()

    upstream.on("chatty", script)
    reply = gateway.complete(model="chat", logprobs=1, stream=True)
    assert (reply.status, reply.error["code"]) == (502, "upstream_invalid_response")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":["x"]}',
        b'{"choices":{}}',
        b'{"error":"x"}',
        b'{"choices":[{"text":"completion"}]}',
    ],
)
def test_what_is_no_chat_answer_is_a_502(gateway: Gateway, upstream: Upstream, body: bytes) -> None:
    async def script(request, wire):
        await wire.answer(body)

    upstream.on("chatty", script)
    assert gateway.complete(model="chat").status == 502


@pytest.mark.parametrize(
    "payload",
    [
        b"5",
        b"[]",
        b'"x"',
        b"null",
        b'{"choices":5}',
        b'{"choices":"x"}',
        b'{"choices":{"a":1}}',
        b'{"choices":[5]}',
        b"{",
    ],
)
def test_what_is_no_chat_chunk_is_a_502(
    gateway: Gateway, upstream: Upstream, payload: bytes
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(payload)
        await wire.event(b"[DONE]")
        await wire.end_stream()

    upstream.on("chatty", script)
    assert gateway.complete(model="chat", stream=True).status == 502


@pytest.mark.parametrize(
    "usage", [None, {}, 5, {"prompt_tokens": "x"}, {"prompt_tokens": {"a": 1}}]
)
def test_usage_of_a_bridged_answer_is_always_there(
    gateway: Gateway, upstream: Upstream, usage: Any
) -> None:
    async def script(request, wire):
        await wire.answer(Answer(request.document, chat=True).whole() | {"usage": usage})

    upstream.on("chatty", script)
    used = gateway.complete(model="chat", prompt=["a", "b"]).document["usage"]
    assert used["prompt_tokens"] > 0
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]


def test_a_cut_chat_stream_never_says_done(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        chunks = Answer(request.document, chat=True).chunks()
        await wire.begin_stream()
        for chunk in chunks[:3]:
            await wire.event(chunk)
        await wire.end_stream()

    upstream.on("chatty", script)
    reply = gateway.complete(model="chat", stream=True)
    assert b"[DONE]" not in reply.body


def test_one_cut_call_of_several_never_says_done(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        if request.document["messages"][0]["content"] != "b":
            await good_server(request, wire)
            return
        await wire.begin_stream()
        await wire.event(Answer(request.document, chat=True).chunks()[1])
        wire.close()

    upstream.on("chatty", script)
    reply = gateway.complete(model="chat", prompt=["a", "b", "c"], stream=True)
    assert b"[DONE]" not in reply.body
    assert reply.status == 502 or "error" in json.loads(reply.payloads[-1])


@pytest.mark.parametrize("prompt", ["a", ["a", "b"]])
def test_rubbish_in_the_middle_of_a_bridged_stream_ends_it_with_an_error(
    gateway: Gateway, upstream: Upstream, prompt: Any
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(Answer(request.document, chat=True).chunks()[1])
        await gate.wait()
        await wire.event({"choices": 5})
        await wire.end_stream()

    upstream.on("chatty", script)
    with gateway.stream(model="chat", prompt=prompt) as payloads:
        next(payloads)
        gate.open()
        *_, last = payloads
    assert json.loads(last)["error"]["code"] == "upstream_invalid_response"


def test_bridged_streams_ask_every_call_for_usage(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(model="chat", prompt=["a", "b"], stream=True)
    assert [r.document["stream_options"] for r in upstream.wait_for(2)] == [
        {"include_usage": True}
    ] * 2


def test_each_choice_of_a_bridged_stream_finishes_once(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = gateway.complete(model="chat", prompt=["a", "b"], n=2, stream=True)
    reasons = Counter(
        c["index"] for one in reply.chunks for c in one["choices"] if c["finish_reason"]
    )
    assert reasons == {0: 1, 1: 1, 2: 1, 3: 1}


def test_extra_members_of_a_chat_answer_are_kept(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.answer(
            Answer(request.document, chat=True).whole() | {"system_fingerprint": "fp"}
        )

    upstream.on("chatty", script)
    assert gateway.complete(model="chat").document["system_fingerprint"] == "fp"
