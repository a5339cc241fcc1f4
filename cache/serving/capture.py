"""Collects what the cache keeps of an answer that passes by, and shares it where others follow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic

from app.core.errors import GuardrailBlocked, UpstreamError
from app.core.family import Assembly, NotAssembled, Part, View
from app.core.reply import Answer, Chunk, Origin, ReplyWriter, StreamEnd
from app.core.units import FREE, Digest, Millis, total
from app.core.usage import Usage
from cache.answers.entry import CacheEntry
from cache.flights.flights import MAX_BYTES, Flight, SharedError
from cache.serving.lookup import CacheLookup

AT_ONCE = 64  # chunks assembled at a stretch


class ReplyCapture:
    """Passes an answer on to ``out``, and keeps it for the cache.

    With a ``flight`` a stream goes there instead: its caller reads it from the flight, as everybody
    else does, and a plain answer goes to both. ``call`` is the one whose answer it is.
    """

    def __init__(self, lookup: CacheLookup, out: ReplyWriter, flight: Flight | None = None) -> None:
        self.call = lookup.call_for_missing()
        self._lookup = lookup
        self._out = out
        self._flight = flight
        self._known = lookup.known if lookup.partial else None
        self._view = new_view(lookup) if flight is None else None
        self._began = monotonic()
        self._origin: Origin | None = None
        self._size = 0
        self._body: bytes | None = None  # of a plain answer
        self._chunks: list[Chunk] | None = []  # of a stream; None where it grew too large to keep
        self._end: StreamEnd | None = None
        self._usage: Usage | None = None  # of an answer that is whole
        self.failure: UpstreamError | None = None  # what broke a stream that goes to a flight

    @property
    def whole(self) -> bool:
        """Whether all of the answer has come."""
        return self._usage is not None

    async def answer(self, origin: Origin, answer: Answer) -> None:
        self._origin, self._body, self._usage = origin, answer.body, answer.usage
        self._say_status()
        if self._flight is not None:
            cost = self._lookup.call.outcome.cost or FREE
            self._flight.set_origin(origin.provider, origin.model, streamed=False)
            self._flight.complete(answer.body, answer.usage, cost)
        body = whole_body(self._lookup, answer.body, answer.usage)
        await self._out.answer(origin, answer._replace(body=body))

    async def begin(self, origin: Origin) -> None:
        self._origin = origin
        self._say_status()
        if self._flight is not None:
            self._flight.set_origin(origin.provider, origin.model, streamed=True)
        else:
            await self._out.begin(origin)

    async def write(self, chunks: Sequence[Chunk]) -> None:
        self._keep(chunks)
        if self._flight is not None:
            self._flight.publish(chunks)
            await self._flight.wait_for_readers()
        elif self._view is not None:
            await self._out.write(self._view.take(chunks))

    async def finish(self, end: StreamEnd, chunks: Sequence[Chunk] = ()) -> None:
        self._keep(chunks)
        self._end, self._usage = end, end.usage
        if self._flight is not None:
            price = self._lookup.plan.price
            if chunks:
                self._flight.publish(chunks)
            cost = price.cost(end.usage) if price is not None else FREE
            self._flight.complete(None, end.usage, cost, end)
        elif self._view is not None:
            await self._out.finish(self._view.end(end), self._view.take(chunks))

    async def fail(self, error: UpstreamError) -> None:
        if self._flight is not None:
            self.failure = error
            self._flight.fail(shared_error(error))
        else:
            await self._out.fail(error)

    async def entries(self) -> list[tuple[Digest, CacheEntry]]:
        """What may be kept of the answer, by fingerprint; yields to others on the way."""
        lookup, plan, usage = self._lookup, self._lookup.plan, self._usage
        origin = self._origin
        if usage is None or origin is None or not lookup.storable:
            return []
        if origin.target not in plan.accepts:
            return []  # of a target that was asked because the one that was picked failed
        body = await self.body()
        family, request = lookup.family, self.call.request
        if body is None or not family.is_complete(body, request):
            return []
        now = Millis(lookup.now + int((monotonic() - self._began) * 1000))
        fresh, revalidate, on_error = plan.lifetimes(lookup.directives.ttl, now)
        parts = family.split(body, usage, request)
        return [
            (
                lookup.digests[position],
                self._entry(part, origin, lookup.now, now, fresh, revalidate, on_error),
            )
            for position, part in zip(lookup.missing, parts, strict=True)
            if len(part.body) <= plan.max_entry
        ]

    async def body(self) -> bytes | None:
        """The answer as a plain one; None where it is not whole, or too large."""
        if self._body is None and self._end is not None and self._chunks:
            self._body = await assembled(self._lookup.family.assembly(), self._chunks, self._end)
        return self._body

    def _entry(self, part: Part, origin: Origin, *times: Millis) -> CacheEntry:
        price = self._lookup.plan.price
        cost = price.cost(part.usage) if price is not None else FREE
        asked, stored, fresh, revalidate, on_error = times
        return CacheEntry(
            part.body,
            origin.provider,
            origin.model,
            part.usage,
            cost,
            asked,
            stored,
            fresh,
            revalidate,
            on_error,
            self._lookup.policy,
        )

    def _say_status(self) -> None:
        lookup = self._lookup
        if self._known is None:
            lookup.set_status("miss")
        else:
            lookup.set_status("partial")
            lookup.call.outcome.saved = total(entry.cost for entry in lookup.fresh.values())

    def _keep(self, chunks: Sequence[Chunk]) -> None:
        self._size += sum(map(len, chunks))
        if self._chunks is not None:
            if self._size > MAX_BYTES:
                self._chunks = None
            else:
                self._chunks += chunks


def new_view(lookup: CacheLookup) -> View:
    """The stream of a call for the missing prompts, as this caller gets it."""
    if lookup.partial:
        return lookup.family.view(lookup.request, lookup.missing, lookup.known)
    return lookup.family.view(lookup.request, None, None)


async def assembled(assembly: Assembly, chunks: Sequence[Chunk], end: StreamEnd) -> bytes | None:
    """The plain answer that a stream adds up to, if it does; yields to others on the way."""
    try:
        for start in range(0, len(chunks), AT_ONCE):
            assembly.add(chunks[start : start + AT_ONCE])
            if start:
                await asyncio.sleep(0)
        return assembly.body(end)
    except NotAssembled:
        return None


def whole_body(lookup: CacheLookup, body: bytes, usage: Usage) -> bytes:
    """The plain answer to all prompts, from one to the missing ones and what is known."""
    known = lookup.known
    if not known:
        return body
    family, request = lookup.family, lookup.request
    fresh = family.split(body, usage, request.of_prompts(lookup.missing))
    bodies = {position: part.body for position, part in zip(lookup.missing, fresh, strict=True)}
    return family.merge(known | bodies, request, lookup.missing[0])


def shared_error(error: BaseException | None) -> SharedError | None:
    """A failure as others may see it; None where it is the caller's own affair."""
    if not isinstance(error, UpstreamError | GuardrailBlocked):
        return None
    return SharedError(error.status, error.code, error.body(), tuple(error.headers))
