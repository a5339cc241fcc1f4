"""A provider that takes fewer stop sequences than callers send: the gateway applies the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from app.core.errors import InvalidRequest
from app.core.reply import Chunk
from app.openai import lenient_json
from app.openai.neutral import asks
from app.openai.stops import StoppedStream, cut_choice
from app.providers.adapters.changed_request import ChangedRequest
from app.providers.adapters.checking import check_inner
from app.providers.base import ChunkSink, Provider, UpstreamCall


class Stopping:
    """Sends a provider the first stop sequences that it takes, and applies the others itself.

    A stream is cancelled at the provider, ``inner``, once each of its choices has stopped.
    """

    def __init__(self, provider: Provider) -> None:
        self.inner = provider
        self.slug = provider.slug
        self.traits = provider.traits

    def check(self, call: UpstreamCall) -> None:
        """Raises InvalidRequest for what neither the provider nor the gateway can honour."""
        sent, own = self._split(call)
        check_inner(self.inner, _asking(call, sent) if own else call)

    async def answer(self, call: UpstreamCall) -> bytes:
        sent, own = self._split(call)
        if not own:
            return await self.inner.answer(call)
        data = await self.inner.answer(_asking(call, sent))
        return _cut(data, own)

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        sent, own = self._split(call)
        if not own:
            await self.inner.stream(call, sink)
            return
        stopping = StoppingSink(sink, own, choices_of(call))
        try:
            await self.inner.stream(_asking(call, sent), stopping)
        except _Stopped:
            await sink.write([], done=True)

    @property
    def trouble(self) -> str | None:
        return self.inner.trouble

    async def aclose(self) -> None:
        await self.inner.aclose()

    def _split(self, call: UpstreamCall) -> tuple[list[str], list[str]]:
        """The stop sequences that the provider is sent, and those that are the gateway's."""
        document = call.request.document
        stop = document.get("stop")
        stops = [stop] if isinstance(stop, str) else [text for text in stop or () if text]
        traits = self.traits
        fit = [text for text in stops if traits.blank_stops or text.strip()]
        sent = fit[: traits.stop_limit]
        own = [text for text in stops if text not in sent]
        if own:
            for name in ("echo", *(("logprobs",) if document.get("stream") else ())):
                if asks(document, name):
                    raise InvalidRequest(
                        f"More than {len(sent)} `stop` sequences cannot be applied together with "
                        f"`{name}`.",
                        code="unsupported_parameter",
                        param="stop",
                    )
        return sent, own


class _Stopped(Exception):
    """Every choice has stopped: the provider's stream is not read on."""


class StoppingSink:
    """Takes a provider's chunks and writes on what stands before each choice's stop sequence."""

    def __init__(self, sink: ChunkSink, stops: Sequence[str], choices: int) -> None:
        self._sink = sink
        self._stream = StoppedStream(stops, choices)

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        """Chunks that arrived together. Raises _Stopped where no more are wanted."""
        kept: list[Chunk] = []
        for chunk in chunks:
            document = chunk.document
            if not isinstance(document, dict) or self._stream.take(document):
                kept.append(Chunk(b"", document))
        over = self._stream.all_stopped and not done
        if kept or done:
            await self._sink.write(kept, done=done)
        if over:
            raise _Stopped


def choices_of(call: UpstreamCall) -> int:
    """How many choices an answer to this call has."""
    document = call.request.document
    prompt = document.get("prompt")
    batch = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return (document.get("n") or 1) * (len(prompt) if batch and isinstance(prompt, list) else 1)


def _asking(call: UpstreamCall, stops: list[str]) -> UpstreamCall:
    request = ChangedRequest(call.request, {"stop": stops or None})
    return call.asking(call.operation, request)


def _cut(data: bytes, stops: Sequence[str]) -> bytes:
    try:
        document: Any = lenient_json.decode(data)
    except lenient_json.NotJson:
        return data  # whoever mends the answer says so
    choices = document.get("choices") if isinstance(document, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            cut_choice(choice, stops)
    return orjson.dumps(document)
