"""Chat and embeddings on every kind of provider, over real sockets: every recorded answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.providers.replay import replaying
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.recordings import Recording, fits, recordings, seen_plain, seen_streamed
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream

KINDS = {
    "anthropic.messages": "anthropic",
    "gemini.generateContent": "gemini",
    "vertex.generateContent": "gemini",
    "bedrock.converse": "bedrock",
    "mistral.chat": "mistral",
    "cohere.chat": "cohere",
    "azure.chat": "azure",
    "groq.chat": "groq",
    "openrouter.chat": "openrouter",
    "openai.chat": "openai",
    "deepseek.chat": "deepseek",
    "cerebras.chat": "cerebras",
    "ollama.chat": "ollama",
    "huggingface.chat": "openai",
    "zai.chat": "openai",
    "gemini.chat": "openai",
}
EMBEDDINGS = {
    "openai.embeddings": "openai",
    "azure.embeddings": "azure",
    "gemini.embeddings": "gemini",
    "mistral.embeddings": "mistral",
    "cohere.embeddings": "cohere",
    "bedrock.invoke": "bedrock-cohere",
    "voyage.embeddings": "openai",
}


def of_shape(*shapes: str) -> list[Recording]:
    return [r for r in recordings(*KINDS) if r.expect["shape"] in shapes]


def ask(gateway: Gateway, recording: Recording, **members: Any) -> Reply:
    body = {
        "model": KINDS[recording.endpoint],
        "messages": [{"role": "user", "content": "Hello"}],
        "n": max(1, len(recording.expect.get("choices") or ())),
    }
    if recording.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return send(gateway, "/v1/chat/completions", body | members)


def send(gateway: Gateway, path: str, body: dict[str, Any]) -> Reply:
    headers = {"content-type": "application/json"}
    return gateway.ask("POST", path, headers=headers, content=json.dumps(body).encode())


def replay(upstream: Upstream, recording: Recording, pieces: int = 1) -> None:
    for model in ("m", "None"):  # some providers name it in the path
        upstream.on(model, replaying(recording, pieces))


@pytest.mark.parametrize("recording", of_shape("chat"), ids=lambda r: r.name)
def test_a_recorded_answer_is_what_an_openai_client_should_see(
    gateway: Gateway, upstream: Upstream, recording: Recording
) -> None:
    replay(upstream, recording, pieces=9)
    reply = ask(gateway, recording)
    assert reply.status == 200, reply.body
    seen = seen_streamed(reply.chunks) if recording.stream else seen_plain(reply.document)
    assert fits(seen["choices"], recording.expect["choices"])
    if recording.expect["usage"] is not None:
        assert fits(seen["usage"], recording.expect["usage"])


@pytest.mark.parametrize("recording", of_shape("error", "broken"), ids=lambda r: r.name)
def test_a_recorded_refusal_is_in_our_envelope(
    gateway: Gateway, upstream: Upstream, recording: Recording
) -> None:
    replay(upstream, recording)
    reply = ask(gateway, recording)
    expected = recording.expect["status"]
    if reply.status == 200:  # it broke after its first event
        assert not reply.done
        assert b'"error"' in reply.payloads[-1]
        return
    assert reply.status in (expected if isinstance(expected, list) else [expected])
    assert reply.error["message"]


@pytest.mark.parametrize("pieces", [1, 5, 60])
@pytest.mark.parametrize("recording", of_shape("cut", "stream_error"), ids=lambda r: r.name)
def test_a_stream_that_breaks_ends_with_an_error_and_without_an_end_mark(
    gateway: Gateway, upstream: Upstream, recording: Recording, pieces: int
) -> None:
    replay(upstream, recording, pieces)
    reply = ask(gateway, recording)
    assert reply.status == 200
    assert not reply.done
    assert json.loads(reply.payloads[-1])["error"]["code"]


@pytest.mark.parametrize("recording", of_shape("blocked"), ids=lambda r: r.name)
def test_a_blocked_prompt_is_an_empty_choice_of_the_filter(
    gateway: Gateway, upstream: Upstream, recording: Recording
) -> None:
    replay(upstream, recording)
    reply = ask(gateway, recording)
    assert [c["finish_reason"] for c in reply.document["choices"]] == ["content_filter"]
    assert fits(reply.document["usage"], recording.expect["usage"])


@pytest.mark.parametrize(
    "recording",
    [r for r in recordings(*EMBEDDINGS) if r.expect["shape"] != "chat"],
    ids=lambda r: r.name,
)
def test_recorded_embeddings_are_vectors(
    gateway: Gateway, upstream: Upstream, recording: Recording
) -> None:
    replay(upstream, recording)
    expected = recording.expect.get("vectors") or [{}]
    inputs = [f"text {place}" for place in range(len(expected))]
    body = {"model": EMBEDDINGS[recording.endpoint], "input": inputs}
    reply = send(gateway, "/v1/embeddings", body)
    assert reply.status == recording.expect["status"], reply.body
    if recording.expect["shape"] == "error":
        assert reply.error["message"]
        return
    for item, vector in zip(reply.document["data"], expected, strict=True):
        assert len(item["embedding"]) == vector["dimensions"]
        assert item["embedding"][:4] == pytest.approx(vector["first"], abs=1e-6)
    if recording.expect["usage"]:
        assert fits(reply.document["usage"], recording.expect["usage"])


@pytest.mark.parametrize("kind", ["gemini", "mistral", "azure"])
def test_a_client_that_asks_for_base64_gets_it_whatever_the_provider_gives(
    gateway: Gateway, upstream: Upstream, kind: str
) -> None:
    recording = next(r for r in recordings(f"{kind}.embeddings") if r.status == 200)
    replay(upstream, recording)
    body = {"model": kind, "input": "text", "encoding_format": "base64"}
    reply = send(gateway, "/v1/embeddings", body)
    assert reply.status == 200, reply.body
    assert isinstance(reply.document["data"][0]["embedding"], str)


def test_a_batch_over_geminis_limit_is_sent_in_parts(gateway: Gateway, upstream: Upstream) -> None:
    async def embed(request: Request, wire: Wire) -> None:
        texts = [r["content"]["parts"][0]["text"] for r in request.document["requests"]]
        vectors = [{"values": [float(text), 0.0]} for text in texts]
        await wire.answer(
            {"embeddings": vectors, "usageMetadata": {"promptTokenCount": len(texts)}}
        )

    upstream.on("None", embed)
    inputs = [str(place) for place in range(130)]
    reply = send(gateway, "/v1/embeddings", {"model": "gemini", "input": inputs})
    assert [item["embedding"][0] for item in reply.document["data"]] == list(range(130))
    assert sorted(len(r.document["requests"]) for r in upstream.requests) == [30, 100]
    assert reply.document["usage"]["prompt_tokens"] == 130


@pytest.mark.parametrize(
    ("kind", "members", "place"),
    [
        ("anthropic", {"n": 2}, "n"),
        ("anthropic", {"logprobs": True}, "logprobs"),
        ("gemini", {"logit_bias": {"1": 1}}, "logit_bias"),
        ("bedrock", {"seed": 1}, "seed"),
        ("mistral", {"user": "u"}, "user"),
        ("groq", {"n": 2}, "n"),
        ("bedrock", {"min_p": 0.1}, "min_p"),
    ],
)
def test_what_a_provider_cannot_honour_is_refused_by_name_before_any_call(
    gateway: Gateway, upstream: Upstream, kind: str, members: dict[str, Any], place: str
) -> None:
    body = {"model": kind, "messages": [{"role": "user", "content": "Hello"}]} | members
    reply = send(gateway, "/v1/chat/completions", body)
    assert (reply.status, reply.error["code"]) == (400, "unsupported_parameter")
    assert reply.error["param"] == place
    assert upstream.requests == []
