"""Was it asked before? Answered from the cache, or together with who is asking right now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from app.core.call import Call, Handler
from app.core.errors import GatewayError
from app.core.reply import DISCARD, ReplyWriter
from app.providers.client.forwarding import forwarded_headers
from cache.answers.directives import asks_only_cached, read_directives
from cache.answers.entry import CacheEntry
from cache.flights.flights import Flight
from cache.semantic.query import Match, SemanticQuery, match_headers, query_of
from cache.serving.coalesced import CacheParts, CoalescedRequest
from cache.serving.delivery import deliver_stored
from cache.serving.lookup import CacheLookup
from cache.serving.plan import CachePlan
from cache.serving.resolution import (
    Follower,
    Hit,
    Leader,
    Miss,
    Resolution,
    Stale,
    StoreDown,
)
from cache.serving.verifier import Verifier
from cache.store.base import StoreUnavailable

LARGE_BODY = 128 << 10  # a mebibyte of numbers takes 0.2 s to put into canonical form: not here


class NotCached(GatewayError):
    status = 504
    type = "upstream_error"
    code = "not_cached"
    retryable = False


class SemanticHit(NamedTuple):
    """Another prompt's answer will do."""

    query: SemanticQuery
    match: Match


class ResponseCache:
    """Serves from the cache under the plan for this key and model. Passes through when there is none.

    ``recorder`` is told of calls that are made in the background.
    """

    def __init__(
        self,
        inner: Handler,
        *,
        services: CacheParts,
        plan_of: Callable[[Call], CachePlan | None],
        verifier: Verifier,
        recorder: Callable[[Call], None],
    ) -> None:
        self._inner = inner
        self._services = services
        self._plan_of = plan_of
        self._verifier = verifier
        self._recorder = recorder

    def __call__(self, call: Call, reply: ReplyWriter) -> Awaitable[None]:
        plan = self._plan_of(call)
        if plan is None:
            if asks_only_cached(call.headers):
                raise _not_cached()
            return self._inner(call, reply)
        return self._cached(call, reply, plan)

    async def _cached(self, call: Call, reply: ReplyWriter, plan: CachePlan) -> None:
        lookup = _lookup(call, plan)
        resolution = await self._resolve(lookup)
        match resolution:
            case Hit(entries):
                await self._deliver(lookup, entries, reply)
            case SemanticHit(query, found):
                self._verifier.sample_match(lookup, query, found)
                headers = match_headers(query, found, self._services.feedback_ids)
                await deliver_stored(lookup, reply, [found.entry], "hit", headers)
            case Stale(entries, renewal):
                if renewal is not None:
                    self._renew(lookup, renewal)
                await deliver_stored(lookup, reply, entries, "stale")
            case _ if lookup.directives.only_if_cached:
                raise _not_cached()
            case StoreDown():
                lookup.set_status("bypass")
                await self._inner(call, reply)
            case Miss() if call.request.continuous_usage:
                lookup.set_status("miss")
                await self._inner(call, reply)
            case Miss() | Leader() | Follower():
                await CoalescedRequest(self._inner, self._services, lookup, reply).run(resolution)

    async def _resolve(self, lookup: CacheLookup) -> Resolution | SemanticHit:
        """What to do about a request's answer."""
        directives, plan, services = lookup.directives, lookup.plan, self._services
        request = lookup.request
        unwanted = not (directives.read or directives.write) or not request.cacheable
        if unwanted or (not plan.reuse_sampled and request.sampled):
            return StoreDown()
        varies, steering = lookup.plan.varies, lookup.call.steering
        if steering is not None:
            varies |= steering.forward
        if varies:
            lookup.headers = forwarded_headers(lookup.call, varies)
        fingerprints, request = lookup.where.fingerprints, lookup.request
        if len(lookup.call.body) < LARGE_BODY:
            lookup.identify(fingerprints(request, lookup.headers))
        else:
            lookup.identify(await asyncio.to_thread(fingerprints, request, lookup.headers))
        if (entry := self._in_local(lookup)) is not None:
            return Hit([entry])
        if (lookup.call.store_out and not services.apart) or services.responses.out:
            return StoreDown()
        if not lookup.may_coalesce or plan.meaning is not None:
            # Before there is a flight to lead: those who follow should not wait for our reading.
            resolution = await services.resolver.look_up(lookup)
            if not isinstance(resolution, Miss):
                return resolution
            by_meaning = await self._by_meaning(lookup)
            if by_meaning is not None or not lookup.may_coalesce:
                return by_meaning or resolution
        return await services.resolver.share(lookup)

    def _in_local(self, lookup: CacheLookup) -> CacheEntry | None:
        """A fresh entry in this worker's own cache."""
        if len(lookup.digests) > 1 or not lookup.directives.read:
            return None
        local = self._services.local_tier
        lookup.epoch = local.epoch
        found = local.get(lookup.digests[0], lookup.directives.max_age)
        if found is None or found[0].policy != lookup.policy:
            return None
        lookup.found(found[1], [found[0]])
        lookup.from_local = True
        return found[0]

    async def _by_meaning(self, lookup: CacheLookup) -> SemanticHit | None:
        """Another prompt's answer that will do."""
        plan = lookup.plan.meaning
        steering = lookup.call.steering
        if plan is None or (steering is not None and steering.exact):
            return None
        if not lookup.directives.read or len(lookup.digests) > 1:
            return None
        lookup.query = query = query_of(lookup, plan)
        if query is None:
            return None
        try:
            found = await self._services.by_meaning.find(query)
        except StoreUnavailable:
            return None
        if found is None or found.entry.policy != lookup.policy:
            return None
        return SemanticHit(query, found)

    async def _deliver(
        self, lookup: CacheLookup, entries: list[CacheEntry], reply: ReplyWriter
    ) -> None:
        """From fresh entries."""
        if len(entries) == 1:
            if not lookup.from_local:
                # Before the caller takes its time: a purge meanwhile must find it there.
                self._services.local_tier.put(
                    lookup.digests[0], entries[0], lookup.now, lookup.epoch
                )
            if lookup.plan.meaning is not None:
                self._verifier.sample_control(lookup, lookup.plan.meaning, entries[0])
        await deliver_stored(lookup, reply, entries, "hit")

    def _renew(self, lookup: CacheLookup, flight: Flight) -> None:
        """Fetch new answers for stale ones that are served meanwhile."""
        call = lookup.call.background("renewal")
        renewal = lookup.again(call)
        renewal.found(lookup.now, lookup.entries)
        request = CoalescedRequest(self._inner, self._services, renewal, DISCARD)

        async def renew() -> None:
            outcome = call.outcome
            try:
                await request.run(Leader(flight))
                outcome.status = 200
            except GatewayError as error:
                outcome.status, outcome.error_code = error.status, error.code
            finally:
                outcome.cache = "renewal"
                self._recorder(call)

        if not self._services.background.start(renew):
            self._services.release(renewal, flight)


def _lookup(call: Call, plan: CachePlan) -> CacheLookup:
    """The request as the cache sees it. Raises InvalidRequest for directives that are wrong."""
    headers = call.headers
    if b"cache-control" in headers:
        # It may have been sent in several lines, which count together.
        lines = [value for name, value in call.header_lines if name == b"cache-control"]
        headers = headers | {b"cache-control": b", ".join(lines)}
    directives = read_directives(headers)
    return CacheLookup(call, plan, directives, plan.where(call.family, directives.namespace))


def _not_cached() -> NotCached:
    return NotCached("The answer is not in the cache, and `only-if-cached` was asked for.")
