"""POST /v1/messages: Anthropic's form in and out, and the whole chain between."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.messages.reading import events_of, read_events
from tests.e2e.families.asking import chat, event, post, saying
from tests.harness.credentials import KEY, KEYS
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PROMPT, unseen
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

PATH = "/v1/messages"


def ask(gateway: Gateway, said: str = PROMPT, key: str | None = KEY, **fields: Any) -> Reply:
    turns = [{"role": "user", "content": said}]
    return post(gateway, PATH, {"model": "plain", "max_tokens": 9, "messages": turns} | fields, key)


def test_a_message_is_answered(gateway: Gateway, upstream: Upstream) -> None:
    reply = ask(gateway, system="Be brief. ")
    assert reply.status == 200
    said = text_of(f"Be brief. {PROMPT}")
    assert reply.document["content"] == [{"type": "text", "text": said}]
    assert reply.document["usage"]["output_tokens"] == 3
    assert reply.headers["request-id"] == reply.headers["x-request-id"]
    assert reply.headers["x-headgate-cost-usd"]
    [sent] = upstream.requests
    assert [turn["role"] for turn in sent.document["messages"]] == ["system", "user"]
    assert sent.document["max_tokens"] == 9


def test_a_streamed_message_ends_with_its_own_last_event(gateway: Gateway) -> None:
    reply = ask(gateway, stream=True)
    whole = read_events(reply.body)
    assert whole["content"][0]["text"] == text_of(PROMPT)
    assert whole["usage"]["output_tokens"] == 3
    assert b"[DONE]" not in reply.body
    assert b"event: ping" in reply.body


def test_what_chat_was_answered_a_message_is_too(gateway: Gateway, upstream: Upstream) -> None:
    prompt = unseen()
    asked = {"model": "cached", "seed": 1, "max_completion_tokens": 9}
    first = chat(gateway, prompt, **asked | {"temperature": 0})
    assert first.status == 200
    fields = {"model": "cached", "temperature": 0}

    def is_hit() -> bool:
        return ask(gateway, prompt, **fields).headers.get("x-headgate-cache") == "hit"

    eventually(is_hit)
    streamed = ask(gateway, prompt, stream=True, **fields)
    assert streamed.headers["x-headgate-cache"] == "hit"
    assert read_events(streamed.body)["content"][0]["text"] == text_of(prompt)


@pytest.mark.parametrize(
    ("key", "fields", "status", "kind"),
    [
        ("wrong", {}, 401, "authentication_error"),
        (KEY, {"max_tokens": None}, 400, "invalid_request_error"),
        (KEY, {"model": "unknown"}, 404, "not_found_error"),
        (KEY, {"model": "nobody"}, 502, "api_error"),
    ],
)
def test_errors_are_in_anthropics_envelope(
    gateway: Gateway, key: str, fields: dict[str, Any], status: int, kind: str
) -> None:
    reply = ask(gateway, key=key, **fields)
    assert reply.status == status
    assert reply.document["type"] == "error"
    assert reply.document["error"]["type"] == kind
    assert reply.document["error"]["message"]
    assert reply.document["request_id"] == reply.headers["request-id"]
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_a_stream_that_is_cut_ends_in_an_error_event(gateway: Gateway, upstream: Upstream) -> None:
    async def cut(request: Request, wire: Wire) -> None:
        await wire.begin_stream()
        await wire.event(event({"role": "assistant", "content": "half"}))
        await wire.end_stream()

    upstream.on("up", cut)
    events = events_of(ask(gateway, stream=True).body)
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["type"] == "api_error"
    assert "message_stop" not in {one["type"] for one in events}


def test_a_tools_call_is_a_block(gateway: Gateway, upstream: Upstream) -> None:
    function = {"name": "weather", "arguments": '{"city":"Bern"}'}
    called = [{"index": 0, "id": "c1", "type": "function", "function": function}]
    upstream.on("up", saying({"role": "assistant"}, {"tool_calls": called}, reason="tool_calls"))
    tool = {"name": "weather", "input_schema": {"type": "object"}}
    whole = read_events(ask(gateway, stream=True, tools=[tool]).body)
    assert whole["stop_reason"] == "tool_use"
    assert whole["content"][0]["input"] == {"city": "Bern"}


def test_a_key_under_its_own_header_and_a_version_are_taken(gateway: Gateway) -> None:
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01", "anthropic-beta": "x"}
    body = {"model": "plain", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    assert post(gateway, f"{PATH}?beta=true", body, None, headers).status == 200


def test_tokens_are_not_counted_before_a_call(gateway: Gateway) -> None:
    reply = post(gateway, f"{PATH}/count_tokens", {"model": "plain", "messages": []})
    assert reply.status == 501
    assert "usage" in reply.document["error"]["message"]


def test_a_key_needs_the_capability_of_chat(gateway: Gateway) -> None:

    assert ask(gateway, key=KEYS["embedder"]).document["error"]["type"] == "permission_error"
