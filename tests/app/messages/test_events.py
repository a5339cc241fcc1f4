"""Streams of chat as events of a message, where they are not as any provider's own would be."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.errors import UpstreamOverloaded, UpstreamTimeout
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from app.messages.answer import error_body, message
from app.messages.events import MessageEvents
from app.messages.request import parse_messages
from tests.app.messages.reading import events_of, read_events

REQUEST = parse_messages(
    orjson.dumps(
        {
            "model": "m",
            "max_tokens": 9,
            "stop_sequences": ["END"],
            "messages": [{"role": "user", "content": "x"}],
        }
    )
)
END = StreamEnd(Usage(10, 4, False, 6, 1, 2), {})


def chunk(reason: str | None = None, **delta: Any) -> Chunk:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return Chunk.of({"id": "chatcmpl-1", "model": "up", "choices": [choice]})


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": more.pop("name")} if more else {})
    return {"index": index, "function": function} | more


def told(*chunks: Chunk) -> dict[str, Any]:
    encoding = MessageEvents(REQUEST, "id-1")
    return read_events(encoding.events(chunks) + encoding.end(END))


def test_usage_is_told_at_the_end_with_the_cache_apart() -> None:
    found = told(chunk(role="assistant"), chunk(content="hi"), chunk("stop"))
    assert found["content"] == [{"type": "text", "text": "hi", "json": ""}]
    assert found["usage"] == {
        "input_tokens": 3,
        "cache_creation_input_tokens": 1,
        "cache_read_input_tokens": 6,
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 2},
    }


def test_a_stream_without_a_text_is_a_message_without_a_block() -> None:
    encoding = MessageEvents(REQUEST, "id-1")
    found = read_events(encoding.end(END))
    assert (found["content"], found["stop_reason"]) == ([], "end_turn")


def test_thoughts_texts_and_calls_are_blocks_one_after_the_other() -> None:
    found = told(
        chunk(reasoning_content="h"),
        chunk(reasoning_content="m"),
        chunk(content="I look."),
        chunk(tool_calls=[call(0, "", id="a", type="function", name="one")]),
        chunk(tool_calls=[call(0, '{"x":')]),
        chunk(tool_calls=[call(0, "1}"), call(1, "", id="b", type="function", name="two")]),
        chunk(tool_calls=[call(1, "{}")]),
        chunk("stop"),
    )
    kinds = [block["type"] for block in found["content"]]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    assert [block.get("input") for block in found["content"][2:]] == [{"x": 1}, {}]
    assert found["content"][0]["thinking"] == "hm"
    assert found["stop_reason"] == "tool_use"  # though the server said that it came to its end


def test_pieces_of_two_calls_in_turns_are_each_calls_own() -> None:
    first = [call(0, '{"x"', id="a", type="function", name="one")]
    second = [call(1, '{"y"', id="b", type="function", name="two")]
    encoding = MessageEvents(REQUEST, "id-1")
    chunks = [
        chunk(tool_calls=calls) for calls in (first, second, [call(0, ":1}"), call(1, ":2}")])
    ]
    pieces: dict[int, str] = {}
    for event in events_of(encoding.events(chunks) + encoding.end(END)):
        if event["type"] == "content_block_delta":
            index = event["index"]
            pieces[index] = pieces.get(index, "") + event["delta"]["partial_json"]
    assert pieces == {0: '{"x":1}', 1: '{"y":2}'}


@pytest.mark.parametrize(
    ("choice", "ending"),
    [
        ({"finish_reason": "stop"}, ("end_turn", None)),
        ({"finish_reason": "stop", "stop_reason": "END"}, ("stop_sequence", "END")),
        ({"finish_reason": "stop", "stop_reason": 128_009}, ("end_turn", None)),
        ({"finish_reason": "length"}, ("max_tokens", None)),
        ({"finish_reason": "content_filter"}, ("refusal", None)),
    ],
)
def test_why_it_ended(choice: dict[str, Any], ending: tuple[str, str | None]) -> None:
    said = {"index": 0, "message": {"role": "assistant", "content": "x"}} | choice
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    document = {"id": "chatcmpl-1", "model": "up", "choices": [said], "usage": usage}
    found = orjson.loads(message(orjson.dumps(document), REQUEST))
    assert (found["stop_reason"], found["stop_sequence"]) == ending


def test_arguments_that_a_limit_cut_off_are_kept_as_they_are() -> None:
    function = {"name": "one", "arguments": '{"x": "unfin'}
    said = {"role": "assistant", "tool_calls": [{"id": "a", "function": function}]}
    choice = {"index": 0, "message": said, "finish_reason": "length"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    document = {"id": "chatcmpl-1", "model": "up", "choices": [choice], "usage": usage}
    [block] = orjson.loads(message(orjson.dumps(document), REQUEST))["content"]
    assert block["input"] == {"INVALID_JSON": '{"x": "unfin'}


def test_an_error_in_a_stream_is_an_event_of_its_own() -> None:
    encoding = MessageEvents(REQUEST, "id-1")
    data = encoding.events([chunk(content="x")]) + encoding.error(UpstreamTimeout("Too slow."))
    last = events_of(data)[-1]
    assert data.rpartition(b"event: ")[2].startswith(b"error\n")
    assert last["type"] == "error"
    assert last["error"]["type"] == "timeout_error"
    assert last["error"]["code"] == "upstream_timeout"
    assert last["request_id"] == "id-1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
     (404, "not_found_error"), (413, "request_too_large"), (422, "invalid_request_error"),
     (429, "rate_limit_error"), (500, "api_error"), (503, "overloaded_error")],
)  # fmt: skip
def test_an_error_has_the_type_of_its_status(status: int, kind: str) -> None:
    body = orjson.loads(error_body(UpstreamOverloaded("x").envelope(), status, "id-1"))
    assert body["error"]["type"] == kind
    assert body["error"]["message"] == "x"
