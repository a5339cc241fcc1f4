"""Providers that speak another language than the OpenAI API: a translation over our own client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import time
from typing import cast

import orjson

from app.core.errors import HeaderList, UpstreamError, UpstreamInvalid
from app.core.reply import Chunk
from app.core.usage import read_usage
from app.providers.base import ChunkSink, Traits, UpstreamCall
from app.providers.client.client import Client
from app.providers.client.endings import Endings
from app.providers.translation.base import (
    Asked,
    Operation,
    Prepared,
    StreamTranslator,
    Translation,
)

_JSON = b"application/json"

Sign = Callable[[str, str, bytes], Awaitable[HeaderList]]


async def unsigned(host: str, path: str, body: bytes) -> HeaderList:
    """No headers: the key goes with every request."""
    return []


class Translated:
    """Answers calls through a translation; ``sign`` makes headers of one request's host, path, body."""

    def __init__(
        self, client: Client, translation: Translation, max_event_bytes: int, sign: Sign = unsigned
    ) -> None:
        self._client = client
        self._translation = translation
        self._max_event_bytes = max_event_bytes
        self._sign = sign
        self._endings = Endings()

    def check(self, call: UpstreamCall) -> None:
        """Raises InvalidRequest naming every member that the provider cannot honour."""
        self._translation.prepare(_asked(call))

    async def answer(self, call: UpstreamCall) -> bytes:
        """The plain answer in the OpenAI API's shape. Raises GatewayError."""
        asked = _asked(call)
        prepared = self._translation.prepare(asked)
        signature = await self._signature(prepared)
        response = await self._client.post(prepared.path, prepared.body, call, _JSON, signature)
        data = await self._client.read(response, call)
        try:
            return orjson.dumps(self._translation.answer(asked, data))
        except UpstreamError:
            call.tally.used(read_usage(self._translation.usage(data)))
            raise

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        """Writes the answer's chunks as they come. Raises GatewayError."""
        asked = _asked(call)
        prepared = self._translation.prepare(asked)
        translator = self._translation.translator(asked, self._max_event_bytes)
        accept = self._translation.media_type
        signature = await self._signature(prepared)
        response = await self._client.post(prepared.path, prepared.body, call, accept, signature)
        if not response.header(b"content-type").lower().startswith(accept):
            await self._client.read(response, call)
            raise UpstreamInvalid("The upstream answered a streamed request without a stream.")
        packets = self._client.chunks(response, call)
        try:
            async for packet in packets:
                await _write(sink, translator, translator.take(packet))
                if translator.done:
                    return
            await _write(sink, translator, translator.end())
        finally:
            if translator.done:
                self._endings.read_out(packets)
            else:
                await packets.aclose()

    async def _signature(self, prepared: Prepared) -> HeaderList:
        return await self._sign(*self._client.address_of(prepared.path), prepared.body)


class TranslatedProvider:
    """A provider all of whose operations are translated."""

    def __init__(self, slug: str, traits: Traits, client: Client, calls: Translated) -> None:
        self.slug = slug
        self.traits = traits
        self._client = client
        self._calls = calls

    def check(self, call: UpstreamCall) -> None:
        """Raises InvalidRequest naming every member that the provider cannot honour."""
        self._calls.check(call)

    async def answer(self, call: UpstreamCall) -> bytes:
        return await self._calls.answer(call)

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        await self._calls.stream(call, sink)

    @property
    def trouble(self) -> str | None:
        return self._client.trouble.latest

    async def aclose(self) -> None:
        await self._client.aclose()


def _asked(call: UpstreamCall) -> Asked:
    """What is asked, as it would be sent to a server that speaks the OpenAI API: with the limit
    that was written out for it."""
    document = orjson.loads(call.request.body_for(call.model))
    return Asked(cast("Operation", call.operation), document, call.model, int(time()))


async def _write(
    sink: ChunkSink, translator: StreamTranslator, documents: list[dict[str, object]]
) -> None:
    """Write what a packet gave; where the stream broke, what it used is told before it is said."""
    broken = translator.broken
    if broken is not None and translator.usage is not None:
        documents = [*documents, {"choices": [], "usage": translator.usage}]
    if documents or translator.done:
        chunks = [Chunk(b"", document) for document in documents]
        await sink.write(chunks, done=translator.done)
    if broken is not None:
        raise broken
