"""Who asks the upstream, and who waits for another's answer."""

from __future__ import annotations

import asyncio
from enum import Enum
from time import monotonic
from typing import NamedTuple

from app.caching.asked import Asked
from cache.connection import StoreUnavailable
from cache.flight_relay import Relay
from cache.flights import Flight, Flights, worker_of
from cache.responses import Found, Responses

PATIENCE_SECONDS = 4.0  # with a leader that does not answer; longer than its lease
AGAIN_SECONDS = 0.05


class Role(Enum):
    """What a request does about its missing answers."""

    KNOWN = "nothing is missing"
    STALE = "what is kept will do, and will be renewed"
    LEAD = "asks for everybody"
    FOLLOW = "waits for another's answer"
    ALONE = "asks for itself"
    OUT = "asks for itself, because the store does not answer"


class Seat(NamedTuple):
    """A role, and the flight that it is about."""

    role: Role
    flight: Flight | None = None


class Seats:
    """Gives every request its seat; one leader for the same question, over all workers."""

    def __init__(self, responses: Responses, flights: Flights, relay: Relay) -> None:
        self._responses = responses
        self._flights = flights
        self._relay = relay

    async def look(self, asked: Asked) -> Seat:
        """For a request that shares with nobody. Raises StoreUnavailable."""
        wishes = asked.wishes
        found = await self._responses.look_up(
            asked.place, asked.digests, read=wishes.read, max_age=wishes.max_age
        )
        asked.found(found.now, found.entries)
        if not asked.missing:
            return Seat(Role.KNOWN)
        if not wishes.only_if_cached and self._may_be_stale(asked):
            return Seat(Role.STALE, await self.lead(asked) if asked.keeps else None)
        return Seat(Role.ALONE)

    async def again(self, asked: Asked) -> None:
        """What counts now, before something old is served: time has passed, and perhaps a purge."""
        if not asked.wishes.read:
            return
        try:
            found = await self._responses.look_up(
                asked.place, asked.digests, max_age=asked.wishes.max_age
            )
        except StoreUnavailable:
            asked.now += int((monotonic() - asked.looked_at) * 1000)
        else:
            asked.found(found.now, found.entries)

    async def find(self, asked: Asked, gives_up: float | None = None) -> Seat:
        """For a request that shares. A flight to follow is followed already.

        ``gives_up`` is when (monotonic seconds) it no longer waits for a leader that is not there.
        """
        if gives_up is None:
            gives_up = monotonic() + PATIENCE_SECONDS
        while True:
            # Where a stale answer may do, nobody waits for the renewal of it.
            seat = None if asked.plan.revalidate else self.beside(asked)
            seat = seat or await self._in_store(asked)
            if seat is not None:
                return seat
            if monotonic() > gives_up:
                return Seat(Role.ALONE)
            await asyncio.sleep(AGAIN_SECONDS)

    def beside(self, asked: Asked) -> Seat | None:
        """A flight in this worker: no need to ask the store."""
        flight = self._flights.find(asked.flight_digest)
        if flight is None:
            return None
        flight.follow()
        return Seat(Role.FOLLOW, flight)

    async def lead(self, asked: Asked) -> Flight | None:
        """Lead, if nobody does. Raises StoreUnavailable."""
        digest, flight_id = asked.flight_digest, self._flights.new_id()
        found = await self._responses.look_up(
            asked.place, [], flight=flight_id, flight_digest=digest
        )
        return self._begun(asked, flight_id) if found.holder == flight_id else None

    async def _in_store(self, asked: Asked) -> Seat | None:
        """None where who leads cannot be reached: it may be gone soon."""
        flight_id = self._flights.new_id()
        try:
            found = await self._look_up(asked, flight_id)
        except StoreUnavailable:
            return Seat(Role.OUT)
        leading = found.holder == flight_id
        if not asked.missing:
            return Seat(Role.KNOWN)
        if self._may_be_stale(asked):
            if leading and not asked.keeps:
                self._responses.keep(asked.place, (), flight_id, asked.flight_digest)
                leading = False
            return Seat(Role.STALE, self._begun(asked, flight_id) if leading else None)
        if leading:
            return Seat(Role.LEAD, self._begun(asked, flight_id))
        return await self._follow(asked, found.holder or "")

    async def _look_up(self, asked: Asked, flight_id: str) -> Found:
        """What is kept and who leads, in one trip for a single prompt."""
        look_up, place, age = self._responses.look_up, asked.place, asked.wishes.max_age
        if len(asked.digests) == 1:
            digests = asked.digests
            found = await look_up(
                place, digests, max_age=age, flight=flight_id, flight_digest=digests[0]
            )
            asked.found(found.now, found.entries)
            return found
        found = await look_up(place, asked.digests, max_age=age)
        asked.found(found.now, found.entries)
        if not asked.missing:
            return found
        digest = asked.flight_digest
        holder = (await look_up(place, [], flight=flight_id, flight_digest=digest)).holder
        if holder == flight_id:
            # Whoever led until now may have come home between the two trips.
            found = await look_up(place, asked.digests, max_age=age)
            asked.found(found.now, found.entries)
            if not asked.missing or asked.flight_digest != digest:
                self._responses.keep(place, (), flight_id, digest)
                return found
        return found._replace(holder=holder)

    async def _follow(self, asked: Asked, holder: str) -> Seat | None:
        flight = self._flights.by_id(holder)
        if flight is not None and flight.joinable:
            flight.follow()
        elif flight is None and holder and worker_of(holder) != self._flights.worker:
            flight = await self._relay.join(holder, asked.flight_digest, asked.place.tenant)
        else:
            return None
        return Seat(Role.FOLLOW, flight) if flight is not None else None

    def _begun(self, asked: Asked, flight_id: str) -> Flight:
        flight = self._flights.begin(flight_id, asked.flight_digest, asked.place.tenant)
        self._relay.lead(flight)
        return flight

    def _may_be_stale(self, asked: Asked) -> bool:
        return bool(asked.plan.revalidate) and asked.all_within(error=False) is not None
