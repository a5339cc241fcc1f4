"""Every kind of provider: where it asks, with which key, and what it makes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import orjson
import pytest

from app.config import providers as kinds
from app.config.values.quantities import Secret
from app.core.errors import InvalidRequest, UpstreamInvalid
from app.core.reply import Chunk
from app.core.request import UpstreamRequest
from app.providers.base import UpstreamCall
from app.providers.client import client as client_room
from app.providers.kinds import KINDS
from tests.harness.recordings import fits, recordings, seen_plain, seen_streamed

HELLO = [{"role": "user", "content": "Hello"}]
KEY = "the-providers-own-key"


class Request(UpstreamRequest):
    """An OpenAI-shaped body."""

    def __init__(self, **members: Any) -> None:
        self._members = members

    @property
    def document(self) -> dict[str, Any]:
        return self._members

    @property
    def stream_options(self) -> dict[str, Any]:
        return {}

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        changed = {n: orjson.loads(v) for n, v in (changes or {}).items() if v}
        gone = {n for n, v in (changes or {}).items() if not v}
        kept = {n: v for n, v in self._members.items() if n not in gone}
        return orjson.dumps(kept | {"model": model} | changed)


class Sink:
    """Keeps what a provider writes."""

    def __init__(self) -> None:
        self.documents: list[Any] = []
        self.done = False

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        self.documents += [chunk.document for chunk in chunks]
        self.done = self.done or done


class Packets(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self):
        for start in range(0, len(self._body), 1000):
            yield self._body[start : start + 1000]


class World:
    """A provider of one kind before an upstream that gives one answer."""

    def __init__(
        self, monkeypatch, settings: kinds.HttpProvider, body=b"{}", media="application/json"
    ):
        self.asked: list[httpx.Request] = []
        self._answer = (body, media)
        transport = httpx.MockTransport(self._respond)
        monkeypatch.setattr(client_room, "make_transport", lambda _: transport)
        self.provider = KINDS[type(settings)]("p", settings)

    def _respond(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        body, media = self._answer
        return httpx.Response(200, headers={"content-type": media}, stream=Packets(body))

    def call(self, operation="chat", model="m", **members):
        if operation == "chat":
            members.setdefault("messages", HELLO)
        return UpstreamCall(operation, Request(**members), model)

    def ask(self, operation="chat", model="m", **members):
        call = self.call(operation, model, **members)
        return orjson.loads(asyncio.run(self.provider.answer(call)))

    def stream(self, operation="chat", model="m", **members):
        sink = Sink()
        call = self.call(operation, model, stream=True, **members)
        asyncio.run(self.provider.stream(call, sink))
        return sink


def settings(kind: type, **members: Any) -> Any:
    return kind(api_key=Secret(KEY), **members)


REGION = "eu-central-1"
# Kind, its settings, operation, the address that it asks, the header that has the key.
ADDRESSES = [
    (kinds.AnthropicProvider, {}, "chat", "https://api.anthropic.com/v1/messages", "x-api-key"),
    (kinds.AnthropicProvider, {"base_url": "http://h:1/"}, "chat", "http://h:1/v1/messages", "x-api-key"),
    (kinds.AnthropicProvider, {"base_url": "http://h/a/v1"}, "chat", "http://h/a/v1/messages", "x-api-key"),
    (
        kinds.GeminiProvider, {}, "chat",
        "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
        "x-goog-api-key",
    ),
    (
        kinds.GeminiProvider, {"base_url": "http://h/v1/projects/p/locations/l/publishers/google"},
        "chat", "http://h/v1/projects/p/locations/l/publishers/google/models/m:generateContent",
        "x-goog-api-key",
    ),
    (
        kinds.BedrockProvider, {"region": REGION}, "chat",
        f"https://bedrock-runtime.{REGION}.amazonaws.com/model/m/converse", "authorization",
    ),
    (kinds.MistralProvider, {}, "chat", "https://api.mistral.ai/v1/chat/completions", "authorization"),
    (kinds.CohereProvider, {}, "chat", "https://api.cohere.com/v2/chat", "authorization"),
    (
        kinds.CohereProvider, {"base_url": "http://h"}, "embeddings", "http://h/v2/embed",
        "authorization",
    ),
    (
        kinds.MistralProvider, {"base_url": "http://h"}, "completions",
        "http://h/v1/fim/completions", "authorization",
    ),
    (
        kinds.AzureProvider, {"base_url": "https://r.openai.azure.com/"}, "chat",
        "https://r.openai.azure.com/openai/deployments/m/chat/completions?api-version=2024-10-21",
        "api-key",
    ),
    (
        kinds.AzureProvider, {"base_url": "https://r.openai.azure.com/openai", "api_version": "x"},
        "embeddings", "https://r.openai.azure.com/openai/deployments/m/embeddings?api-version=x",
        "api-key",
    ),
    (
        kinds.AzureProvider, {"base_url": "https://r.openai.azure.com/openai/v1"}, "chat",
        "https://r.openai.azure.com/openai/v1/chat/completions", "api-key",
    ),
    (kinds.DeepSeekProvider, {}, "chat", "https://api.deepseek.com/v1/chat/completions", "authorization"),
    (kinds.DeepSeekProvider, {}, "completions", "https://api.deepseek.com/beta/completions", "authorization"),
    (kinds.GroqProvider, {}, "chat", "https://api.groq.com/openai/v1/chat/completions", "authorization"),
    (kinds.OllamaProvider, {}, "chat", "http://127.0.0.1:11434/v1/chat/completions", "authorization"),
    (kinds.OpenRouterProvider, {}, "chat", "https://openrouter.ai/api/v1/chat/completions", "authorization"),
    (kinds.PerplexityProvider, {}, "chat", "https://api.perplexity.ai/chat/completions", "authorization"),
]  # fmt: skip

ANSWERS = {
    kinds.AnthropicProvider: {"content": [], "stop_reason": "end_turn"},
    kinds.GeminiProvider: {"candidates": [{"finishReason": "STOP"}]},
    kinds.BedrockProvider: {"output": {"message": {"content": []}}, "stopReason": "end_turn"},
    kinds.CohereProvider: {"message": {"content": []}, "embeddings": {"float": [[0.5]]}},
    kinds.MistralProvider: {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]},
}


@pytest.mark.parametrize(("kind", "members", "operation", "address", "header"), ADDRESSES)
def test_each_kind_asks_its_address_with_its_key(
    monkeypatch, kind, members, operation, address, header
):
    body = orjson.dumps(ANSWERS.get(kind, {}))
    world = World(monkeypatch, settings(kind, **members), body)
    extra = {"chat": {}, "completions": {"prompt": "p"}, "embeddings": {"input": "i"}}[operation]
    world.ask(operation, **extra)
    (asked,) = world.asked
    assert str(asked.url) == address
    bearer = "Bearer " if header == "authorization" else ""
    assert asked.headers[header] == bearer + KEY
    if header != "authorization":
        assert "authorization" not in asked.headers


def test_anthropic_is_told_its_version(monkeypatch):
    body = orjson.dumps(ANSWERS[kinds.AnthropicProvider])
    world = World(monkeypatch, settings(kinds.AnthropicProvider), body)
    world.ask()
    assert world.asked[0].headers["anthropic-version"] == "2023-06-01"


def test_bedrock_signs_without_an_api_key(monkeypatch):
    body = orjson.dumps(ANSWERS[kinds.BedrockProvider])
    section = kinds.BedrockProvider(
        region=REGION, access_key_id="AKID", secret_access_key=Secret("secret")
    )
    world = World(monkeypatch, section, body)
    world.ask(model="amazon.nova-lite-v1:0")
    (asked,) = world.asked
    assert asked.url.raw_path == b"/model/amazon.nova-lite-v1%3A0/converse"
    assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert asked.headers["x-amz-date"].endswith("Z")


REPLAYED = {
    "anthropic.messages": kinds.AnthropicProvider(),
    "gemini.generateContent": kinds.GeminiProvider(),
    "bedrock.converse": kinds.BedrockProvider(region=REGION, api_key=Secret(KEY)),
    "mistral.chat": kinds.MistralProvider(),
    "cohere.chat": kinds.CohereProvider(),
}
GOOD = [r for r in recordings(*REPLAYED) if r.status == 200]


@pytest.mark.parametrize("recording", GOOD, ids=lambda r: r.name)
def test_a_recording_through_the_provider(monkeypatch, recording):
    binary = recording.endpoint == "bedrock.converse"
    events = "application/vnd.amazon.eventstream" if binary else "text/event-stream"
    media = events if recording.stream else "application/json"
    world = World(monkeypatch, REPLAYED[recording.endpoint], recording.body, media)
    wanted = {name: recording.expect[name] for name in ("choices", "usage")}
    if recording.stream:
        sink = world.stream()
        assert sink.done
        assert fits(seen_streamed(sink.documents), wanted)
        assert world.asked[0].headers["accept"] == events
    else:
        seen = seen_plain(world.ask())
        assert fits(seen, wanted) or recording.expect["shape"] == "blocked"


def test_what_a_broken_stream_used_is_told_before_it_breaks(monkeypatch):
    start = {"message": {"id": "m", "usage": {"input_tokens": 25, "output_tokens": 1}}}
    body = b"data: %s\n\ndata: %s\n\n" % (
        orjson.dumps({"type": "message_start"} | start),
        orjson.dumps({"type": "error", "error": {"type": "api_error"}}),
    )
    world = World(monkeypatch, settings(kinds.AnthropicProvider), body, "text/event-stream")
    sink = Sink()
    with pytest.raises(UpstreamInvalid):
        asyncio.run(world.provider.stream(world.call(stream=True), sink))
    assert sink.documents[-1]["usage"]["prompt_tokens"] == 25
    assert not sink.done


def test_what_a_failed_answer_used_is_counted(monkeypatch):
    body = orjson.dumps(
        {
            "candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2},
        }
    )
    world = World(monkeypatch, settings(kinds.GeminiProvider), body)
    call = world.call()
    with pytest.raises(UpstreamInvalid):
        asyncio.run(world.provider.answer(call))
    assert call.tally.usage is not None
    assert (call.tally.usage.prompt_tokens, call.tally.usage.completion_tokens) == (7, 2)
    assert call.tally.unknown == 0


@pytest.mark.parametrize(
    ("kind", "operation", "member"),
    [
        (kinds.AnthropicProvider, "chat", {"seed": 1}),
        (kinds.GroqProvider, "chat", {"logprobs": True}),
        (kinds.GroqProvider, "chat", {"n": 2}),
        (kinds.VllmProvider, "completions", {"suffix": "x"}),
        (kinds.OllamaProvider, "completions", {"echo": True}),
    ],
)
def test_what_a_kind_cannot_honour_is_refused_before_any_call(monkeypatch, kind, operation, member):
    world = World(monkeypatch, settings(kind))
    with pytest.raises(InvalidRequest) as caught:
        world.ask(operation, **({"prompt": "p"} if operation == "completions" else {}), **member)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", *member)
    assert world.asked == []


def test_a_default_that_is_written_out_is_no_demand(monkeypatch):
    world = World(monkeypatch, settings(kinds.GroqProvider))
    world.ask(n=1, logit_bias={}, logprobs=False, temperature=0)
    (asked,) = world.asked
    sent = orjson.loads(asked.content)
    assert set(sent) == {"model", "messages", "temperature"}, "what it has not is not sent either"


def event(document):
    return b"data: %s\n\n" % orjson.dumps(document)


def test_groqs_usage_is_found_where_groq_puts_it(monkeypatch):
    used = {"prompt_tokens": 5000, "completion_tokens": 3, "total_tokens": 5003}
    body = event({"choices": [], "x_groq": {"id": "r", "usage": used}}) + b"data: [DONE]\n\n"
    sink = World(monkeypatch, settings(kinds.GroqProvider), body, "text/event-stream").stream()
    assert sink.documents[0]["usage"] == used


def test_azures_report_on_the_prompt_is_no_chunk(monkeypatch):
    (recording, *_) = (r for r in recordings("azure.chat") if r.stream and r.status == 200)
    section = settings(kinds.AzureProvider, base_url="https://r.openai.azure.com")
    sink = World(monkeypatch, section, recording.body, "text/event-stream").stream()
    assert b"prompt_filter_results" in recording.body
    assert sink.documents[0]["id"].startswith("chatcmpl-")
    assert fits(seen_streamed(sink.documents)["choices"], recording.expect["choices"])


def test_what_openrouter_used_before_its_error_is_told_first(monkeypatch):
    (recording,) = (r for r in recordings("openrouter.chat") if r.expect["shape"] == "stream_error")
    section = settings(kinds.OpenRouterProvider)
    sink = World(monkeypatch, section, recording.body, "text/event-stream").stream()
    place = next(i for i, document in enumerate(sink.documents) if document.get("error"))
    assert sink.documents[place - 1]["usage"]["total_tokens"] == 53
