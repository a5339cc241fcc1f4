"""Chat over real sockets: what is asked upstream, and what the caller gets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.families.asking import (
    HEAD,
    TOOL,
    USAGE,
    chat,
    content,
    event,
    message,
    post,
    saying,
)
from tests.harness.credentials import COLLEAGUE, KEYS
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PROMPT
from tests.harness.upstream import Upstream

SHAPES = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}


@SHAPES
def test_a_conversation_is_answered(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    reply = chat(gateway, stream=stream)
    assert content(reply) == text_of(PROMPT)
    assert upstream.request.target == "/v1/chat/completions"
    assert (reply.headers["x-provider"], reply.headers["x-model"]) == ("main", "up")
    line = gateway.line(reply.headers["x-request-id"])
    assert (line["operation"], line["alias"], line["status"]) == ("chat", "plain", 200)
    assert line["completion_tokens"] == 3


EVERYTHING: dict[str, Any] = {
    "max_completion_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.9,
    "n": 2,
    "stop": ["a", "b"],
    "logprobs": True,
    "top_logprobs": 2,
    "frequency_penalty": 0.1,
    "presence_penalty": -0.1,
    "logit_bias": {"1": -100},
    "seed": 5,
    "user": "u",
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
    "reasoning_effort": "low",
    "verbosity": "low",
    "modalities": ["text"],
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "auto",
    "safety_identifier": "s",
    "prompt_cache_key": "p",
    "min_p": 0.05,
    "guided_json": {"a": None},
}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": "be brief", "name": "d"},
    {"role": "user", "content": [{"type": "text", "text": PROMPT}, IMAGE]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "content": "sun", "tool_call_id": "c", "extra": 1.50},
]


def test_everything_is_forwarded_as_it_was_sent(gateway: Gateway, upstream: Upstream) -> None:
    assert chat(gateway, CONVERSATION, **EVERYTHING).status == 200
    sent = {"model": "up", "messages": CONVERSATION} | EVERYTHING
    assert upstream.request.document == sent


def test_every_wrong_field_is_named_and_nothing_is_asked(
    gateway: Gateway, upstream: Upstream
) -> None:
    wrong = [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]
    reply = chat(gateway, wrong, n=0, tool_choice="auto", top_logprobs=3)
    assert reply.status == 400
    assert [detail["param"] for detail in reply.error["details"]] == [
        "messages[0].content[0].image_url.url",
        "n",
        "top_logprobs",
        "tool_choice",
    ]
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("path", "capability"), [("chat/completions", "chat"), ("embeddings",) * 2]
)
def test_a_key_without_the_capability_is_refused(
    gateway: Gateway, path: str, capability: str
) -> None:
    reply = post(gateway, f"/v1/{path}", {}, COLLEAGUE)
    assert (reply.status, reply.error["code"]) == (403, "capability_required")
    assert capability in reply.error["message"]


def test_a_key_for_embeddings_may_not_chat(gateway: Gateway) -> None:
    assert chat(gateway, key=KEYS["embedder"]).status == 403


@pytest.mark.parametrize("model", ["legacy", "unknown"])
def test_a_model_without_chat(gateway: Gateway, model: str) -> None:
    reply = chat(gateway, model=model)
    expected = {"legacy": (501, "not_implemented"), "unknown": (404, "model_not_found")}
    assert (reply.status, reply.error["code"]) == expected[model]


def test_what_the_provider_has_not_is_refused_by_name(gateway: Gateway, upstream: Upstream) -> None:
    reply = chat(gateway, model="poor", n=2, logprobs=True, tools=[TOOL])
    assert (reply.status, reply.error["code"]) == (400, "unsupported_parameter")
    assert [d["param"] for d in reply.error["details"]] == ["n", "logprobs", "tools"]
    assert chat(gateway, model="poor", n=1, logprobs=False).status == 200
    assert len(upstream.requests) == 1


def test_members_beyond_the_contract_where_none_is_let_through(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = chat(gateway, model="strict", tools=[TOOL], min_p=0.5)
    assert (reply.status, reply.error["param"]) == (400, "min_p")
    assert chat(gateway, model="strict", tools=[TOOL], verbosity="low").status == 200


def test_a_clean_answer_is_passed_on_byte_for_byte(gateway: Gateway, upstream: Upstream) -> None:
    body = (
        b'{ "id":"chatcmpl-1","object":"chat.completion","created":5,"model":"up-1","choices":'
        b'[{"index":0,"message":{"role":"assistant","content":"a","reasoning_content":"b"},'
        b'"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,'
        b'"completion_tokens":2,"total_tokens":3,"completion_tokens_details":{"a":1}}}'
    )

    async def script(request: Request, wire: Wire) -> None:
        await wire.answer(body)

    upstream.on("up", script)
    assert chat(gateway).body == body


def test_usage_is_told_only_where_it_is_asked_for(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("up", saying({"role": "assistant", "content": "a"}))
    without = chat(gateway, stream=True)
    assert upstream.request.document["stream_options"] == {"include_usage": True}
    assert all("usage" not in one for one in without.chunks)
    told = chat(gateway, stream=True, stream_options={"include_usage": True}).chunks
    assert [one.get("usage") for one in told] == [None, None, USAGE]
    assert told[-1]["choices"] == []


def test_the_first_delta_has_the_role_and_each_choice_finishes_once(
    gateway: Gateway, upstream: Upstream
) -> None:
    chunks = chat(gateway, stream=True, n=2).chunks
    for index in (0, 1):
        own = [c for one in chunks for c in one["choices"] if c["index"] == index]
        assert [c["delta"].get("role") for c in own] == ["assistant"] + [None] * (len(own) - 1)
        assert [c["finish_reason"] for c in own if c["finish_reason"]] == ["stop"]


CALL_PIECES = [
    {"role": "assistant", "content": None},
    {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": '{"ci'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": 'ty": "Graz"}'}}]},
    {"tool_calls": [{"index": 0, "id": "b", "function": {"name": "weather", "arguments": {}}}]},
]
CALLS = [
    {
        "id": "a",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Graz"}'},
    },
    {"id": "b", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
]


@SHAPES
def test_tool_calls_are_whole(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    upstream.on("up", saying(*CALL_PIECES, reason="tool_calls", tool_calls=CALLS))
    reply = chat(gateway, tools=[TOOL], stream=stream)
    assert message(reply)["tool_calls"] == CALLS


@SHAPES
def test_reasoning_and_refusals_are_kept(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    said = {"reasoning_content": "2+2", "content": "", "refusal": "No."}
    upstream.on("up", saying({"role": "assistant"}, *[{k: v} for k, v in said.items()], **said))
    found = message(chat(gateway, stream=stream))
    assert {name: found[name] for name in said} == said


def test_a_cut_stream_ends_with_an_error_and_without_an_end_mark(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request: Request, wire: Wire) -> None:
        await wire.begin_stream()
        await wire.event(event({"role": "assistant", "content": "a"}))
        wire.reset()

    upstream.on("up", script)
    reply = chat(gateway, stream=True)
    assert not reply.done
    assert b'"upstream_' in reply.payloads[-1]
    line = gateway.line(reply.headers["x-request-id"])
    assert line["error"].startswith("upstream_")


def test_an_error_in_a_stream_is_an_error(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request: Request, wire: Wire) -> None:
        await wire.begin_stream()
        await wire.event(HEAD | {"choices": [], "error": {"code": 502, "message": "no"}})
        await wire.end_stream()

    upstream.on("up", script)
    assert chat(gateway, stream=True).status == 502


def test_an_upstreams_refusal_comes_back(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request: Request, wire: Wire) -> None:
        error = {"message": "too long", "code": "context_length_exceeded", "param": "messages"}
        await wire.answer({"error": error}, 400)

    upstream.on("up", script)
    reply = chat(gateway)
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")


def test_nobody_there(gateway: Gateway) -> None:
    reply = chat(gateway, model="nobody")
    assert (reply.status, reply.error["code"]) == (502, "upstream_unreachable")


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions/", "/v1/Chat/completions", "/chat/completions"]
)
def test_the_path_has_one_spelling(gateway: Gateway, path: str) -> None:
    assert post(gateway, path, {}).status == 404


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
def test_only_post(gateway: Gateway, path: str) -> None:
    reply = gateway.get(path)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
