"""Cohere's language. Plain answers are held to recordings in ``../translation``; no stream of Cohere's
is among them, so those here have the events of https://docs.cohere.com/docs/streaming and
/docs/tool-use-streaming, with the members of the package ``cohere`` 7.3."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidRequest, UpstreamError
from app.providers.cohere.translation import CohereTranslation
from app.providers.translation.base import Asked
from tests.harness.recordings import joined

COHERE = CohereTranslation()
USER = [{"role": "user", "content": "Rain?"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"x":1}'}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
USAGE = {
    "billed_units": {"input_tokens": 5.0, "output_tokens": 9.0},
    "tokens": {"input_tokens": 70.0, "output_tokens": 12.0},
    "cached_tokens": 64.0,
}


def asked(**members: Any) -> Asked:
    return Asked("chat", {"messages": USER} | members, "command", 1_700_000_000)


def sent(**members: Any) -> dict[str, Any]:
    prepared = COHERE.prepare(asked(**members))
    assert prepared.path == "/chat"
    body: dict[str, Any] = orjson.loads(prepared.body)
    return body


def event(kind: str, index: int | None = None, **message: Any) -> bytes:
    place = {} if index is None else {"index": index}
    payload = {"type": kind, **place, "delta": {"message": message}}
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(payload))


def end(reason: str) -> bytes:
    delta = {"finish_reason": reason, "usage": USAGE}
    return b"event: message-end\ndata: %b\n\n" % orjson.dumps(
        {"type": "message-end", "delta": delta}
    )


START = b'event: message-start\ndata: {"type":"message-start","id":"m1","delta":{"message":{}}}\n\n'
CALLED = (
    START
    + event("tool-plan-delta", tool_plan="I will ")
    + event("tool-plan-delta", tool_plan="look.")
    + event(
        "tool-call-start", 0, tool_calls=CALL | {"function": {"name": "weather", "arguments": ""}}
    )
    + event("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"x"'}})
    + event("tool-call-delta", 0, tool_calls={"function": {"arguments": ":1}"}})
    + event("tool-call-end", 0)
    + event("tool-call-start", 1, tool_calls=CALL | {"id": "c2"})
    + event("tool-call-end", 1)
    + end("TOOL_CALL")
)
SAID = (
    START
    + event("content-start", 0, content={"type": "thinking", "thinking": ""})
    + event("content-delta", 0, content={"thinking": "Hm."})
    + event("content-end", 0)
    + event("content-start", 1, content={"type": "text", "text": ""})
    + event("content-delta", 1, content={"text": "It "})
    + event("content-delta", 1, content={"text": "rains."})
    + event("citation-start", 0, citations={"start": 0, "end": 2, "text": "It"})
    + event("content-end", 1)
    + end("COMPLETE")
)


def read(body: bytes, cuts: list[int]) -> dict[str, Any]:
    translator = COHERE.translator(asked(stream=True), 1 << 20)
    edges = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    chunks = []
    for start, stop in itertools.pairwise(edges):
        chunks += translator.take(body[start:stop])
    chunks += translator.end()
    if translator.broken is not None:
        raise translator.broken
    assert translator.done
    return joined(chunks)


@given(st.lists(st.integers(min_value=0), max_size=30))
def test_a_streamed_text_and_its_thought(cuts: list[int]) -> None:
    whole = read(SAID, cuts)
    choice = whole["choices"][0]
    assert (choice["content"], choice["reasoning"]) == ("It rains.", "Hm.")
    assert choice["finish_reason"] == "stop"
    assert whole["usage"] == {
        "prompt_tokens": 70,
        "completion_tokens": 12,
        "total_tokens": 82,
        "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
    }


@given(st.lists(st.integers(min_value=0), max_size=30))
def test_streamed_calls_are_whole_however_they_are_cut(cuts: list[int]) -> None:
    choice = read(CALLED, cuts)["choices"][0]
    made = {"name": "weather", "arguments": '{"x":1}'}
    assert choice["calls"] == {0: made, 1: made}
    assert (choice["reasoning"], choice["finish_reason"]) == ("I will look.", "tool_calls")


@pytest.mark.parametrize(
    "body", [SAID[:-40], START, START + end("ERROR"), b'data: {"message":"x"}\n\n']
)
def test_a_stream_that_failed_never_looks_whole(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        read(body, [])


def test_members_have_cohere_s_names() -> None:
    body = sent(top_p=0.9, top_k=5, max_completion_tokens=7, stop="x", seed=1, temperature=0.5)
    assert body == {
        "model": "command",
        "stream": False,
        "messages": USER,
        "p": 0.9,
        "k": 5,
        "max_tokens": 7,
        "stop_sequences": ["x"],
        "seed": 1,
        "temperature": 0.5,
    }


def test_a_plan_goes_back_with_its_calls() -> None:
    turns = [
        {"role": "developer", "content": "Be brief."},
        *USER,
        {"role": "assistant", "content": None, "reasoning_content": "plan", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "no"},
    ]
    messages = sent(messages=turns, tools=[TOOL])["messages"]
    assert messages[0] == {"role": "system", "content": "Be brief."}
    assert messages[2] == {"role": "assistant", "tool_calls": [CALL], "tool_plan": "plan"}
    assert messages[3] == {"role": "tool", "content": "no", "tool_call_id": "c1"}


def test_a_thought_goes_back_as_a_block() -> None:
    said = {"role": "assistant", "content": "yes", "reasoning_content": "hm"}
    content = sent(messages=[*USER, said, *USER])["messages"][1]["content"]
    assert content == [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]


@pytest.mark.parametrize(
    ("choice", "made"), [("auto", None), ("required", "REQUIRED"), ("none", "NONE")]
)
def test_whether_to_call_a_tool(choice: str, made: str | None) -> None:
    body = sent(tools=[TOOL], tool_choice=choice)
    assert body.get("tool_choice") == made
    assert body["tools"][0]["function"]["name"] == "weather"


def test_a_schema_is_its_own_json_object() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert sent(response_format=form)["response_format"] == {
        "type": "json_object",
        "json_schema": {"type": "object"},
    }
    plain = sent(response_format={"type": "json_object"})
    assert plain["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("effort", "thinking"),
    [
        ("none", {"type": "disabled"}),
        ("low", {"type": "enabled", "token_budget": 1024}),
        ("high", {"type": "enabled", "token_budget": 4096}),
    ],
)
def test_how_much_to_think(effort: str, thinking: dict[str, Any]) -> None:
    assert sent(reasoning_effort=effort)["thinking"] == thinking


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"user": "u"}, "user"),
        ({"temperature": 1.5}, "temperature"),
        ({"presence_penalty": -1}, "presence_penalty"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"tools": [TOOL], "parallel_tool_calls": False}, "parallel_tool_calls"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
            "tool_choice",
        ),
        ({"messages": [USER[0] | {"name": "Ann"}]}, "messages[0].name"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
            "messages[0].content[0]",
        ),
    ],
)
def test_what_cohere_has_not_is_refused_by_name(members: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidRequest) as found:
        COHERE.prepare(asked(**members))
    assert (found.value.param, found.value.code) == (place, "unsupported_parameter")


def test_texts_are_embedded_as_documents_unless_said_otherwise() -> None:
    document = {"input": ["a", "b"], "dimensions": 256, "input_type": "search_query"}
    prepared = COHERE.prepare(Asked("embeddings", document, "embed-v4.0", 1))
    assert prepared.path == "/embed"
    assert orjson.loads(prepared.body) == {
        "model": "embed-v4.0",
        "texts": ["a", "b"],
        "input_type": "search_query",
        "embedding_types": ["float"],
        "output_dimension": 256,
    }
    plain = COHERE.prepare(Asked("embeddings", {"input": "a"}, "m", 1))
    assert orjson.loads(plain.body)["input_type"] == "search_document"


@pytest.mark.parametrize(
    "body", [b"{}", b'{"message": 5}', b"x", b'{"message": {}, "finish_reason": "TIMEOUT"}']
)
def test_what_is_no_answer_is_not_taken_for_one(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        COHERE.answer(asked(), body)
