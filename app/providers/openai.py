"""Any OpenAI-compatible server: vLLM, llama.cpp, SGLang, TGI, OpenAI itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from time import time
from typing import Any

import orjson

from app.config.settings import OpenAIProvider as Settings
from app.core.errors import UpstreamError, UpstreamInvalid
from app.core.reply import Answer, Chunk
from app.openai import lenient_json, sse
from app.openai.completions.answer import read_answer, usage_in
from app.openai.completions.request import CompletionRequest
from app.providers.base import Aside, ChunkSink, UpstreamCall
from app.providers.client import Client, header

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
        self._endings: set[asyncio.Task[None]] = set()

    async def complete(self, call: UpstreamCall) -> Answer:
        body = call.request.body_for(call.model, _native_changes(call.request))
        response = await self._client.post("/completions", body, call, _JSON)
        data = await self._client.read(response, call)
        try:
            return read_answer(data, call.request, call.model, int(time()))
        except UpstreamInvalid:
            call.used(usage_in(data))
            raise

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        request = call.request
        changes = _native_changes(request)
        if self._ask_usage:
            options = request.stream_options | {"include_usage": True}
            changes["stream_options"] = orjson.dumps(options)
        await self._events("/completions", request.body_for(call.model, changes), call, sink)

    async def chat(self, call: UpstreamCall, body: bytes) -> dict[str, Any]:
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

    async def stream_chat(self, call: UpstreamCall, body: bytes, sink: ChunkSink) -> None:
        await self._events("/chat/completions", body, call, sink)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _events(self, path: str, body: bytes, call: UpstreamCall, sink: ChunkSink) -> None:
        response = await self._client.post(path, body, call, _EVENTS)
        if not header(response, b"content-type").lower().startswith(_EVENTS):
            await self._client.read(response, call)
            raise UpstreamInvalid("The upstream answered a streamed request without a stream.")
        parser = sse.EventParser(self._max_event_bytes)
        packets = self._client.chunks(response, call)
        done = False
        try:
            async for packet in packets:
                chunks, done, broken = _decoded(parser, packet)
                if chunks or done:
                    await sink.write(chunks, done=done)
                if broken is not None:
                    raise broken
                if done:
                    return
        finally:
            if done:
                self._read_out(packets)
            else:
                await packets.aclose()

    def _read_out(self, packets: AsyncGenerator[bytes, None]) -> None:
        """Let the upstream end its body, so that its connection can serve another call.

        Aside, because the caller has everything: what its request held is given back at once.
        """
        task = asyncio.get_running_loop().create_task(_drain(packets))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)


async def _drain(packets: AsyncGenerator[bytes, None]) -> None:
    try:
        with suppress(TimeoutError, UpstreamError):
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in packets:
                    pass
    finally:
        await packets.aclose()


def _decoded(
    parser: sse.EventParser, packet: bytes
) -> tuple[list[Chunk], bool, UpstreamError | None]:
    """The chunks that a packet completes, whether the end mark followed, and what broke instead."""
    broken = None
    try:
        payloads = parser.feed(packet)
    except sse.EventTooLarge as error:
        payloads = error.before
        broken = UpstreamInvalid(f"The upstream sent too much at once: {error}.")
    chunks: list[Chunk] = []
    for payload in payloads:
        if payload == sse.DONE:
            return chunks, True, None
        try:
            chunks.append(_chunk(payload))
        except lenient_json.NotJson:
            broken = UpstreamInvalid("The upstream sent a stream event that is not valid JSON.")
            return chunks, False, broken
    return chunks, False, broken


def _chunk(payload: bytes) -> Chunk:
    """One event. Raises NotJson.

    Without its bytes where they must be written anew: what is not strict JSON, and what came in
    several lines, because an event of ours has one.
    """
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return Chunk(b"", lenient_json.decode(payload))
    return Chunk(b"" if b"\n" in payload else payload, document)


def _native_changes(request: CompletionRequest) -> dict[str, bytes]:
    """What the completions endpoint is sent otherwise than the caller wrote it."""
    if request.messages is None:
        return {}
    return {"messages": b"", "prompt": orjson.dumps(request.prompts[0])}
