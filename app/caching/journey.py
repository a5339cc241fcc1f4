"""One shared request from its seat to its answer: leading a flight, or following one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple

from app.caching.asked import Asked, is_outage
from app.caching.background import Background
from app.caching.by_meaning import ByMeaning
from app.caching.call import Listener, mark
from app.caching.delivery import CannotFollow, Delivery, deliver_stored, send_shared
from app.caching.question import question_of
from app.caching.seats import PATIENCE_SECONDS, Role, Seat, Seats
from app.core.asgi import ASGIApp, Message, Scope, Send
from app.core.stored_answer import LARGE, Stored
from cache.connection import StoreUnavailable
from cache.counters import Counters
from cache.feedback_ids import FeedbackIds
from cache.flights import Flight, Flights, SharedError
from cache.meanings import Meanings
from cache.responses import Place, Responses
from cache.shelf import Shelf

LIVED_SECONDS = 1.5  # a flight that went on for so long was one; others are only waited for
FAILURES_BORNE = 2  # of calls for the same thing, before their error is everybody's


class Kept(NamedTuple):
    """Everything that the workers keep and share: see the files of these names.

    ``apart``: it is in a store of its own, so that the main one's outage does not touch it.
    """

    responses: Responses
    shelf: Shelf
    flights: Flights
    seats: Seats
    background: Background
    by_meaning: ByMeaning
    meanings: Meanings
    counters: Counters
    feedback_ids: FeedbackIds
    apart: bool

    def keep(
        self,
        place: Place,
        entries: list[tuple[bytes, Stored]],
        flight: Flight | None = None,
        packed: Mapping[bytes, bytes] = MappingProxyType({}),
    ) -> None:
        """Keep new answers, and end the flight that brought them."""
        for digest, _ in entries:
            self.shelf.drop(digest)
        if flight is not None:
            self.responses.keep(place, entries, flight.id, flight.digest, packed)
            self.flights.end(flight)
        elif entries:
            self.responses.keep(place, entries, packed=packed)

    def release(self, asked: Asked, flight: Flight) -> None:
        """Do not lead after all."""
        flight.fail()
        self.keep(asked.place, [], flight)

    async def learn(self, asked: Asked, entries: list[tuple[bytes, Stored]]) -> None:
        """Keep what new answers mean."""
        if asked.plan.meaning is None or len(asked.digests) > 1 or not entries:
            return
        question = asked.question or question_of(asked, asked.plan.meaning)
        if question is not None:
            with suppress(StoreUnavailable):
                await self.by_meaning.learn(question, entries[0][1])


class Journey:
    """``app`` is the rest of the chain."""

    def __init__(self, app: ASGIApp, kept: Kept, asked: Asked, scope: Scope) -> None:
        self._app = app
        self._kept = kept
        self._asked = asked
        self._scope = scope
        self._led: Flight | None = None
        self._listener: Listener | None = None
        self._unpacked = False
        self._delivered = False  # our caller has all of it: what is left is keeping it

    @property
    def status(self) -> int:
        """What our own call was answered with; 0 where there was none."""
        return self._listener.status if self._listener is not None else 0

    async def stay(self) -> None:
        """Wait while others want what we ask for."""
        if self._led is not None:
            await self._led.unfollowed()
        if self._delivered:
            await never()  # servers say that a caller is gone when it has all of its answer, too

    async def travel(self, seat: Seat, send: Send) -> None:
        """Follow until there is an answer, or until it is ours to ask."""
        delivery = Delivery(self._asked, send)
        failures = 0
        gives_up = 0.0
        while seat.role is Role.FOLLOW and seat.flight is not None:
            flight, since = seat.flight, monotonic()
            try:
                if await delivery.follow(flight):
                    return
            except CannotFollow:
                seat = Seat(Role.ALONE)
                break
            finally:
                flight.leave()
            error = flight.failure.error if flight.failure is not None else None
            failures += error is not None
            if error is not None and failures >= FAILURES_BORNE:
                await self._share_failure(delivery, send, error)
                return
            if monotonic() - since > LIVED_SECONDS or not gives_up:
                gives_up = monotonic() + PATIENCE_SECONDS
            seat = await self._kept.seats.find(self._asked, gives_up)
        if seat.role is Role.LEAD and seat.flight is not None:
            await self._lead(delivery, send, seat.flight)
        elif seat.role is Role.ALONE or seat.role is Role.OUT:
            await self._go_alone(delivery, send, bypass=seat.role is Role.OUT)
        else:
            await self._from_kept(delivery, send, seat)

    async def unpack(self) -> None:
        """Keep what was brought, and end the flight that brought it; once."""
        if self._unpacked:
            return
        self._unpacked = True
        asked, flight, listener = self._asked, self._led, self._listener
        kept: list[tuple[bytes, Stored]] = []
        packed: dict[bytes, bytes] = {}
        try:
            if listener is not None:
                kept = await listener.parts()
                packed = await pack_large(self._kept.responses, asked.place, kept)
        finally:
            self._kept.keep(asked.place, kept, flight, packed)
        await self._kept.learn(asked, kept)

    async def _lead(self, delivery: Delivery, send: Send, flight: Flight) -> None:
        asked = self._asked
        self._led = flight
        asked.ask_for_missing()
        self._listener = listener = Listener(asked, send, flight)
        if asked.request.stream:
            await self._stream(listener, delivery, flight)
        else:
            await self._call(listener)
        if delivery.started and listener.refusal is not None:
            await delivery.fail(listener.refusal[1]["body"])
        else:
            await conclude(asked, listener, send, self._kept.seats)

    async def _call(self, listener: Listener) -> None:
        try:
            await self._app(self._scope, never, listener)
            self._delivered = self._delivered or not listener.led_stream
        finally:
            listener.over()
            # Now, and not when a slow caller has read it all: others want it, or want to take over.
            await self.unpack()

    async def _stream(self, listener: Listener, delivery: Delivery, flight: Flight) -> None:
        """The call by itself, so that a slow caller of ours does not hold up those who follow."""
        call = asyncio.get_running_loop().create_task(self._call(listener))
        try:
            self._delivered = await delivery.stream(flight)
        except CannotFollow:
            await delivery.give_up()
        except BaseException:
            if not listener.whole:
                call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            raise
        await call

    async def _go_alone(self, delivery: Delivery, send: Send, *, bypass: bool) -> None:
        asked = self._asked
        if delivery.started:
            await delivery.give_up()
        elif bypass:
            mark(asked, "bypass")
            await self._app(self._scope, never, send)
        else:
            asked.ask_for_missing()
            self._listener = listener = Listener(asked, send, None)
            await self._call(listener)
            await conclude(asked, listener, send, self._kept.seats)

    async def _from_kept(self, delivery: Delivery, send: Send, seat: Seat) -> None:
        """Somebody else's answer came home while we were looking for a seat."""
        asked = self._asked
        if seat.flight is not None:
            self._kept.release(asked, seat.flight)
        entries = [entry for entry in asked.entries if entry is not None]
        if not delivery.started:
            await deliver_stored(asked, send, entries, "stale" if asked.missing else "hit")
            return
        try:
            await delivery.known(entries)
        except CannotFollow:
            await delivery.give_up()

    async def _share_failure(self, delivery: Delivery, send: Send, error: SharedError) -> None:
        asked = self._asked
        if delivery.started:
            await delivery.fail(error.body)
        elif is_outage(error.status) and (stale := await self._stale()):
            await deliver_stored(asked, send, stale, "stale")
        else:
            await send_shared(error, send)
        asked.exchange.outcome.error_code = error.code

    async def _stale(self) -> list[Any] | None:
        asked = self._asked
        await self._kept.seats.again(asked)
        return asked.all_within(error=True)


async def conclude(asked: Asked, listener: Listener, send: Send, seats: Seats) -> None:
    """Pass on what a call ended with instead of an answer, or something better."""
    if listener.refusal is not None:
        failure = asked.exchange.outcome.failure
        if asked.stale_for(failure) is not None:
            await seats.again(asked)
            stale = asked.stale_for(failure)
            if stale is not None:
                await deliver_stored(asked, send, stale, "stale")
                return
        for message in listener.refusal:
            await send(message)
    elif listener.last_words is not None:
        await send(listener.last_words)


async def pack_large(
    responses: Responses, place: Place, entries: list[tuple[bytes, Stored]]
) -> dict[bytes, bytes]:
    """The large ones as they are kept, packed in a thread: the loop goes on meanwhile."""
    large = [(digest, answer) for digest, answer in entries if len(answer.body) >= LARGE]
    return {
        digest: await asyncio.to_thread(responses.packed, place, digest, answer)
        for digest, answer in large
    }


async def to_nobody(_: Message) -> None:
    """A ``send`` for calls that nobody waits for."""


async def never() -> Any:
    """A ``receive`` that has nothing to say: somebody else watches over the caller."""
    await asyncio.get_running_loop().create_future()
