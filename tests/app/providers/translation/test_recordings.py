"""Every recorded answer of a translated provider, whole and cut at any byte.

The recordings and their sources stand in ``tests/recordings``.
"""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers.anthropic.translation import AnthropicTranslation
from app.providers.bedrock.translation import BedrockTranslation
from app.providers.cohere.translation import CohereTranslation
from app.providers.gemini.translation import GeminiTranslation
from app.providers.mistral.translation import MistralTranslation
from app.providers.translation.base import Asked
from tests.harness.recordings import Recording, fits, joined, recordings, seen_plain, seen_streamed

TRANSLATIONS = {
    "anthropic.messages": AnthropicTranslation(),
    "gemini.generateContent": GeminiTranslation(),
    "vertex.generateContent": GeminiTranslation(),
    "bedrock.converse": BedrockTranslation(),
    "mistral.chat": MistralTranslation(),
    "cohere.chat": CohereTranslation(),
}
# Where Claude is asked through InvokeModel, Bedrock gives Anthropic's own answer. The gateway asks it
# through Converse; the recording shows that the translation reads this one too.
INVOKED = [r for r in recordings("bedrock.invoke") if r.expect["shape"] == "chat"]
GOOD = [r for r in (*recordings(*TRANSLATIONS), *INVOKED) if r.status == 200]
TRANSLATIONS["bedrock.invoke"] = AnthropicTranslation()
PLAIN = [r for r in GOOD if not r.stream]
STREAMS = [r for r in GOOD if r.stream]
EMBEDDINGS = {
    "gemini.embeddings": GeminiTranslation(),
    "mistral.embeddings": MistralTranslation(),
    "cohere.embeddings": CohereTranslation(),
}


def asked_of(recording: Recording, operation: str = "chat") -> Asked:
    document = {"messages": [], "stream": recording.stream}
    return Asked(operation, document, "asked-for", now=1_700_000_000)  # type: ignore[arg-type]


def chunks_of(recording: Recording, cuts: list[int]) -> list[dict]:
    translator = TRANSLATIONS[recording.endpoint].translator(asked_of(recording), 1 << 20)
    edges = sorted({cut % (len(recording.body) + 1) for cut in cuts} | {0, len(recording.body)})
    chunks = []
    for start, end in itertools.pairwise(edges):
        chunks += translator.take(recording.body[start:end])
    chunks += translator.end()
    assert translator.broken is None
    assert translator.done
    return chunks


@pytest.mark.parametrize("recording", PLAIN, ids=lambda r: r.name)
def test_a_plain_answer_is_what_an_openai_client_should_see(recording):
    document = TRANSLATIONS[recording.endpoint].answer(asked_of(recording), recording.body)
    seen = seen_plain(document)
    if recording.expect["shape"] == "blocked":
        assert [c["finish_reason"] for c in seen["choices"]] == ["content_filter"]
        assert fits(seen["usage"], recording.expect["usage"])
        return
    assert fits(seen, {name: recording.expect[name] for name in ("choices", "usage")})


@pytest.mark.parametrize("recording", STREAMS, ids=lambda r: r.name)
@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(min_value=0), max_size=40))
def test_a_stream_says_the_same_however_its_bytes_are_cut(recording, cuts):
    chunks = chunks_of(recording, cuts)
    assert fits(
        seen_streamed(chunks), {name: recording.expect[name] for name in ("choices", "usage")}
    )


@pytest.mark.parametrize("recording", STREAMS, ids=lambda r: r.name)
def test_a_stream_has_one_usage_and_its_role_first(recording):
    chunks = chunks_of(recording, [])
    told = [chunk for chunk in chunks if chunk.get("usage")]
    assert len(told) <= 1, "usage told twice would be summed by whoever adds chunks up"
    first = next(chunk for chunk in chunks if chunk["choices"])
    assert first["choices"][0]["delta"].get("role") == "assistant"
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    json.dumps(chunks, allow_nan=False)


@pytest.mark.parametrize("recording", STREAMS, ids=lambda r: r.name)
def test_a_stream_that_is_cut_in_its_middle_is_broken(recording):
    translator = TRANSLATIONS[recording.endpoint].translator(asked_of(recording), 1 << 20)
    whole = joined(chunks_of(recording, []))
    chunks = translator.take(recording.body[: len(recording.body) // 3])
    chunks += translator.end()
    finished = any(choice["finish_reason"] for choice in joined(chunks)["choices"].values())
    assert translator.broken is not None
    assert not translator.done
    assert not finished
    assert whole["choices"]


@pytest.mark.parametrize("recording", recordings(*EMBEDDINGS), ids=lambda r: r.name)
def test_embeddings_are_vectors_in_input_order(recording):
    asked = asked_of(recording, "embeddings")
    document = EMBEDDINGS[recording.endpoint].answer(asked, recording.body)
    expected = recording.expect["vectors"]
    assert len(document["data"]) == len(expected)
    for item, vector in zip(document["data"], expected, strict=True):
        assert len(item["embedding"]) == vector["dimensions"]
        assert item["embedding"][:4] == pytest.approx(vector["first"])
        assert sum(item["embedding"]) == pytest.approx(vector["sum"])
    assert document.get("usage") == recording.expect["usage"]
