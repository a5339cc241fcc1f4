"""Any OpenAI-compatible server: vLLM, llama.cpp, SGLang, TGI, OpenAI itself, and most providers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from app.config.providers import OpenAILike as Settings
from app.core.errors import InvalidRequest, Problem, UpstreamError, UpstreamInvalid
from app.core.reply import Chunk
from app.openai import lenient_json, sse
from app.openai.forwarded_members import forwardable
from app.openai.neutral import asks
from app.openai.output_limits import OPENAI
from app.providers.base import ChunkSink, Traits, UpstreamCall
from app.providers.client.client import Client
from app.providers.client.endings import Endings

_JSON = b"application/json"
_EVENTS = b"text/event-stream"

PATHS = {
    "completions": "/completions",
    "chat": "/chat/completions",
    "embeddings": "/embeddings",
}


class OpenAIProvider:
    """The ``openai`` kind: OpenAI's shapes need no translation. Other kinds change the paths, or
    mend what their servers say in another place."""

    def __init__(self, slug: str, settings: Settings, client: Client | None = None) -> None:
        self.slug = slug
        self.traits = Traits(
            operations=frozenset[str](settings.endpoints),
            dialect=OPENAI._replace(zero_is_none=settings.zero_max_tokens == "forward"),
            unsupported=frozenset(settings.unsupported),
            max_tokens_field=settings.max_tokens_field,
            forward_headers=frozenset(name.encode() for name in settings.forward_headers),
            members=forwardable(settings.forward_members),
            embedding_inputs=settings.embedding_inputs,
            stop_limit=stop_limit(settings),
            no_best_of="best_of" in settings.unsupported_completions,
            ranked=ranked(settings),
            one_choice="n" in settings.unsupported_completions,
        )
        self._refused = {
            "chat": settings.unsupported,
            "completions": settings.unsupported_completions,
        }
        self._ask_usage = settings.stream_usage
        self._max_event_bytes = int(settings.max_event_bytes)
        self._client = client or Client(settings, name=slug)
        self._endings = Endings()

    async def answer(self, call: UpstreamCall) -> bytes:
        body = call.request.body_for(call.model, self._without_unsupported(call))
        response = await self._client.post(self._path(call), body, call, _JSON)
        return await self._client.read(response, call)

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        request = call.request
        changes = self._without_unsupported(call)
        if self._ask_usage:
            options = {**request.stream_options, "include_usage": True}
            changes["stream_options"] = orjson.dumps(options)
        body = request.body_for(call.model, changes)
        response = await self._client.post(self._path(call), body, call, _EVENTS)
        if not response.header(b"content-type").lower().startswith(_EVENTS):
            await self._client.read(response, call)
            raise UpstreamInvalid("The upstream answered a streamed request without a stream.")
        parser = sse.EventParser(self._max_event_bytes)
        packets = self._client.chunks(response, call)
        done = False
        try:
            async for packet in packets:
                chunks, done, broken = decoded(parser, packet)
                chunks = self.mended(chunks)
                if chunks or done:
                    await sink.write(chunks, done=done)
                if broken is not None:
                    raise broken
                if done:
                    return
        finally:
            if done:
                self._endings.read_out(packets)
            else:
                await packets.aclose()

    async def pass_on(self, method: str, url: str, body: bytes, call: UpstreamCall) -> bytes:
        """What the server answers at one of its own addresses, beside the operations."""
        response = await self._client.post(url, body, call, _JSON, method=method)
        return await self._client.read(response, call)

    @property
    def trouble(self) -> str | None:
        return self._client.trouble.latest

    async def aclose(self) -> None:
        await self._client.aclose()

    def check(self, call: UpstreamCall) -> None:
        """Raises InvalidRequest naming everything that it would ignore."""
        self._without_unsupported(call)

    def _path(self, call: UpstreamCall) -> str:
        return PATHS[call.operation]

    def mended(self, chunks: list[Chunk]) -> list[Chunk]:
        """The chunks of one packet, where this kind of server says something in its own way."""
        return chunks

    def _without_unsupported(self, call: UpstreamCall) -> dict[str, bytes]:
        """Leaves out what this server has not and what asks for nothing, such as ``n: 1``.

        Raises InvalidRequest naming everything that it would ignore.
        """
        document = call.request.document
        names = self._refused.get(call.operation)
        if not names:
            return {}
        # As many as are given is no choice between them.
        no_choice = document.get("best_of") == document.get("n", 1)
        refuse_members(document, [n for n in names if n != "best_of" or not no_choice])
        return dict.fromkeys(document.keys() & names, b"")


def ranked(settings: Settings) -> frozenset[str]:
    """The operations whose choices have log-probabilities."""
    lacking = {
        name
        for name, names in (
            ("chat", settings.unsupported),
            ("completions", settings.unsupported_completions),
        )
        if "logprobs" in names
    }
    return frozenset(settings.endpoints) - lacking


def stop_limit(settings: Settings) -> int | None:
    """How many stop sequences a server takes; OpenAI's own takes four."""
    if settings.stop_limit is None and urlsplit(settings.base_url).hostname == "api.openai.com":
        return 4
    return settings.stop_limit


def refuse_members(document: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raises InvalidRequest naming those of these members that ask for something."""
    problems = [
        Problem(name, f"`{name}` is not supported by the model's provider.")
        for name in names
        if asks(document, name)
    ]
    if problems:
        raise InvalidRequest.of(problems, code="unsupported_parameter")


def decoded(
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
