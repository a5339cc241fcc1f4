"""One request that shares its upstream call: it leads, or follows one call after another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from types import MappingProxyType
from typing import NamedTuple

from app.concurrency.background import Background
from app.core.call import Handler
from app.core.errors import UpstreamError
from app.core.reply import ReplyWriter
from app.core.units import Digest
from cache.answers.entry import LARGE, CacheEntry
from cache.answers.local_tier import LocalTier
from cache.answers.shared_tier import Place, Responses
from cache.flights.flights import Flight, Flights, SharedError
from cache.quotas.counters import Counters
from cache.semantic.feedback_ids import FeedbackIds
from cache.semantic.index import SemanticIndex
from cache.semantic.query import query_of
from cache.semantic.search import ByMeaning
from cache.serving.capture import ReplyCapture, shared_error
from cache.serving.delivery import CannotFollow, Delivery, RelayedError, deliver_stored
from cache.serving.lookup import CacheLookup, is_outage
from cache.serving.resolution import (
    LEADER_TIMEOUT_SECONDS,
    Follower,
    Hit,
    Leader,
    Miss,
    Resolution,
    Resolver,
    Stale,
    StoreDown,
)
from cache.store.base import StoreUnavailable

# A flight that was followed for longer than this was a real call, so its end begins a new wait for
# the next one; a shorter one was given up before it began, and waiting for it counts.
REAL_FLIGHT_SECONDS = 1.5
MOST_FAILURES = 2  # of calls for the same thing, before everybody who waits gets the error


class CacheParts(NamedTuple):
    """What the cache works with; lives as long as the worker.

    ``apart``: it is in a store of its own, so that the main one's outage does not touch it.
    """

    responses: Responses
    local_tier: LocalTier
    flights: Flights
    resolver: Resolver
    background: Background
    by_meaning: ByMeaning
    semantic_index: SemanticIndex
    counters: Counters
    feedback_ids: FeedbackIds
    apart: bool

    def put(
        self,
        place: Place,
        entries: list[tuple[Digest, CacheEntry]],
        flight: Flight | None = None,
        packed: Mapping[Digest, bytes] = MappingProxyType({}),
    ) -> None:
        """Store new entries, and end the flight that brought them."""
        for digest, _ in entries:
            self.local_tier.drop(digest)
        if flight is not None:
            self.responses.keep(place, entries, flight.id, flight.digest, packed)
            self.flights.end(flight)
        elif entries:
            self.responses.keep(place, entries, packed=packed)

    def release(self, lookup: CacheLookup, flight: Flight) -> None:
        """Do not lead after all."""
        flight.fail()
        self.put(lookup.place, [], flight)

    async def store(
        self,
        lookup: CacheLookup,
        capture: ReplyCapture | None,
        flight: Flight | None = None,
    ) -> None:
        """Store what a call brought, and end its flight, whatever it brought."""
        entries: list[tuple[Digest, CacheEntry]] = []
        packed: dict[Digest, bytes] = {}
        try:
            if capture is not None:
                entries = await capture.entries()
                packed = await pack_large(self.responses, lookup.place, entries)
        finally:
            self.put(lookup.place, entries, flight, packed)
        await self._index(lookup, entries)

    async def _index(self, lookup: CacheLookup, entries: list[tuple[Digest, CacheEntry]]) -> None:
        """Let new answers be found by what their prompts mean."""
        if lookup.plan.meaning is None or len(lookup.digests) > 1 or not entries:
            return
        query = lookup.query or query_of(lookup, lookup.plan.meaning)
        if query is not None:
            with suppress(StoreUnavailable):
                await self.by_meaning.learn(query, entries[0][1])


class CoalescedRequest:
    """Answers one request by leading or following; ``inner`` is the rest of the chain."""

    def __init__(
        self,
        inner: Handler,
        services: CacheParts,
        lookup: CacheLookup,
        reply: ReplyWriter,
    ) -> None:
        self._inner = inner
        self._services = services
        self._lookup = lookup
        self._reply = reply
        self._delivery = Delivery(lookup, reply)
        self._led: Flight | None = None
        self._capture: ReplyCapture | None = None
        self._stored = False

    async def run(self, resolution: Resolution) -> None:
        """Follow until there is an answer, or until it is ours to ask; then store what came."""
        self._lookup.call.caller.linger = self._linger
        try:
            match await self._follow_all(resolution):
                case Leader(flight):
                    await self._lead(flight)
                case Hit(entries):
                    await self._from_entries(entries, "hit")
                case Stale(entries, renewal):
                    if renewal is not None:
                        self._services.release(self._lookup, renewal)
                    await self._from_entries(entries, "stale")
                case Miss():
                    await self._ask_alone()
                case StoreDown():
                    await self._bypass()
                case _:
                    return
        finally:
            await self._store_result()

    async def _linger(self) -> None:
        """Wait while others want what we ask for."""
        if self._led is not None:
            await self._led.unfollowed()

    async def _follow_all(self, resolution: Resolution) -> Resolution | None:
        """Follow one flight after another; None where one of them brought the answer."""
        failures = 0
        gives_up: float | None = None
        while isinstance(resolution, Follower):
            flight, since = resolution.flight, monotonic()
            try:
                if await self._delivery.follow(flight):
                    return None
            except CannotFollow:
                return Miss()
            finally:
                flight.leave()
            error = flight.failure.error if flight.failure is not None else None
            if error is not None:
                failures += 1
                if failures >= MOST_FAILURES:
                    await self._share_failure(error)
                    return None
            if gives_up is None or monotonic() - since > REAL_FLIGHT_SECONDS:
                gives_up = monotonic() + LEADER_TIMEOUT_SECONDS
            resolution = await self._services.resolver.share(self._lookup, gives_up)
        return resolution

    async def _lead(self, flight: Flight) -> None:
        self._led = flight
        self._capture = capture = ReplyCapture(self._lookup, self._reply, flight)
        try:
            if self._lookup.request.stream:
                await self._lead_stream(capture, flight)
            else:
                await self._call(capture)
        except UpstreamError as error:
            await self._fail_or_stale(error)

    async def _lead_stream(self, capture: ReplyCapture, flight: Flight) -> None:
        """The call by itself, so that a slow caller of ours does not hold up those who follow."""
        call = asyncio.get_running_loop().create_task(self._call(capture))
        try:
            await self._delivery.stream(flight)
        except CannotFollow:
            await self._delivery.give_up()
        except BaseException:
            if not capture.whole:
                call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            raise
        await call
        if capture.failure is not None:
            await self._fail_or_stale(capture.failure)

    async def _call(self, capture: ReplyCapture) -> None:
        try:
            await self._inner(capture.call, capture)
        except BaseException as error:
            if self._led is not None:
                self._led.fail(shared_error(error))
            raise
        finally:
            if self._led is not None:
                self._led.fail()  # nothing where it is over
            # Now, and not when a slow caller has read it all, because others want it.
            await self._store_result()

    async def _ask_alone(self) -> None:
        if self._delivery.started:
            await self._delivery.give_up()
            return
        self._capture = capture = ReplyCapture(self._lookup, self._reply)
        try:
            await self._call(capture)
        except UpstreamError as error:
            await self._fail_or_stale(error)

    async def _bypass(self) -> None:
        if self._delivery.started:
            await self._delivery.give_up()
            return
        self._lookup.set_status("bypass")
        await self._inner(self._lookup.call, self._reply)

    async def _from_entries(self, entries: list[CacheEntry], status: str) -> None:
        """Somebody else's answer was stored while we looked for one to follow."""
        if not self._delivery.started:
            await deliver_stored(self._lookup, self._reply, entries, status)
            return
        try:
            await self._delivery.known(entries)
        except CannotFollow:
            await self._delivery.give_up()

    async def _share_failure(self, shared: SharedError) -> None:
        error = RelayedError.of(shared)
        if self._delivery.started:
            await self._reply.fail(error)
            return
        if is_outage(shared.status) and await self._deliver_stale():
            self._lookup.call.outcome.error_code = shared.code
            return
        raise error

    async def _fail_or_stale(self, error: UpstreamError) -> None:
        """Our own call failed before there was an answer."""
        if self._delivery.started:
            await self._reply.fail(error)
            return
        await fail_or_stale(self._services.resolver, self._lookup, self._reply, error)

    async def _deliver_stale(self) -> bool:
        await self._services.resolver.again(self._lookup)
        stale = self._lookup.all_within(error=True)
        if stale is None:
            return False
        await deliver_stored(self._lookup, self._reply, stale, "stale")
        return True

    async def _store_result(self) -> None:
        """Store what was brought, and end the flight that brought it; once."""
        if not self._stored:
            self._stored = True
            await self._services.store(self._lookup, self._capture, self._led)


async def fail_or_stale(
    resolver: Resolver, lookup: CacheLookup, reply: ReplyWriter, error: UpstreamError
) -> None:
    """Serve an old answer instead of an upstream's failure, where there is one; else raise it."""
    if lookup.stale_for(error) is not None:
        await resolver.again(lookup)
        stale = lookup.stale_for(error)
        if stale is not None:
            lookup.call.outcome.error_code = error.code
            await deliver_stored(lookup, reply, stale, "stale")
            return
    raise error


async def pack_large(
    responses: Responses, place: Place, entries: list[tuple[Digest, CacheEntry]]
) -> dict[Digest, bytes]:
    """The large entries as they are stored, packed in a thread: the loop goes on meanwhile."""
    large = [(digest, answer) for digest, answer in entries if len(answer.body) >= LARGE]
    return {
        digest: await asyncio.to_thread(responses.packed, place, digest, answer)
        for digest, answer in large
    }
