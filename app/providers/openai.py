"""Any OpenAI-compatible server: vLLM, llama.cpp, SGLang, TGI, OpenAI itself."""

from __future__ import annotations

from asyncio import timeout
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from time import time
from typing import Any

import orjson

from app.core import lenient_json, sse
from app.core.completion_answer import Answer, read_answer, usage_in
from app.core.completions import CompletionRequest
from app.core.errors import UpstreamInvalid
from app.providers.base import Aside, Batch, Call
from app.providers.client import Client, header
from app.settings import OpenAIProvider as Settings

DRAIN_SECONDS = 0.5  # between an upstream's end mark and the end of its body

_JSON = b"application/json"
_EVENTS = b"text/event-stream"


class OpenAIProvider:
    """The ``openai`` kind."""

    def __init__(self, slug: str, settings: Settings, client: Client | None = None) -> None:
        self.slug = slug
        self.endpoints = frozenset[str](settings.endpoints)
        self.unsupported = frozenset(settings.unsupported)
        self.max_tokens_field: str = settings.max_tokens_field
        self._ask_usage = settings.stream_usage
        self._max_event_bytes = int(settings.max_event_bytes)
        self._client = client or Client(settings, name=slug)

    async def complete(self, call: Call) -> Answer:
        body = call.request.body_for(call.model, _native_changes(call.request))
        response = await self._client.post("/completions", body, call, _JSON)
        data = await self._client.read(response, call)
        try:
            return read_answer(data, call.request, call.model, int(time()))
        except UpstreamInvalid:
            call.used(usage_in(data))
            raise

    def stream(self, call: Call) -> AsyncIterator[Batch]:
        request = call.request
        changes = _native_changes(request)
        if self._ask_usage:
            options = request.stream_options | {"include_usage": True}
            changes["stream_options"] = orjson.dumps(options)
        return self._events("/completions", request.body_for(call.model, changes), call)

    async def chat(self, call: Call, body: bytes) -> dict[str, Any]:
        response = await self._client.post("/chat/completions", body, call, _JSON)
        data = await self._client.read(response, call)
        try:
            document = lenient_json.decode(data)
        except lenient_json.NotJson:
            raise UpstreamInvalid("The upstream's answer is not valid JSON.") from None
        if not isinstance(document, dict):
            raise UpstreamInvalid("The upstream's answer is not a chat completion.")
        return document

    async def embed(self, text: str, model: str) -> Any:
        """What the embeddings endpoint answers for one text. Raises UpstreamError."""
        call = Aside(model)
        body = orjson.dumps({"model": model, "input": text, "encoding_format": "float"})
        response = await self._client.post("/embeddings", body, call, _JSON)
        data = await self._client.read(response, call)
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            raise UpstreamInvalid("The upstream's answer is not valid JSON.") from None

    def stream_chat(self, call: Call, body: bytes) -> AsyncIterator[Batch]:
        return self._events("/chat/completions", body, call)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _events(self, path: str, body: bytes, call: Call) -> AsyncGenerator[Batch, None]:
        response = await self._client.post(path, body, call, _EVENTS)
        if not header(response, b"content-type").lower().startswith(_EVENTS):
            await self._client.read(response, call)
            raise UpstreamInvalid("The upstream answered a streamed request without a stream.")
        parser = sse.EventParser(self._max_event_bytes)
        async with aclosing(self._client.chunks(response, call)) as packets:
            async for packet in packets:
                batch = _batch(parser, packet)
                if batch.chunks or batch.done or batch.broken:
                    yield batch
                if batch.done:
                    await _drain(packets)
                    return


async def _drain(packets: AsyncIterator[bytes]) -> None:
    """Read to the end of the body: only a connection that was read out can serve another call."""
    with suppress(TimeoutError, UpstreamInvalid):
        async with timeout(DRAIN_SECONDS):
            async for _ in packets:
                pass


def _batch(parser: sse.EventParser, packet: bytes) -> Batch:
    """The chunks that a packet completes."""
    broken = None
    try:
        payloads = parser.feed(packet)
    except sse.EventTooLarge as error:
        payloads = error.before
        broken = UpstreamInvalid(f"The upstream sent too much at once: {error}.")
    chunks: list[Any] = []
    for payload in payloads:
        if payload == sse.DONE:
            return Batch(chunks, True)
        try:
            chunks.append(lenient_json.decode(payload))
        except lenient_json.NotJson:
            broken = UpstreamInvalid("The upstream sent a stream event that is not valid JSON.")
            return Batch(chunks, broken=broken)
    return Batch(chunks, broken=broken)


def _native_changes(request: CompletionRequest) -> dict[str, bytes]:
    """What the completions endpoint is sent otherwise than the caller wrote it."""
    if request.messages is None:
        return {}
    return {"messages": b"", "prompt": orjson.dumps(request.prompts[0])}
