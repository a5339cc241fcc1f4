"""Any OpenAI-compatible server: vLLM, llama.cpp, SGLang, TGI, OpenAI itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import orjson

from app.config.settings import OpenAIProvider as Settings
from app.core.errors import UpstreamError, UpstreamInvalid
from app.core.reply import Chunk
from app.openai import lenient_json, sse
from app.openai.completions.output_limits import OPENAI
from app.openai.forwarded_members import forwardable
from app.providers.base import ChunkSink, Traits, UpstreamCall
from app.providers.client import Client, header

DRAIN_SECONDS = 0.5  # between an upstream's end mark and the end of its body

_JSON = b"application/json"
_EVENTS = b"text/event-stream"


PATHS = {
    "completions": "/completions",
    "chat": "/chat/completions",
    "embeddings": "/embeddings",
}


class OpenAIProvider:
    """The ``openai`` kind: OpenAI's shapes need no translation."""

    def __init__(self, slug: str, settings: Settings, client: Client | None = None) -> None:
        self.slug = slug
        self.traits = Traits(
            operations=frozenset[str](settings.endpoints),
            dialect=OPENAI._replace(zero_is_none=settings.zero_max_tokens == "forward"),
            unsupported=frozenset(settings.unsupported),
            max_tokens_field=settings.max_tokens_field,
            forward_headers=frozenset(name.encode() for name in settings.forward_headers),
            members=forwardable(settings.forward_members),
        )
        self._ask_usage = settings.stream_usage
        self._max_event_bytes = int(settings.max_event_bytes)
        self._client = client or Client(settings, name=slug)
        self._endings: set[asyncio.Task[None]] = set()

    async def answer(self, call: UpstreamCall) -> bytes:
        body = call.request.body_for(call.model)
        response = await self._client.post(PATHS[call.operation], body, call, _JSON)
        return await self._client.read(response, call)

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        request = call.request
        changes: dict[str, bytes] = {}
        if self._ask_usage:
            options = {**request.stream_options, "include_usage": True}
            changes["stream_options"] = orjson.dumps(options)
        body = request.body_for(call.model, changes)
        response = await self._client.post(PATHS[call.operation], body, call, _EVENTS)
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

    async def aclose(self) -> None:
        await self._client.aclose()

    def _read_out(self, packets: AsyncGenerator[bytes, None]) -> None:
        """Let the upstream end its body, so that its connection can serve another call.

        In a task, because the caller has everything: what its request held is given back at once.
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
