"""One call through the rest of the chain, listened to: what it says is kept, shared and passed on."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import orjson

from app.caching.asked import Asked
from app.core import sse
from app.core.asgi import Message, Send, body_message, json_messages
from app.core.cached_parts import Part, is_clean, merge, split
from app.core.errors import UpstreamError
from app.core.stored_answer import Stored
from app.core.stream_replay import Assembly, NotAssembled, payloads
from app.core.stream_view import StreamView
from app.core.usage import Usage, read_usage
from cache.flights import MAX_BYTES, Flight, SharedError

AT_ONCE = 64  # events assembled at a stretch
_EVENTS = b"text/event-stream"


class Listener:
    """The ``send`` that the rest of the chain is given.

    With a ``flight`` every block goes there, and whoever delivers it reads it there; without one it
    goes on to the caller (``send``) as it comes. A refusal is not passed on but kept in
    ``refusal``: there may be something better, such as a stale answer.
    """

    def __init__(self, asked: Asked, send: Send, flight: Flight | None) -> None:
        self._asked = asked
        self._send = send
        self._flight = flight
        self._known = asked.known if len(asked.missing) < len(asked.digests) else None
        self._began = monotonic()
        self._start: Message | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self.streamed = False
        self.body: bytes | None = None  # of a whole plain answer
        self.blocks: list[bytes] | None = []  # of a stream; None where it grew too large to keep
        self.whole = False
        self.refusal: tuple[Message, Message] | None = None
        self.last_words: Message | None = None  # the error that broke a stream
        self._view = new_view(asked) if flight is None else None

    @property
    def status(self) -> int:
        """What the call was answered with; 0 where it was not."""
        return int(self._start["status"]) if self._start is not None else 0

    @property
    def led_stream(self) -> bool:
        """Whether somebody else than this listener sends the answer to its caller."""
        return self._flight is not None and self.streamed

    @property
    def _ok(self) -> bool:
        return self.status == 200

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            if self._ok:
                await self._begin(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._ok and self.streamed:
            await self._take_block(body, more)
            return
        self._parts.append(body)
        if more:
            return
        body = b"".join(self._parts)
        if self._ok:
            await self._take_body(body)
        else:
            assert self._start is not None
            self.refusal = (self._start, body_message(body))

    async def _begin(self, message: Message) -> None:
        exchange = self._asked.exchange
        headers = dict(message["headers"])
        self.streamed = headers[b"content-type"].startswith(_EVENTS)
        if self._known is not None:
            mark(self._asked, "partial")
            exchange.outcome.saved = sum(
                entry.cost
                for place, entry in enumerate(self._asked.entries)
                if entry is not None and place in self._known
            )
        else:
            mark(self._asked, "miss")
        if self._flight is not None:
            outcome = exchange.outcome
            self._flight.named(outcome.provider, outcome.model, streamed=self.streamed)
        elif self.streamed:
            await self._send(message)

    async def _take_body(self, body: bytes) -> None:
        asked, outcome = self._asked, self._asked.exchange.outcome
        self.body, self.whole = body, True
        if self._flight is not None and outcome.usage is not None:
            self._flight.land(body, outcome.usage, outcome.cost or 0)
        if self._known is not None:
            body = whole_body(asked, body)
        for message in json_messages(200, body):
            await self._send(message)

    async def _take_block(self, block: bytes, more: bool) -> None:
        if more or block.endswith(sse.DONE_EVENT):
            self._keep(block)
            if self._flight is not None:
                self._flight.publish(block)
                await self._flight.room()
            elif self._view is not None and (data := self._view.take(block)):
                await self._send(body_message(data, more))
            elif not more:
                await self._send(body_message(b""))
            if not more:
                self._land_stream(block)
        else:
            self.last_words = body_message(block)

    def _keep(self, block: bytes) -> None:
        self._size += len(block)
        if self.blocks is not None:
            if self._size > MAX_BYTES:
                self.blocks = None
            else:
                self.blocks.append(block)

    def _land_stream(self, block: bytes) -> None:
        self.whole = True
        if self._flight is not None:
            usage = _usage_of(block)
            price = self._asked.plan.price
            self._flight.land(None, usage, price.cost(usage) if price is not None else 0)

    def over(self) -> None:
        """The call has returned: without an answer, those who follow must know why."""
        if self._flight is not None and not self._flight.over:
            self._flight.fail(shared_error(self._asked))

    async def parts(self) -> list[tuple[bytes, Stored]]:
        """What may be kept of the answer, under its fingerprints; yields to others on the way."""
        asked, plan = self._asked, self._asked.plan
        outcome, usage = asked.exchange.outcome, asked.exchange.outcome.usage
        if not (self.whole and asked.keeps and usage is not None):
            return []
        if outcome.target != plan.target:
            return []
        if self.body is None:
            self.body = await assembled(self.blocks) if self.blocks else None
        request = asked.exchange.request
        assert request is not None
        choices = len(asked.missing) * request.n
        if self.body is None or not is_clean(self.body, choices):
            return []
        now = asked.now + int((monotonic() - self._began) * 1000)
        fresh, revalidate, on_error = plan.lifetimes(asked.wishes.ttl, now)
        kept = []
        for place, part in zip(
            asked.missing, split(self.body, usage, request.prompts, request.n), strict=True
        ):
            if len(part.body) <= plan.max_entry:
                times = (asked.now, now, fresh, revalidate, on_error)
                kept.append((asked.digests[place], self._stored(part, times)))
        return kept

    def _stored(self, part: Part, times: tuple[int, int, int, int, int]) -> Stored:
        outcome, price = self._asked.exchange.outcome, self._asked.plan.price
        cost = price.cost(part.usage) if price is not None else 0
        provider, model = outcome.provider or "", outcome.model or ""
        return Stored(part.body, provider, model, part.usage, cost, *times)


def new_view(asked: Asked) -> StreamView:
    """The stream of a call for the missing prompts, as this caller gets it."""
    partly = len(asked.missing) < len(asked.digests)
    return StreamView(
        include_usage=asked.include_usage,
        places=asked.missing if partly else None,
        known=asked.known if partly else None,
        n=asked.request.n,
    )


async def assembled(blocks: list[bytes]) -> bytes | None:
    """The plain answer that a stream adds up to, if it does."""
    assembly = Assembly()
    events = [payload for block in blocks for payload in payloads(block)]
    try:
        for start in range(0, len(events), AT_ONCE):
            assembly.add(events[start : start + AT_ONCE])
            if start:
                await asyncio.sleep(0)
        return assembly.body()
    except NotAssembled:
        return None


def whole_body(asked: Asked, body: bytes) -> bytes:
    """The plain answer to all prompts, from one to the missing ones and what is known."""
    known = asked.known
    if not known:
        return body
    n = asked.request.n
    usage = read_usage(orjson.loads(body)["usage"]) or Usage(0, 0)
    prompts = [asked.request.prompts[place] for place in asked.missing]
    fresh = split(body, usage, prompts, n)
    bodies = {place: part.body for place, part in zip(asked.missing, fresh, strict=True)}
    return merge(known | bodies, len(asked.digests), n, asked.missing[0])


def mark(asked: Asked, what: str) -> None:
    """Say what the cache did, to the caller and in the record."""
    asked.exchange.outcome.cache = what
    asked.exchange.reply_headers.append((b"x-headgate-cache", what.encode()))


def shared_error(asked: Asked) -> SharedError | None:
    """The failure as others may see it; None where it is the caller's own affair."""
    error = asked.exchange.outcome.failure
    if not isinstance(error, UpstreamError):
        return None
    return SharedError(error.status, error.code, error.body(), tuple(error.headers))


def _usage_of(block: bytes) -> Usage:
    """What the usage chunk at the end of a stream says."""
    chunk = orjson.loads(payloads(block)[-2])
    return read_usage(chunk.get("usage")) or Usage(0, 0)
