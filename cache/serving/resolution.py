"""What a request does about its answer: take it from the cache, lead a call, or follow another's."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import NamedTuple

from app.core.units import Millis
from cache.answers.entry import CacheEntry
from cache.answers.shared_tier import Found, Responses
from cache.flights.flights import Flight, Flights, worker_of
from cache.flights.relay import Relay
from cache.serving.lookup import CacheLookup
from cache.store.base import StoreUnavailable

LEADER_TIMEOUT_SECONDS = 4.0  # with a leader that does not answer; longer than its lease
AGAIN_SECONDS = 0.05


class Hit(NamedTuple):
    """Every prompt has a fresh entry."""

    entries: list[CacheEntry]


class Stale(NamedTuple):
    """What is kept will do for now. ``renewal`` is a flight to lead, where nobody renews it yet."""

    entries: list[CacheEntry]
    renewal: Flight | None


class Leader(NamedTuple):
    """This request makes the call, for everybody who asks the same."""

    flight: Flight


class Follower(NamedTuple):
    """Another request's call brings the answer; it is followed already."""

    flight: Flight


class Miss(NamedTuple):
    """This request makes the call, for itself alone."""


class StoreDown(NamedTuple):
    """As a miss, and nothing can be kept, because the store does not answer."""


Resolution = Hit | Stale | Leader | Follower | Miss | StoreDown


class Resolver:
    """Looks requests up and makes one leader for the same question, over all workers."""

    def __init__(self, responses: Responses, flights: Flights, relay: Relay) -> None:
        self._responses = responses
        self._flights = flights
        self._relay = relay

    async def look_up(self, lookup: CacheLookup) -> Hit | Stale | Miss | StoreDown:
        """For a request that shares with nobody."""
        directives = lookup.directives
        try:
            found = await self._responses.look_up(
                lookup.place,
                lookup.digests,
                read=directives.read,
                max_age=directives.max_age,
                policy=lookup.policy,
            )
            lookup.found(found.now, found.entries)
            if not lookup.missing:
                return _hit(lookup)
            stale = None if directives.only_if_cached else self._stale(lookup)
            if stale is None:
                return Miss()
            return Stale(stale, await self._lead(lookup) if lookup.storable else None)
        except StoreUnavailable:
            return StoreDown()

    async def again(self, lookup: CacheLookup) -> None:
        """What counts now, before something old is served: time has passed, and perhaps a purge."""
        if not lookup.directives.read:
            return
        try:
            found = await self._responses.look_up(
                lookup.place,
                lookup.digests,
                max_age=lookup.directives.max_age,
                policy=lookup.policy,
            )
        except StoreUnavailable:
            lookup.now = Millis(lookup.now + int((monotonic() - lookup.looked_at) * 1000))
        else:
            lookup.found(found.now, found.entries)

    async def share(self, lookup: CacheLookup, gives_up: float | None = None) -> Resolution:
        """For a request that leads or follows.

        ``gives_up`` is when (monotonic seconds) it no longer waits for a leader that is not there.
        """
        if gives_up is None:
            gives_up = monotonic() + LEADER_TIMEOUT_SECONDS
        while True:
            # Where a stale answer may do, nobody waits for the renewal of it.
            found = None if lookup.plan.revalidate else self._beside(lookup)
            resolution = found or await self._in_store(lookup)
            if resolution is not None:
                return resolution
            if monotonic() > gives_up:
                return Miss()
            await asyncio.sleep(AGAIN_SECONDS)

    def _beside(self, lookup: CacheLookup) -> Follower | None:
        """A flight in this worker: no need to ask the store."""
        flight = self._flights.find(lookup.flight_digest)
        if flight is None:
            return None
        flight.follow()
        return Follower(flight)

    async def _lead(self, lookup: CacheLookup) -> Flight | None:
        """Lead, if nobody does. Raises StoreUnavailable."""
        digest, flight_id = lookup.flight_digest, self._flights.new_id()
        found = await self._responses.look_up(
            lookup.place, [], flight=flight_id, flight_digest=digest
        )
        return self._begun(lookup, flight_id) if found.holder == flight_id else None

    async def _in_store(self, lookup: CacheLookup) -> Resolution | None:
        """None if the leader's worker does not answer, because it may be shutting down."""
        flight_id = self._flights.new_id()
        try:
            found = await self._look_up(lookup, flight_id)
        except StoreUnavailable:
            return StoreDown()
        leading = found.holder == flight_id
        if not lookup.missing:
            return _hit(lookup)
        stale = self._stale(lookup)
        if stale is not None:
            if leading and not lookup.storable:
                self._responses.keep(lookup.place, (), flight_id, lookup.flight_digest)
                leading = False
            return Stale(stale, self._begun(lookup, flight_id) if leading else None)
        if leading:
            return Leader(self._begun(lookup, flight_id))
        return await self._follow(lookup, found.holder or "")

    async def _look_up(self, lookup: CacheLookup, flight_id: str) -> Found:
        """What is kept and who leads, in one trip for a single prompt."""
        look_up, place, age = self._responses.look_up, lookup.place, lookup.directives.max_age
        if len(lookup.digests) == 1:
            found = await look_up(
                place,
                lookup.digests,
                max_age=age,
                flight=flight_id,
                flight_digest=lookup.flight_digest,
                policy=lookup.policy,
            )
            lookup.found(found.now, found.entries)
            return found
        found = await look_up(place, lookup.digests, max_age=age, policy=lookup.policy)
        lookup.found(found.now, found.entries)
        if not lookup.missing:
            return found
        digest = lookup.flight_digest
        holder = (await look_up(place, [], flight=flight_id, flight_digest=digest)).holder
        if holder == flight_id:
            # Whoever led until now may have completed between the two trips.
            found = await look_up(place, lookup.digests, max_age=age, policy=lookup.policy)
            lookup.found(found.now, found.entries)
            if not lookup.missing or lookup.flight_digest != digest:
                self._responses.keep(place, (), flight_id, digest)
                return found
        return found._replace(holder=holder)

    async def _follow(self, lookup: CacheLookup, holder: str) -> Follower | None:
        flight = self._flights.by_id(holder)
        if flight is not None and flight.joinable:
            flight.follow()
        elif flight is None and holder and worker_of(holder) != self._flights.worker:
            flight = await self._relay.join(holder, lookup.flight_digest, lookup.place.tenant)
        else:
            return None
        return Follower(flight) if flight is not None else None

    def _begun(self, lookup: CacheLookup, flight_id: str) -> Flight:
        flight = self._flights.begin(flight_id, lookup.flight_digest, lookup.place.tenant)
        self._relay.lead(flight)
        return flight

    def _stale(self, lookup: CacheLookup) -> list[CacheEntry] | None:
        """The answers that may be served while a new one is fetched."""
        return lookup.all_within(error=False) if lookup.plan.revalidate else None


def _hit(lookup: CacheLookup) -> Hit:
    return Hit([entry for entry in lookup.entries if entry is not None])
