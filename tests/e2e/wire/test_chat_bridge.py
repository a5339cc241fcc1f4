"""Completions on a model that only chats: nothing is dropped in silence."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import Gateway
from tests.harness.good_server import Answer, good_server, text_of, words_of
from tests.harness.prompts import PRIVATE, PROMPT
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
@pytest.mark.parametrize("prompt", ["a prompt ", ["a ", "b "]])
def test_echo_puts_the_prompt_before_each_choice(
    gateway: Gateway, upstream: Upstream, prompt: Any, stream: bool
) -> None:
    reply = gateway.complete(model="chat", prompt=prompt, n=2, echo=True, stream=stream)
    prompts = [prompt] if isinstance(prompt, str) else prompt
    got = reply.streamed_texts() if stream else dict(enumerate(reply.texts))
    assert got == {
        2 * p + i: text + text_of(text, i) for p, text in enumerate(prompts) for i in range(2)
    }
    assert all("echo" not in request.document for request in upstream.requests)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("k", [0, 1, 5])
def test_logprobs_come_in_the_legacy_shape(
    gateway: Gateway, upstream: Upstream, k: int, stream: bool
) -> None:
    reply = gateway.complete(model="chat", logprobs=k, stream=stream)
    merged: dict[str, list[Any]] = {}
    documents = reply.chunks if stream else [reply.document]
    for document in documents:
        for choice in document["choices"]:
            for name, values in (choice["logprobs"] or {}).items():
                merged.setdefault(name, []).extend(values)
    words = words_of(PROMPT, 0)
    assert merged["tokens"] == words
    assert merged["token_logprobs"] == [-0.25] * 3
    assert merged["text_offset"] == [0, len(words[0]), len(words[0] + words[1])]
    assert [len(top) for top in merged["top_logprobs"]] == [k, k, k]
    asked = upstream.request.document
    assert asked["logprobs"] is True
    assert asked.get("top_logprobs", 0) == k


@pytest.mark.parametrize("model", ["native", "chat"])
def test_every_choice_of_a_stream_has_its_own_logprobs(
    gateway: Gateway, upstream: Upstream, model: str
) -> None:
    reply = gateway.complete(model=model, prompt=["a", "bb"], n=2, logprobs=1, stream=True)
    tokens: dict[int, list[str]] = {}
    offsets: dict[int, list[int]] = {}
    for one in reply.chunks:
        for choice in one["choices"]:
            logprobs = choice["logprobs"] or {"tokens": [], "text_offset": []}
            tokens.setdefault(choice["index"], []).extend(logprobs["tokens"])
            offsets.setdefault(choice["index"], []).extend(logprobs["text_offset"])
    expected = {2 * p + i: words_of(["a", "bb"][p], i) for p in range(2) for i in range(2)}
    assert tokens == expected
    assert offsets == {
        index: [sum(map(len, words[:place])) for place in range(len(words))]
        for index, words in expected.items()
    }


def test_logprobs_are_not_asked_for_unasked(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(model="chat")
    assert not {"logprobs", "top_logprobs"} & set(upstream.request.document)


PASSED_ON = {
    "stop": ["a", "b"],
    "seed": 5,
    "user": "someone",
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "logit_bias": {"5": 1.5},
    "temperature": 0.7,
    "top_p": 0.9,
    "max_tokens": 5,
    "min_p": 0.05,
    "guided_json": {"type": "object"},
}


@pytest.mark.parametrize(("field", "value"), PASSED_ON.items())
def test_parameters_are_passed_on(
    gateway: Gateway, upstream: Upstream, field: str, value: Any
) -> None:
    assert gateway.complete(model="chat", **{field: value}).status == 200
    assert upstream.request.document[field] == value


def test_max_tokens_goes_under_the_providers_name(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(model="poor-chat", max_tokens=5)
    assert upstream.request.document["max_completion_tokens"] == 5
    assert "max_tokens" not in upstream.request.document


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logprobs", 1),
        ("seed", 5),
        ("logit_bias", {"5": 1}),
        ("frequency_penalty", 0.5),
        ("user", "someone"),
    ],
)
def test_what_the_provider_does_not_have_is_refused_by_name(
    gateway: Gateway, upstream: Upstream, field: str, value: Any
) -> None:
    reply = gateway.complete(model="poor-chat", **{field: value})
    assert reply.status == 400
    assert reply.error["code"] == "unsupported_parameter"
    assert reply.error["param"] == field
    assert upstream.requests == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"suffix": "end"}, {"suffix"}),
        ({"prompt": [1, 2]}, {"prompt"}),
        ({"prompt": [[1], [2]]}, {"prompt"}),
        ({"echo": True, "logprobs": 1}, {"echo", "logprobs"}),
        ({"suffix": "end", "prompt": [1]}, {"suffix", "prompt"}),
    ],
)
def test_what_chat_cannot_honour_is_refused_by_name(
    gateway: Gateway, upstream: Upstream, fields: Any, named: set[str], stream: bool
) -> None:
    reply = gateway.complete(model="chat", stream=stream, **fields)
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["code"] == "unsupported_parameter"
    params = {detail["param"] for detail in reply.error["details"]}
    assert params & named
    assert "echo" in fields or params == named
    assert upstream.requests == []


def test_best_of_above_n_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete(model="chat", n=1, best_of=2)
    assert reply.status == 400
    assert (reply.error["code"], reply.error["param"]) == ("unsupported_parameter", "best_of")


def test_best_of_equal_to_n_is_honoured(gateway: Gateway, upstream: Upstream) -> None:
    assert len(gateway.complete(model="chat", n=2, best_of=2).texts) == 2
    assert "best_of" not in upstream.request.document


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


def test_extra_members_of_a_chat_answer_are_kept(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.answer(
            Answer(request.document, chat=True).whole() | {"system_fingerprint": "fp"}
        )

    upstream.on("chatty", script)
    assert gateway.complete(model="chat").document["system_fingerprint"] == "fp"


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
