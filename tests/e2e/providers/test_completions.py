"""Text completions on every kind of provider, over real sockets: recorded answers over the bridge."""

from __future__ import annotations

import json

import pytest

from tests.e2e.providers.replay import replaying
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.recordings import Recording, fits, recordings
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream

KINDS = {
    "anthropic.messages": "anthropic",
    "gemini.generateContent": "gemini",
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
}
SPOKEN = [
    recording
    for recording in recordings(*KINDS)
    if recording.expect["shape"] == "chat"
    and all(
        choice["content"] and not choice["tool_calls"] for choice in recording.expect["choices"]
    )
    and len(recording.expect["choices"]) == 1
]


def replay(upstream: Upstream, recording: Recording, pieces: int = 1) -> None:
    """Whatever model is asked for: some providers name it in the path."""
    for model in ("m", "None", "codestral-latest", "deepseek-chat"):
        upstream.on(model, replaying(recording, pieces))


# Recorded at OpenAI's own endpoint, where prompts, token ids and batches are answered as they are.
NATIVE = recordings("openai.completions")


def ask_natively(gateway: Gateway, upstream: Upstream, recording: Recording) -> Reply:
    """What a caller gets who asks what was asked when the answer was recorded."""
    upstream.on("m", replaying(recording, pieces=7))
    members = {**recording.asked, "model": "native"}
    if recording.status != 200:  # the gateway itself refuses what OpenAI refused
        members = {"model": "native", "prompt": "x"}
    if recording.stream and recording.expect["usage"]:
        members["stream_options"] = {"include_usage": True}
    headers = {"content-type": "application/json"}
    return gateway.ask("POST", "/v1/completions", KEY, headers, json.dumps(members).encode())


@pytest.mark.parametrize("recording", NATIVE, ids=lambda r: r.name)
def test_a_recorded_completion_is_what_its_caller_gets(
    gateway: Gateway, upstream: Upstream, recording: Recording
) -> None:
    reply = ask_natively(gateway, upstream, recording)
    assert reply.status == recording.expect["status"], reply.body
    if recording.expect["shape"] == "error":
        assert reply.error["message"]
        return
    expected = {choice["index"]: choice for choice in recording.expect["choices"]}
    if recording.stream:
        assert reply.streamed_texts() == {at: choice["text"] for at, choice in expected.items()}
        found = [c for chunk in reply.chunks for c in chunk["choices"] if c["finish_reason"]]
    else:
        found = reply.document["choices"]
        assert {c["index"]: c["text"] for c in found} == {
            at: choice["text"] for at, choice in expected.items()
        }
        assert fits(reply.document["usage"], recording.expect["usage"])
        assert all(bool(c["logprobs"]) == expected[c["index"]]["logprobs"] for c in found)
    reasons = {c["index"]: c["finish_reason"] for c in found}
    assert reasons == {at: choice["finish_reason"] for at, choice in expected.items()}


@pytest.mark.parametrize("recording", SPOKEN, ids=lambda r: r.name)
def test_a_recorded_answer_is_a_completion(
    gateway: Gateway, upstream: Upstream, recording: Recording
) -> None:
    replay(upstream, recording, pieces=7)
    reply = gateway.complete(model=KINDS[recording.endpoint], stream=recording.stream)
    assert reply.status == 200, reply.body
    (choice,) = recording.expect["choices"]
    if recording.stream:
        assert reply.streamed_texts() == {0: choice["content"]}
        reasons = [c["finish_reason"] for chunk in reply.chunks for c in chunk["choices"]]
        assert [reason for reason in reasons if reason] == [choice["finish_reason"]]
    else:
        assert reply.texts == [choice["content"]]
        assert reply.document["choices"][0]["finish_reason"] == choice["finish_reason"]
        assert fits(reply.document["usage"], recording.expect["usage"])
    (asked,) = upstream.requests
    assert "headgate" in asked.headers["user-agent"]


@pytest.mark.parametrize("kind", ["anthropic", "gemini", "bedrock"])
def test_choices_and_prompts_are_calls_of_their_own(
    gateway: Gateway, upstream: Upstream, kind: str
) -> None:
    endpoint = next(endpoint for endpoint, name in KINDS.items() if name == kind)
    recording = next(r for r in SPOKEN if r.endpoint == endpoint and not r.stream)
    replay(upstream, recording)
    reply = gateway.complete(model=kind, prompt=["a", "b"], n=2)
    (choice,) = recording.expect["choices"]
    assert reply.texts == [choice["content"]] * 4
    assert [c["index"] for c in reply.document["choices"]] == [0, 1, 2, 3]
    assert len(upstream.requests) == 4
    expected = recording.expect["usage"]["completion_tokens"]
    assert reply.document["usage"]["completion_tokens"] == 4 * expected


@pytest.mark.parametrize(
    ("kind", "members", "place"),
    [
        ("anthropic", {"seed": 1}, "seed"),
        ("anthropic", {"presence_penalty": 1}, "presence_penalty"),
        ("gemini", {"logit_bias": {"1": 1}}, "logit_bias"),
        ("bedrock", {"logprobs": 1}, "logprobs"),
        ("groq", {"logprobs": 1}, "logprobs"),
        ("anthropic", {"best_of": 3}, "best_of"),
        ("anthropic", {"suffix": "x"}, "suffix"),
        ("gemini", {"min_p": 0.1}, "min_p"),
    ],
)
def test_what_a_provider_cannot_honour_is_refused_by_name_before_any_call(
    gateway: Gateway, upstream: Upstream, kind: str, members: dict, place: str
) -> None:
    reply = gateway.complete(model=kind, **members)
    assert reply.status == 400
    assert reply.error["code"] == "unsupported_parameter"
    assert reply.error["param"] == place
    assert upstream.requests == []


def test_a_signed_request_reaches_bedrocks_path_as_it_was_signed(
    gateway: Gateway, upstream: Upstream
) -> None:
    recording = next(r for r in SPOKEN if r.endpoint == "bedrock.converse" and not r.stream)
    replay(upstream, recording)
    assert gateway.complete(model="signed").status == 200
    request = upstream.request
    assert request.target == "/model/m/converse"
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")


@pytest.mark.parametrize(
    "recording",
    [r for r in recordings(*KINDS) if r.expect["shape"] == "error"],
    ids=lambda r: r.name,
)
def test_a_recorded_refusal_is_in_our_envelope(
    gateway: Gateway, upstream: Upstream, recording: Recording
) -> None:
    replay(upstream, recording)
    reply = gateway.complete(model=KINDS[recording.endpoint])
    assert reply.status == recording.expect["status"]
    assert reply.error["message"]


def test_a_stream_that_is_cut_has_no_end_mark(gateway: Gateway, upstream: Upstream) -> None:
    recording = next(r for r in SPOKEN if r.endpoint == "bedrock.converse" and r.stream)
    upstream.on("None", replaying(recording._replace(body=recording.body[:-600])))
    reply = gateway.complete(model="bedrock", stream=True)
    assert not reply.done
    assert b'"error"' in reply.payloads[-1]
