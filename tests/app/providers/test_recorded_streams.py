"""Recorded streams of OpenAI's form, cut at any byte: what the caller reads does not change.

Over the decoding and the shaping that the gateway does; ``tests/e2e/providers`` has the sockets.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.config.providers import GroqProvider as GroqSettings
from app.config.providers import OpenAIProvider as OpenAISettings
from app.config.providers import OpenRouterProvider as OpenRouterSettings
from app.core.errors import UpstreamError
from app.core.reply import Chunk
from app.core.usage import read_usage
from app.openai.chat.request import parse
from app.openai.chat.stream import ChatStreamShaper
from app.openai.sse import EventParser
from app.providers.openai import OpenAIProvider, decoded
from app.providers.presets import GroqProvider, OpenRouterProvider
from tests.harness.recordings import Recording, fits, recordings, seen_streamed

BODY = b'{"model": "m", "stream": true, "n": %d, "messages": [{"role": "user", "content": "x"}]}'
KINDS: dict[str, Callable[[], OpenAIProvider]] = {
    "groq.chat": lambda: GroqProvider("p", GroqSettings()),
    "openrouter.chat": lambda: OpenRouterProvider("p", OpenRouterSettings()),
}
ENDPOINTS = (
    *("openai.chat", "azure.chat", "groq.chat", "openrouter.chat", "huggingface.chat"),
    *("deepseek.chat", "cerebras.chat", "ollama.chat", "zai.chat", "gemini.chat"),
)
STREAMS = [r for r in recordings(*ENDPOINTS) if r.stream and r.status == 200]
WHOLE = [r for r in STREAMS if r.expect["shape"] == "chat"]
BROKEN = [r for r in STREAMS if r.expect["shape"] in ("cut", "stream_error")]


def read(recording: Recording, cuts: Sequence[int]) -> tuple[list[dict[str, Any]], Any]:
    """The chunks that a caller gets, and how it ended; raises UpstreamError where it broke."""
    request = parse(BODY % max(1, len(recording.expect.get("choices") or ())))
    shaper, parser = ChatStreamShaper(request, "m", 1), EventParser(1 << 20)
    provider = KINDS.get(
        recording.endpoint, lambda: OpenAIProvider("p", OpenAISettings("http://x/v1"))
    )()
    edges = sorted({cut % (len(recording.body) + 1) for cut in cuts} | {0, len(recording.body)})
    chunks: list[dict[str, Any]] = []
    done = False
    for start, end in itertools.pairwise(edges):
        found, done, broken = decoded(parser, recording.body[start:end])
        for chunk in provider.mended(found):
            shaped = shaper.shape(Chunk(chunk.payload, chunk.document))
            if shaped is not None:
                chunks.append(shaped.document)
        if broken is not None:
            raise broken
        if done:
            break
    return chunks, shaper.end(said_done=done)


@pytest.mark.parametrize("recording", WHOLE, ids=lambda r: r.name)
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(min_value=0), max_size=40))
def test_a_stream_says_the_same_however_its_bytes_are_cut(
    recording: Recording, cuts: list[int]
) -> None:
    chunks, end = read(recording, cuts)
    said = seen_streamed([*chunks, {"choices": [], **end.members}])
    assert fits(said["choices"], recording.expect["choices"])
    if recording.expect["usage"] is not None:
        assert fits(said["usage"], recording.expect["usage"])
    assert read_usage(end.members["usage"]) == end.usage._replace(estimated=False)


@pytest.mark.parametrize("recording", BROKEN, ids=lambda r: r.name)
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(min_value=0), max_size=40))
def test_a_broken_stream_never_looks_whole(recording: Recording, cuts: list[int]) -> None:
    with pytest.raises(UpstreamError):
        read(recording, cuts)
