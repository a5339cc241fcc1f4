"""Answers on their way to one caller: from what is kept, or from a flight as it comes."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.errors import HeaderList, UpstreamError, UpstreamInvalid
from app.core.family import Diverged, View
from app.core.reply import Answer, Chunk, Origin, ReplyWriter, StreamEnd
from app.core.units import FREE, total
from app.core.usage import Usage
from cache.answers.entry import CacheEntry
from cache.flights.flights import MAX_BYTES, Flight, Lagged, SharedError
from cache.serving.capture import assembled, new_view, whole_body
from cache.serving.lookup import CacheLookup

_EXACT: HeaderList = [(b"x-headgate-cache-layer", b"exact")]
_FREE = (b"x-headgate-cost-usd", b"0")


class CannotFollow(Exception):
    """This flight's answer cannot be had by following it."""


class RelayedError(UpstreamError):
    """An upstream's failure that another caller's call met."""

    _relayed: bytes | None = None

    @classmethod
    def of(cls, shared: SharedError) -> RelayedError:
        """The error whose answer is the very one that the other caller got."""
        headers = list(shared.headers)
        error = cls("", code=shared.code, headers=headers, status=shared.status)
        error._relayed = shared.body
        return error

    def body(self) -> bytes:
        return super().body() if self._relayed is None else self._relayed


def bodies_merged(lookup: CacheLookup, entries: Sequence[CacheEntry]) -> bytes:
    """The plain answer to all prompts from the kept ones."""
    if len(entries) == 1:
        return entries[0].body
    bodies = {position: entry.body for position, entry in enumerate(entries)}
    return lookup.family.merge(bodies, lookup.request, 0)


async def deliver_stored(
    lookup: CacheLookup,
    reply: ReplyWriter,
    entries: Sequence[CacheEntry],
    status: str,
    found: HeaderList | None = None,
) -> None:
    """Send what is kept, in the shape asked for; ``status`` is ``hit`` or ``stale``.

    ``found`` says how it was found, where that was not by its own fingerprint.
    """
    call, first = lookup.call, entries[0]
    call.outcome.cost = FREE
    call.outcome.saved = first.cost if len(entries) == 1 else total(e.cost for e in entries)
    oldest = first.stored if len(entries) == 1 else min(entry.stored for entry in entries)
    age = (lookup.now - oldest) // 1000
    lookup.set_status(status)
    call.outcome.cache_layer = "semantic" if found else "exact"
    call.reply_headers += found or _EXACT
    call.reply_headers.append((b"age", b"%d" % max(0, age)))
    body = bodies_merged(lookup, entries)
    origin = Origin(first.provider, first.model)
    if call.request.stream:
        call.reply_headers.append(_FREE)
        chunks, end = lookup.family.replay(body)
        await reply.begin(origin)
        await reply.finish(end, chunks)
    else:
        await reply.answer(origin, Answer(body, first.model, first.usage))


class Delivery:
    """One caller's answer from one flight, or from several, where one failed and another took over."""

    def __init__(self, lookup: CacheLookup, reply: ReplyWriter) -> None:
        self._lookup = lookup
        self._reply = reply
        self._view: View | None = None
        self._positions: list[int] = []
        self._sent: list[Chunk] | None = []  # None: more than can be kept to go on from
        self._size = 0
        self._taken_over = False  # from then on the view knows by itself what was sent
        self.started = False

    async def follow(self, flight: Flight) -> bool:
        """Send what another caller's call brings; False where it fails. Raises CannotFollow."""
        lookup = self._lookup
        if lookup.request.stream:
            whole = await self.stream(flight, coalesced=True)
        else:
            whole = await self._plain(flight)
        if whole and flight.completed is not None:
            known = list(lookup.fresh.values()) if lookup.partial else []
            lookup.call.outcome.cost = FREE
            lookup.call.outcome.saved = total(
                [flight.completed.cost, *(entry.cost for entry in known)]
            )
        return whole

    async def stream(self, flight: Flight, *, coalesced: bool = False) -> bool:
        """Send a flight's chunks as they come; False where it fails. Raises CannotFollow."""
        view = self._resumed()
        reader = flight.reader()
        try:
            while chunks := await reader.next():
                completed = flight.completed
                last = completed is not None and reader.position == flight.end
                if last and completed is not None and completed.end is not None:
                    await self._finish(view, chunks, completed.end, flight, coalesced)
                    return True
                self._remember(chunks)
                await self._write(view.take(chunks), flight, coalesced)
            completed = flight.completed
            if completed is None:
                return False
            if completed.body is not None:
                again, end = self._lookup.family.replay(completed.body)
                await self._finish(view, again, end, flight, coalesced)
            elif completed.end is not None:
                await self._finish(view, (), completed.end, flight, coalesced)
        except (Lagged, Diverged):
            raise CannotFollow from None
        finally:
            reader.done()
        return True

    async def known(self, entries: Sequence[CacheEntry]) -> None:
        """Go on from what is kept by now. Raises CannotFollow."""
        view = self._resumed()
        try:
            chunks, end = self._lookup.family.replay(bodies_merged(self._lookup, entries))
            await self._reply.finish(view.end(end), view.take(chunks))
        except Diverged:
            raise CannotFollow from None

    async def give_up(self) -> None:
        """End a stream that nobody can continue."""
        await self._reply.fail(UpstreamInvalid("The answer broke off and could not be continued."))

    def _remember(self, chunks: list[Chunk]) -> None:
        if self._taken_over:
            return
        self._size += sum(map(len, chunks))
        if self._size > MAX_BYTES:
            self._sent = None
        elif self._sent is not None:
            self._sent += chunks

    def _resumed(self) -> View:
        if self._view is None:
            self._view = new_view(self._lookup)
            self._positions = self._lookup.missing
            return self._view
        lookup = self._lookup
        if self._sent is None or (lookup.missing and lookup.missing != self._positions):
            raise CannotFollow
        if self._sent:
            if not lookup.missing and len(self._positions) < len(lookup.digests):
                raise CannotFollow
            self._view.taken_over(self._sent)
            self._taken_over = True
        return self._view

    async def _plain(self, flight: Flight) -> bool:
        flight.waiting_for_all += 1
        flight.notify_local()
        try:
            while not flight.over:
                await flight.wait_changed()
        finally:
            flight.waiting_for_all -= 1
        completed = flight.completed
        if completed is None:
            return False
        body = completed.body
        if body is None and completed.end is not None and flight.joinable:
            body = await assembled(self._lookup.family.assembly(), flight.chunks(), completed.end)
        if body is None:
            raise CannotFollow
        self._lookup.set_status("coalesced")
        self._lookup.call.outcome.cost = FREE
        origin = Origin(flight.provider or "", flight.model or "")
        answer = Answer(whole_body(self._lookup, body, completed.usage), origin.model, Usage(0, 0))
        await self._reply.answer(origin, answer)
        return True

    async def _write(self, chunks: Sequence[Chunk], flight: Flight, coalesced: bool) -> None:
        await self._begin(flight, coalesced)
        await self._reply.write(chunks)

    async def _finish(
        self,
        view: View,
        chunks: Sequence[Chunk],
        end: StreamEnd,
        flight: Flight,
        coalesced: bool,
    ) -> None:
        last = view.take(chunks)
        await self._begin(flight, coalesced)
        await self._reply.finish(view.end(end), last)

    async def _begin(self, flight: Flight, coalesced: bool) -> None:
        if not self.started:
            self.started = True
            if coalesced:
                self._lookup.set_status("coalesced")
            await self._reply.begin(Origin(flight.provider or "", flight.model or ""))
