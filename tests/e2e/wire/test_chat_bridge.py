"""Completions on a model that only chats: nothing is dropped in silence."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import Gateway
from tests.harness.good_server import Answer, good_server, text_of
from tests.harness.prompts import PROMPT
from tests.harness.raw_connection import raw_request
from tests.harness.upstream import Upstream

USER = {"role": "user", "content": PROMPT}


def chat_saying(**choice: Any):
    """A script whose only choice has these members."""

    async def script(request, wire):
        answer = Answer(request.document, chat=True).whole()
        answer["choices"][0] |= choice
        await wire.answer(answer)

    return script


def test_a_prompt_becomes_one_user_message(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete(model="chat")
    assert upstream.request.target == "/v1/chat/completions"
    assert upstream.request.document["messages"] == [USER]
    assert "prompt" not in upstream.request.document
    assert reply.texts == [text_of(PROMPT)]


def test_an_answer_is_a_completion(gateway: Gateway, upstream: Upstream) -> None:
    document = gateway.complete(model="chat").document
    assert document["id"].startswith("cmpl-")
    assert document["object"] == "text_completion"
    assert document["model"] == "chatty"
    assert document["choices"] == [
        {"text": text_of(PROMPT), "index": 0, "logprobs": None, "finish_reason": "stop"}
    ]
    assert document["usage"]["total_tokens"] == len(PROMPT.split()) + 3


def test_a_streamed_answer_is_completions_chunks(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete(model="chat", stream=True)
    for one in reply.chunks:
        assert one["object"] == "text_completion"
        assert one["id"].startswith("cmpl-")
        for choice in one["choices"]:
            assert type(choice["text"]) is str
            assert "delta" not in choice
    assert reply.streamed_texts() == {0: text_of(PROMPT)}


def test_messages_are_passed_on_as_they_are(gateway: Gateway, upstream: Upstream) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": PROMPT}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
        {"role": "tool", "content": "5", "tool_call_id": "1", "extra": 1.50},
    ]
    assert gateway.complete(model="chat", prompt=None, messages=messages).status == 200
    assert upstream.request.document["messages"] == messages


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_each_prompt_gets_an_answer_of_its_own(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    reply = gateway.complete(model="chat", prompt=["a", "b", "c"], stream=stream)
    expected = {index: text_of(prompt) for index, prompt in enumerate("abc")}
    got = reply.streamed_texts() if stream else dict(enumerate(reply.texts))
    assert got == expected
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", ["chat", "poor-chat"])
def test_several_prompts_and_n_follow_the_index_rule(
    gateway: Gateway, upstream: Upstream, model: str, stream: bool
) -> None:
    reply = gateway.complete(model=model, prompt=["a", "b"], n=3, stream=stream)
    got = reply.streamed_texts() if stream else dict(enumerate(reply.texts))
    numbers = [0, 1, 2] if model == "chat" else [0, 0, 0]  # separate calls all begin at 0
    assert got == {
        3 * p + i: text_of("ab"[p], number) for p in range(2) for i, number in enumerate(numbers)
    }
    assert len(upstream.requests) == (2 if model == "chat" else 6)


def test_n_is_the_providers_where_it_has_one(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(model="chat", n=3)
    assert upstream.request.document["n"] == 3


def test_n_is_calls_where_the_provider_has_none(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(model="poor-chat", n=3)
    assert [request.document.get("n") for request in upstream.wait_for(3)] == [None] * 3


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_usage_of_all_calls_is_summed(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    reply = gateway.complete(model="chat", prompt=["a b", "c d e"], stream=stream, **more)
    usage = reply.chunks[-1]["usage"] if stream else reply.document["usage"]
    assert usage == {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}
    line = gateway.line(reply.headers["x-request-id"])
    assert (line["prompt_tokens"], line["completion_tokens"]) == (5, 6)


def test_a_fanned_out_stream_has_one_usage_chunk_and_one_end(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = gateway.complete(
        model="chat", prompt=["a", "b"], n=2, stream=True, stream_options={"include_usage": True}
    )
    assert [one["usage"] is not None for one in reply.chunks].count(True) == 1
    assert reply.body.count(b"[DONE]") == 1
    assert len({one["id"] for one in reply.chunks}) == 1


def test_fan_out_bounds_the_calls_at_a_time(gateway: Gateway, upstream: Upstream) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await gate.wait()
        await good_server(request, wire)

    upstream.on("chatty", script)
    body = {"model": "chat-narrow", "prompt": ["a", "b", "c", "d", "e"]}
    with gateway.raw() as caller:
        caller.send(raw_request(json.dumps(body).encode()))
        assert len(upstream.wait_for(2)) == 2
        gate.open()
        answer = caller.answer()
    assert answer is not None
    texts = [choice["text"] for choice in json.loads(answer.body)["choices"]]
    assert texts == [text_of(prompt) for prompt in "abcde"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("count", [9, 40])
def test_more_prompts_than_the_fan_out_all_get_answers(
    gateway: Gateway, upstream: Upstream, count: int, stream: bool
) -> None:
    prompts = [f"p{i}" for i in range(count)]
    reply = gateway.complete(model="chat-narrow", prompt=prompts, stream=stream)
    got = reply.streamed_texts() if stream else dict(enumerate(reply.texts))
    assert got == {i: text_of(prompt) for i, prompt in enumerate(prompts)}


def test_calls_of_a_stream_are_interleaved(gateway: Gateway, upstream: Upstream) -> None:
    gates = {"a": upstream.gate(), "b": upstream.gate()}

    async def script(request, wire):
        prompt = request.document["messages"][0]["content"]
        chunks = Answer(request.document, chat=True).chunks()
        await wire.begin_stream()
        await wire.event(chunks[0])
        await wire.event(chunks[1])
        await gates[prompt].wait()
        for chunk in chunks[2:]:
            await wire.event(chunk)
        await wire.event(b"[DONE]")
        await wire.end_stream()

    upstream.on("chatty", script)
    with gateway.stream(model="chat", prompt=["a", "b"]) as payloads:
        started = {json.loads(next(payloads))["choices"][0]["index"] for _ in range(2)}
        assert started == {0, 1}  # both have begun before either has ended
        gates["b"].open()
        ended: list[int] = []
        for payload in payloads:
            if payload == b"[DONE]":
                break
            choice = json.loads(payload)["choices"][0]
            if choice["finish_reason"]:
                ended.append(choice["index"])
                gates["a"].open()
    assert ended == [1, 0]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_one_failure_fails_the_request(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    async def script(request, wire):
        if request.document["messages"][0]["content"] == "b":
            await wire.answer({"error": {"message": "not b"}}, status=400)
        else:
            await upstream.gate().wait()

    upstream.on("chatty", script)
    reply = gateway.complete(model="chat", prompt=["a", "b", "c"], stream=stream)
    assert reply.status == 400
    assert "not b" in reply.error["message"]
    assert all(r.connection.closed.wait(5) for r in upstream.requests if b'"b"' not in r.body)


def test_what_was_used_before_a_failure_is_metered(gateway: Gateway, upstream: Upstream) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        if request.document["messages"][0]["content"] == "b":
            await gate.wait()
            await wire.answer({"error": {"message": "no"}}, status=400)
        else:
            await good_server(request, wire)

    upstream.on("chatty", script)
    # One at a time in each slot: `c` has its slot only once `a` was answered.
    with gateway.raw() as caller:
        body = json.dumps({"model": "chat-narrow", "prompt": ["a", "b", "c"]}).encode()
        caller.send(raw_request(body, headers=["x-request-id: failed-after-use"]))
        upstream.wait_for(3)
        gate.open()
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 400
    line = gateway.line("failed-after-use")
    assert line["prompt_tokens"] >= 1
    assert line["completion_tokens"] >= 3


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", ["off", "no-endpoint"])
def test_a_model_without_completions_is_a_501(
    gateway: Gateway, upstream: Upstream, model: str, stream: bool
) -> None:
    reply = gateway.complete(model=model, stream=stream)
    assert reply.status == 501
    assert reply.error["type"] == "not_implemented"
    assert reply.error["code"] == "not_implemented"
    assert reply.headers["x-should-retry"] == "false"
    assert upstream.requests == []


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads the memory of a process from /proc")
def test_a_batch_does_not_multiply_its_body_in_memory(gateway: Gateway, upstream: Upstream) -> None:
    """Each call repeats the other members of the body; only those under way may be in memory."""
    gate = upstream.gate()

    async def script(request, wire):
        await gate.wait()
        await good_server(request, wire)

    upstream.on("chatty", script)
    before = gateway.memory()
    body = {"model": "chat-narrow", "prompt": ["x"] * 300, "junk": "y" * 900_000}
    with gateway.raw() as caller:
        caller.send(raw_request(json.dumps(body).encode()))
        upstream.wait_for(2)
        grown = gateway.memory() - before
    assert grown < 100_000_000
