"""Answers on their way to one caller: from what is kept, or from a flight as it comes."""

from __future__ import annotations

from collections.abc import Sequence

from app.caching.asked import Asked
from app.caching.call import assembled, mark, new_view, whole_body
from app.core import sse
from app.core.asgi import (
    STREAM_HEADERS,
    Send,
    body_message,
    header_text,
    json_messages,
    start_message,
)
from app.core.cached_parts import merge
from app.core.errors import HeaderList, UpstreamInvalid
from app.core.stored_answer import Stored
from app.core.stream_replay import replay
from app.core.stream_view import Diverged, StreamView
from cache.flights import MAX_BYTES, Cut, Flight, SharedError

_EXACT: HeaderList = [(b"x-headgate-cache-layer", b"exact")]


class CannotFollow(Exception):
    """This flight's answer cannot be had by following it."""


def bodies_merged(asked: Asked, entries: Sequence[Stored]) -> bytes:
    """The plain answer to all prompts from the kept ones."""
    if len(entries) == 1:
        return entries[0].body
    bodies = {place: entry.body for place, entry in enumerate(entries)}
    return merge(bodies, len(entries), asked.request.n, 0)


async def deliver_stored(
    asked: Asked, send: Send, entries: Sequence[Stored], what: str, found: HeaderList | None = None
) -> None:
    """Send what is kept, in the shape asked for; ``what`` is ``hit`` or ``stale``.

    ``found`` says how it was found, where that was not by its own fingerprint.
    """
    exchange = asked.exchange
    outcome = exchange.outcome
    outcome.cost, outcome.saved = 0, sum(entry.cost for entry in entries)
    age = (asked.now - min(entry.stored for entry in entries)) // 1000
    _name(asked, entries[0].provider, entries[0].model)
    mark(asked, what)
    exchange.reply_headers += found or _EXACT
    exchange.reply_headers += [(b"age", b"%d" % max(0, age)), (b"x-headgate-cost-usd", b"0")]
    body = bodies_merged(asked, entries)
    if outcome.text is not None:
        outcome.text.append(body.decode(errors="replace"))
    if asked.request.stream:
        await send(start_message(200, list(STREAM_HEADERS)))
        view = StreamView(include_usage=asked.include_usage)
        await send(body_message(view.take(replay(body))))
        return
    start, message = json_messages(200, body)
    await send(start)
    await send(message)


def _name(asked: Asked, provider: str | None, model: str | None) -> None:
    """Say who answered, though not now and not to this caller."""
    exchange = asked.exchange
    outcome = exchange.outcome
    outcome.provider, outcome.model = provider, model
    exchange.reply_headers += [
        (b"x-provider", (provider or "").encode()),
        (b"x-model", header_text(model or "")),
        (b"x-headgate-attempts", b"%d" % outcome.attempts),
    ]


class Delivery:
    """One caller's answer from one flight, or from several, where one failed and another took over."""

    def __init__(self, asked: Asked, send: Send) -> None:
        self._asked = asked
        self._send = send
        self._view: StreamView | None = None
        self._places: list[int] = []
        self._sent: list[bytes] | None = []  # None: more than can be kept to go on from
        self._size = 0
        self._taken_over = False  # from then on the view knows by itself what was sent
        self.started = False

    async def follow(self, flight: Flight) -> bool:
        """Send what another caller's call brings; False where it fails. Raises CannotFollow."""
        asked = self._asked
        if asked.request.stream:
            whole = await self.stream(flight, coalesced=True)
        else:
            whole = await self._plain(flight)
        if whole and flight.landed is not None:
            known = asked.known if len(asked.missing) < len(asked.digests) else {}
            saved = sum(entry.cost for p, entry in enumerate(asked.entries) if p in known and entry)
            asked.exchange.outcome.cost = 0
            asked.exchange.outcome.saved = flight.landed.cost + saved
        return whole

    async def stream(self, flight: Flight, *, coalesced: bool = False) -> bool:
        """Send a flight's events as they come; False where it fails. Raises CannotFollow."""
        view = self._resumed()
        reader = flight.reader()
        try:
            while blocks := await reader.next():
                self._remember(blocks)
                data = b"".join(map(view.take, blocks))
                await self._write(data, flight, coalesced, done=blocks[-1].endswith(sse.DONE_EVENT))
                if blocks[-1].endswith(sse.DONE_EVENT):
                    return True
            landed = flight.landed
            if landed is not None and landed.body is not None:
                await self._write(view.take(replay(landed.body)), flight, coalesced, done=True)
        except (Cut, Diverged):
            raise CannotFollow from None
        finally:
            reader.done()
        return flight.landed is not None

    async def known(self, entries: Sequence[Stored]) -> None:
        """Go on from what is kept by now. Raises CannotFollow."""
        view = self._resumed()
        try:
            data = view.take(replay(bodies_merged(self._asked, entries)))
        except Diverged:
            raise CannotFollow from None
        await self._send(body_message(data))

    async def fail(self, body: bytes) -> None:
        """End a stream that has begun, by an error."""
        await self._send(body_message(sse.event(body)))

    async def give_up(self) -> None:
        """End a stream that nobody can continue."""
        error = UpstreamInvalid("The answer broke off and could not be continued.")
        outcome = self._asked.exchange.outcome
        outcome.error_code, outcome.failure = error.code, error
        await self.fail(error.body())

    def _remember(self, blocks: list[bytes]) -> None:
        if self._taken_over:
            return
        self._size += sum(map(len, blocks))
        if self._size > MAX_BYTES:
            self._sent = None
        elif self._sent is not None:
            self._sent += blocks

    def _resumed(self) -> StreamView:
        if self._view is None:
            self._view = new_view(self._asked)
            self._places = self._asked.missing
        elif self._sent is None or (self._asked.missing and self._asked.missing != self._places):
            raise CannotFollow
        elif self._sent:
            if not self._asked.missing and len(self._places) < len(self._asked.digests):
                raise CannotFollow
            self._view.taken_over(self._sent)
            self._taken_over = True
        return self._view

    async def _plain(self, flight: Flight) -> bool:
        flight.waiting_for_all += 1
        flight.tell()
        try:
            while not flight.over:
                await flight.change()
        finally:
            flight.waiting_for_all -= 1
        if flight.landed is None:
            return False
        body = flight.landed.body
        if body is None:
            body = await assembled(flight.blocks()) if flight.joinable else None
        if body is None:
            raise CannotFollow
        self._mark(flight)
        body = whole_body(self._asked, body)
        if self._asked.exchange.outcome.text is not None:
            self._asked.exchange.outcome.text.append(body.decode(errors="replace"))
        start, message = json_messages(200, body)
        await self._send(start)
        await self._send(message)
        return True

    async def _write(self, data: bytes, flight: Flight, coalesced: bool, *, done: bool) -> None:
        if not self.started:
            self.started = True
            if coalesced:
                self._mark(flight)
            await self._send(start_message(200, list(STREAM_HEADERS)))
        if coalesced and self._asked.exchange.outcome.text is not None:
            self._asked.exchange.outcome.text.append(data.decode(errors="replace"))
        if data or done:
            await self._send(body_message(data, not done))

    def _mark(self, flight: Flight) -> None:
        _name(self._asked, flight.provider, flight.model)
        mark(self._asked, "coalesced")
        if not self._asked.request.stream:
            self._asked.exchange.reply_headers.append((b"x-headgate-cost-usd", b"0"))


async def send_shared(error: SharedError, send: Send) -> None:
    """An upstream's failure that another caller's call met too."""
    for message in json_messages(error.status, error.body, list(error.headers)):
        await send(message)
