"""Anthropic's recorded answers, through chat and back: what a caller of Messages gets is what was said.

The translation of the provider and the one of the endpoint were written apart; each is the other's
referee here. So are the recordings' own bytes.
"""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from app.messages.answer import message, usage_of
from app.messages.events import MessageEvents
from app.messages.request import parse_messages
from app.openai.chat.answer import read_answer
from app.openai.chat.replay import ChatAssembly
from app.openai.chat.stream import ChatStreamShaper
from tests.app.messages.reading import read_events
from tests.app.providers.translation.test_recordings import PLAIN, STREAMS, TRANSLATIONS, asked_of
from tests.harness.recordings import Recording

REQUEST = parse_messages(
    orjson.dumps(
        {
            "model": "m",
            "max_tokens": 9,
            "stream": True,
            "messages": [{"role": "user", "content": "x"}],
        }
    )
)
KINDS = ("text", "thinking", "redacted_thinking", "tool_use")
OWN_PLAIN = [r for r in PLAIN if r.endpoint == "anthropic.messages"]
OWN_STREAMS = [r for r in STREAMS if r.endpoint == "anthropic.messages"]


def said_by(whole: dict[str, Any]) -> dict[str, Any]:
    """A message without what only its provider could have done: its own tools, empty texts."""
    blocks = [b for b in whole["content"] if b["type"] in KINDS and b.get("text") != ""]
    texts = "".join(block["text"] for block in blocks if block["type"] == "text")
    tools = [
        {name: block[name] for name in ("id", "name", "input")}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    thoughts = [
        (block.get("thinking"), block.get("signature"), block.get("data"))
        for block in blocks
        if block["type"].endswith("thinking")
    ]
    return {"texts": texts, "tools": tools, "thoughts": thoughts}


def streamed(recording: Recording, cuts: list[int]) -> tuple[dict[str, Any], StreamEnd]:
    translator = TRANSLATIONS[recording.endpoint].translator(asked_of(recording), 1 << 20)
    shaper = ChatStreamShaper(REQUEST, "m", 1)
    encoding = MessageEvents(REQUEST, "id-1")
    edges = sorted({cut % (len(recording.body) + 1) for cut in cuts} | {0, len(recording.body)})
    written = b""
    for start, end in itertools.pairwise(edges):
        chunks = map(Chunk.of, translator.take(recording.body[start:end]))
        shaped = [shaper.shape(chunk) for chunk in chunks]
        written += encoding.events([chunk for chunk in shaped if chunk is not None])
    ended = shaper.end(said_done=True)
    written += encoding.end(ended)
    return read_events(written), ended


@pytest.mark.parametrize("recording", OWN_PLAIN, ids=lambda r: r.name)
def test_a_message_comes_back_as_it_was(recording: Recording) -> None:
    translated = TRANSLATIONS[recording.endpoint].answer(asked_of(recording), recording.body)
    answer = read_answer(orjson.dumps(translated), REQUEST, "m", 1)
    found, own = orjson.loads(message(answer.body, REQUEST)), orjson.loads(recording.body)
    assert said_by(found) == said_by(own)
    assert found["id"] == own["id"]
    wanted = {"stop_sequence": "end_turn"}.get(own["stop_reason"], own["stop_reason"])
    assert found["stop_reason"] == wanted
    counted = ("input_tokens", "output_tokens", "cache_read_input_tokens")
    assert {n: found["usage"][n] for n in counted} == {n: own["usage"].get(n, 0) for n in counted}


@pytest.mark.parametrize("recording", OWN_STREAMS, ids=lambda r: r.name)
@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(min_value=0), max_size=30))
def test_a_stream_of_events_comes_back_as_it_was(recording: Recording, cuts: list[int]) -> None:
    found, ended = streamed(recording, cuts)
    own = read_events(recording.body)
    assert said_by(found) == said_by(own)
    assert found["stop_reason"] == own["stop_reason"]
    assert found["usage"] == usage_of(ended.usage)


@pytest.mark.parametrize(
    "recording", [r for r in STREAMS if r not in OWN_STREAMS], ids=lambda r: r.name
)
def test_the_stream_of_any_provider_says_what_its_plain_answer_would(recording: Recording) -> None:
    translator = TRANSLATIONS[recording.endpoint].translator(asked_of(recording), 1 << 20)
    shaper = ChatStreamShaper(REQUEST, "m", 1)
    encoding, assembly = MessageEvents(REQUEST, "id-1"), ChatAssembly()
    chunks = [*map(Chunk.of, [*translator.take(recording.body), *translator.end()])]
    shaped = [chunk for chunk in map(shaper.shape, chunks) if chunk is not None]
    assembly.add(shaped)
    ended = shaper.end(said_done=True)
    found = read_events(encoding.events(shaped) + encoding.end(ended))
    plain = orjson.loads(message(assembly.body(ended), REQUEST))
    assert said_by(found) == said_by(plain)
    assert {n: found[n] for n in ("stop_reason", "usage")} == {
        n: plain[n] for n in ("stop_reason", "usage")
    }


@given(st.builds(Usage, *[st.integers(0, 10**6)] * 2), st.integers(0, 9), st.integers(0, 9))
def test_no_token_of_the_prompt_is_counted_twice(usage: Usage, cached: int, written: int) -> None:
    whole = usage._replace(
        prompt_tokens=usage.prompt_tokens + cached + written,
        cached_tokens=cached,
        cache_write_tokens=written,
    )
    found = usage_of(whole)
    assert sum(value for name, value in found.items() if "input" in name) == whole.prompt_tokens
