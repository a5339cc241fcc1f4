"""The simulator in conversation, and as an embedder: what clients can try on it is what they know."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from app.config.providers import SimulatorProvider as Settings
from app.core.reply import Chunk, StreamEnd
from app.openai.chat.answer import read_answer
from app.openai.chat.replay import ChatAssembly
from app.openai.chat.request import ChatRequest, parse
from app.openai.chat.stream import ChatStreamShaper
from app.openai.embeddings.answer import read_answer as read_embeddings
from app.openai.embeddings.answer import to_base64, vectors_of
from app.openai.embeddings.request import parse as parse_embeddings
from app.providers.base import UpstreamCall
from app.providers.simulator.provider import SimulatorProvider

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "deep": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
}
MADE = {"city": "simulated", "days": 7, "tags": ["a"], "deep": True}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
OTHER = {"type": "function", "function": {"name": "other"}}
SAMPLE = {"type": "custom", "custom": {"name": "shell"}}
USER = {"role": "user", "content": "Is it raining?"}
NOW = 1_700_000_000


class Shaped:
    """What a caller would get of the stream."""

    def __init__(self, request: ChatRequest) -> None:
        self._shaper = ChatStreamShaper(request, "s", NOW)
        self._assembly = ChatAssembly()
        self.end: StreamEnd | None = None

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        for chunk in chunks:
            before = chunk.payload
            shaped = self._shaper.shape(chunk)
            if shaped is not None:
                assert shaped.payload == before  # nothing had to be mended
                self._assembly.add([shaped])
        if done:
            self.end = self._shaper.end(said_done=True)

    @property
    def body(self) -> dict[str, Any]:
        assert self.end is not None
        found: dict[str, Any] = orjson.loads(self._assembly.body(self.end))
        return found


def chat(stream: bool = False, **members: Any) -> dict[str, Any]:
    """The simulator's answer, plain or joined from its stream."""
    body = {"model": "m", "messages": [USER], "temperature": 0, "stream": stream} | members
    request = parse(orjson.dumps(body))
    call, provider = UpstreamCall("chat", request, "s"), SimulatorProvider("trial", Settings())
    if stream:
        sink = Shaped(request)
        asyncio.run(provider.stream(call, sink))
        return sink.body
    answered = asyncio.run(provider.answer(call))
    assert read_answer(answered, request, "s", NOW).body == answered  # nothing had to be mended
    found: dict[str, Any] = orjson.loads(answered)
    return found


def choice(**members: Any) -> dict[str, Any]:
    found: dict[str, Any] = chat(**members)["choices"][0]
    return found


ASKED: list[dict[str, Any]] = [
    {},
    {"n": 3, "temperature": 1},
    {"max_tokens": 5},
    {"logprobs": True, "top_logprobs": 2},
    {"tools": [TOOL, OTHER]},
    {"tools": [SAMPLE]},
    {"functions": [TOOL["function"]]},
    {"response_format": {"type": "json_object"}},
]


@pytest.mark.parametrize("members", ASKED)
def test_a_stream_says_what_a_plain_answer_says(members: dict[str, Any]) -> None:
    plain, streamed = chat(**members), chat(stream=True, **members)
    for document in (plain, streamed):
        for each in document["choices"]:
            for call in each["message"].get("tool_calls", ()):
                call.pop("id")
    assert streamed["choices"] == plain["choices"]
    assert streamed["usage"] == plain["usage"]


def test_a_limit_is_kept_under_either_name() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        found = chat(**{name: 3})
        assert found["usage"]["completion_tokens"] == 3
        assert found["choices"][0]["finish_reason"] == "length"
    assert choice()["finish_reason"] == "stop"


def test_the_same_question_has_the_same_answer() -> None:
    assert choice()["message"] == choice()["message"]
    other = [{"role": "user", "content": "Something else"}]
    assert choice(messages=other)["message"] != choice()["message"]


def test_it_calls_a_tool_and_then_answers_in_words() -> None:
    called = choice(tools=[TOOL, OTHER])
    assert called["finish_reason"] == "tool_calls"
    [call] = called["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert orjson.loads(call["function"]["arguments"]) == MADE
    answered = [
        USER,
        called["message"],
        {"role": "tool", "tool_call_id": call["id"], "content": "yes"},
    ]
    assert choice(messages=answered, tools=[TOOL])["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("tool_choice", "name"),
    [
        ("auto", "weather"),
        ("required", "weather"),
        ("none", None),
        ({"type": "function", "function": {"name": "other"}}, "other"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "other"}}],
                },
            },
            "other",
        ),
    ],
)
def test_the_choice_of_a_tool_is_followed(tool_choice: Any, name: str | None) -> None:
    message = choice(tools=[TOOL, OTHER], tool_choice=tool_choice)["message"]
    called = [call["function"]["name"] for call in message.get("tool_calls", ())]
    assert called == ([name] if name else [])


def test_json_of_the_form_asked_for() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    assert orjson.loads(choice(response_format=form)["message"]["content"]) == MADE
    plain = choice(response_format={"type": "json_object"})
    assert orjson.loads(plain["message"]["content"])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9},
        {"properties": {"a": {"$ref": "#"}}},
        {"type": ["string", "null"]},
        {"const": 5},
        {"anyOf": []},
        {"type": 5},
    ],
)
def test_an_odd_schema_is_no_accident(schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert len(choice(response_format=form)["message"]["content"]) < 1000


def test_a_schema_within_itself_comes_to_an_end() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    for _ in range(40):
        schema = {"type": "object", "properties": {"a": schema}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert choice(response_format=form)["message"]["content"].endswith("}")


def embeddings(given: Any, **members: Any) -> list[list[float]]:
    body = {"model": "m", "input": given} | members
    request = parse_embeddings(orjson.dumps(body))
    call = UpstreamCall("embeddings", request, "s")
    answered = asyncio.run(SimulatorProvider("trial", Settings()).answer(call))
    return vectors_of(read_embeddings(answered, request, "s", NOW).body)


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_vectors_have_length_one_and_the_dimensions_asked_for() -> None:
    for vector in embeddings(["a b c", "", "d"][::2], dimensions=7):
        assert len(vector) == 7
        assert math.isclose(cosine(vector, vector), 1)


def test_texts_that_share_words_are_nearer() -> None:
    rain, wet, other = embeddings(["will it rain today", "will it rain tomorrow", "buy cheese"])
    assert cosine(rain, wet) > cosine(rain, other)
    assert embeddings("will it rain today") == [rain]


def test_base64_says_the_same() -> None:
    [numbers] = embeddings("a")
    [packed] = embeddings("a", encoding_format="base64")
    assert to_base64(numbers) == to_base64(packed)
