"""Recorded answers of real providers through the cache's two shapes: nothing of them is lost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.reply import Chunk, StreamEnd
from app.openai import lenient_json, sse
from app.openai.chat.answer import read_answer
from app.openai.chat.replay import ChatAssembly, replay
from app.openai.chat.request import ChatRequest
from tests.app.openai.chat.chatting import NOW, request, shaped
from tests.harness.recordings import Recording, fits, recordings, seen_plain, seen_streamed

NATIVE = [
    f"{kind}.chat"
    for kind in "openai azure deepseek cerebras ollama huggingface zai openrouter gemini groq".split()
]
ANSWERED = [one for one in recordings(*NATIVE) if one.expect["shape"] == "chat"]
PLAIN = [one for one in ANSWERED if not one.stream]
# Groq says its usage elsewhere on streams, which is its own provider's affair.
STREAMED = [one for one in ANSWERED if one.stream and not one.endpoint.startswith("groq")]


def asked(recording: Recording) -> ChatRequest:
    return request(stream=recording.stream, n=len(recording.expect["choices"]))


def plain_of(chunks: list[Chunk], end: StreamEnd) -> dict[str, Any]:
    assembly = ChatAssembly()
    assembly.add(chunks)
    found: dict[str, Any] = orjson.loads(assembly.body(end))
    return found


def said(message: dict[str, Any]) -> dict[str, Any]:
    """A message without the members that say nothing, such as ``tool_calls: []``."""
    for call in message.get("tool_calls") or ():
        call.pop("index", None)
    return {name: value for name, value in message.items() if value not in (None, "", [])}


@pytest.mark.parametrize("recording", PLAIN, ids=lambda one: one.name)
def test_a_plain_answer_survives_being_streamed(recording: Recording) -> None:
    answer = read_answer(recording.body, asked(recording), "m", NOW)
    document = orjson.loads(answer.body)
    chunks, end = replay(answer.body)
    assert fits(seen_streamed([c.document for c in chunks])["choices"], recording.expect["choices"])
    again = plain_of(chunks, end)
    for before, after in zip(document["choices"], again["choices"], strict=True):
        assert said(after["message"]) == said(before["message"])
        assert after["finish_reason"] == before["finish_reason"]
    assert again["usage"] == document["usage"]


@pytest.mark.parametrize("recording", STREAMED, ids=lambda one: one.name)
def test_a_stream_is_one_plain_answer_and_again_a_stream(recording: Recording) -> None:
    payloads = sse.EventParser(1 << 20).feed(recording.body)
    events = [lenient_json.decode(one) for one in payloads if one != sse.DONE]
    chunks, end = shaped(events, asked(recording))
    assert isinstance(end, StreamEnd)
    plain = plain_of(chunks, end)
    assert fits(seen_plain(plain)["choices"], recording.expect["choices"])
    if recording.expect["usage"] is not None:
        assert fits(seen_plain(plain)["usage"], recording.expect["usage"])
    again, _ = replay(orjson.dumps(plain))
    streamed = seen_streamed([chunk.document for chunk in again])
    assert streamed["choices"] == seen_streamed([c.document for c in chunks])["choices"]
