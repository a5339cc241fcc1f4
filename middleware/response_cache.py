"""Was it asked before? Answered from what is kept, or together with who is asking right now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import copy
from time import perf_counter

from app.caching.asked import Asked
from app.caching.call import Listener, mark
from app.caching.delivery import deliver_stored
from app.caching.journey import Journey, Kept, conclude, pack_large, to_nobody
from app.caching.plans import CachePlan, is_sampled
from app.caching.question import match_headers, question_of
from app.caching.seats import Role, Seat
from app.caching.verifying import Verifier
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.cache_control import asks_only_cached, read_wishes
from app.core.errors import GatewayError, InvalidRequest
from app.core.exchange import CLIENT_CLOSED_REQUEST, Exchange, exchange_of
from app.core.keys import Key
from app.core.refusal import refuse
from app.departure import PATIENCE_SECONDS, CallerGone, Departure, patiently
from app.patience import Patience
from app.providers.forwarding import forwarded_headers
from cache.connection import StoreUnavailable
from cache.flights import Flight

LARGE_BODY = 128 << 10  # a mebibyte of numbers takes 0.2 s to put into canonical form: not here


class NotCached(GatewayError):
    status = 504
    type = "upstream_error"
    code = "not_cached"
    retryable = False


class ResponseCache:
    """Answers by the plan that ``plan_of`` gives a key and an alias; without one it is not there.

    ``recorder`` is told of calls that are made in the background; ``send_timeout`` is seconds for
    which a caller of a stream may read nothing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        kept: Kept,
        plan_of: Callable[[Key, str], CachePlan | None],
        verifier: Verifier,
        recorder: Callable[[Exchange], None],
        send_timeout: float,
    ) -> None:
        self._verifier = verifier
        self._app = app
        self._kept = kept
        self._plan_of = plan_of
        self._recorder = recorder
        self._patience = Patience(PATIENCE_SECONDS)
        self._stall = Patience(send_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        key, request = exchange.key, exchange.request
        assert key is not None
        assert request is not None
        plan = self._plan_of(key, request.model)
        if plan is None:
            if asks_only_cached(exchange.headers):
                await refuse(exchange, send, _not_cached())
            else:
                await self._app(scope, receive, send)
            return
        try:
            wishes = read_wishes(_all_lines(scope, exchange.headers))
        except InvalidRequest as error:
            await refuse(exchange, send, error)
            return
        where = plan.where(wishes.namespace)
        asked = Asked(exchange, plan, wishes, where)
        if not (wishes.read or wishes.write) or (not plan.reuse_sampled and is_sampled(request)):
            await self._bypass(asked, scope, receive, send)
            return
        if plan.varies:
            asked.headers = forwarded_headers(scope["headers"], exchange, plan.varies)
        if len(exchange.body) < LARGE_BODY:
            asked.digests = where.fingerprints(request, asked.headers)
        else:
            asked.digests = await asyncio.to_thread(where.fingerprints, request, asked.headers)
        if self._on_shelf(asked):
            await self._answer(asked, scope, send)
        elif (exchange.store_out and not self._kept.apart) or self._kept.responses.out:
            await self._bypass(asked, scope, receive, send)
        elif asked.may_share:
            await self._share(asked, scope, receive, send)
        else:
            await self._serve(asked, scope, receive, send)

    def _on_shelf(self, asked: Asked) -> bool:
        if len(asked.digests) > 1 or not asked.wishes.read:
            return False
        asked.epoch = self._kept.shelf.epoch
        found = self._kept.shelf.get(asked.digests[0], asked.wishes.max_age)
        if found is None:
            return False
        asked.found(found[1], [found[0]])
        asked.from_shelf = True
        return True

    async def _bypass(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        if asked.wishes.only_if_cached:
            await refuse(asked.exchange, send, _not_cached())
            return
        mark(asked, "bypass")
        await self._app(scope, receive, send)

    async def _answer(self, asked: Asked, scope: Scope, send: Send) -> None:
        """From what is kept, all of it fresh."""
        entries = [entry for entry in asked.entries if entry is not None]
        if len(entries) == 1 and not asked.from_shelf:
            # Before the caller takes its time: a purge meanwhile must find it there.
            self._kept.shelf.put(asked.digests[0], entries[0], asked.now, asked.epoch)
        if asked.plan.meaning is not None and len(entries) == 1:
            self._verifier.control(asked, asked.plan.meaning, entries[0], scope)
        await deliver_stored(asked, send, entries, "hit")

    async def _by_meaning(self, asked: Asked, scope: Scope, send: Send) -> bool:
        """Whether another prompt's answer did."""
        plan = asked.plan.meaning
        if plan is None or not asked.wishes.read or len(asked.digests) > 1:
            return False
        asked.question = question = question_of(asked, plan)
        if question is None:
            return False
        try:
            match = await self._kept.by_meaning.find(question)
        except StoreUnavailable:
            return False
        if match is None:
            return False
        self._verifier.match(question, match, scope)
        found = match_headers(question, match, self._kept.feedback_ids)
        await deliver_stored(asked, send, [match.entry], "hit", found)
        return True

    async def _serve(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        """For a request that shares with nobody."""
        if await self._looked(asked, scope, receive, send):
            return
        if asked.wishes.only_if_cached:
            await refuse(asked.exchange, send, _not_cached())
            return
        await self._ask(asked, scope, receive, send)

    async def _looked(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether a look into the store was enough to answer; also where it cannot be looked into."""
        try:
            seat = await self._kept.seats.look(asked)
        except StoreUnavailable:
            await self._bypass(asked, scope, receive, send)
            return True
        return await self._from_kept(seat, asked, scope, send)

    async def _from_kept(self, seat: Seat, asked: Asked, scope: Scope, send: Send) -> bool:
        """Whether the answer was there, fresh or stale enough."""
        if seat.role is Role.KNOWN:
            await self._answer(asked, scope, send)
            return True
        if seat.role is Role.STALE:
            if seat.flight is not None:
                self._renew(asked, scope, seat.flight)
            await deliver_stored(asked, send, asked.all_within(error=False) or [], "stale")
            return True
        return seat.role is Role.ALONE and await self._by_meaning(asked, scope, send)

    async def _share(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        """For a request that asks, or waits, together with others."""
        # Before there is a lead to hold: those who follow should not wait for our reading.
        if asked.plan.meaning is not None and await self._looked(asked, scope, receive, send):
            return
        seat = await self._kept.seats.find(asked)
        if await self._from_kept(seat, asked, scope, send):
            return
        journey = Journey(self._app, self._kept, asked, scope)
        try:
            with Departure(receive, self._patience, journey.stay) as departure:
                if asked.request.stream:
                    send = patiently(send, departure, self._stall, asked.exchange.outcome)
                await journey.travel(seat, send)
        except CallerGone:
            outcome = asked.exchange.outcome
            outcome.status, outcome.error_code = CLIENT_CLOSED_REQUEST, "client_closed_request"
        finally:
            await journey.unpack()

    async def _ask(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask for ourselves, and keep the answer."""
        if asked.continuous_usage:
            mark(asked, "miss")
            await self._app(scope, receive, send)
            return
        asked.ask_for_missing()
        listener = Listener(asked, send, None)
        await self._app(scope, receive, listener)
        await conclude(asked, listener, send, self._kept.seats)
        kept = await listener.parts()
        self._kept.keep(
            asked.place, kept, packed=await pack_large(self._kept.responses, asked.place, kept)
        )
        await self._kept.learn(asked, kept)

    def _renew(self, asked: Asked, scope: Scope, flight: Flight) -> None:
        """Fetch new answers for stale ones that are served meanwhile."""
        original = asked.exchange
        exchange = Exchange(original.request_id, original.headers, perf_counter())
        exchange.key, exchange.request = original.key, copy(asked.request)
        exchange.outcome.alias, exchange.outcome.cache = original.outcome.alias, "renewal"
        renewal = Asked(exchange, asked.plan, asked.wishes, asked.where)
        renewal.headers = asked.headers
        renewal.digests = asked.digests
        renewal.found(asked.now, asked.entries)
        journey = Journey(
            self._app, self._kept, renewal, {**scope, "state": {"exchange": exchange}}
        )

        async def renew() -> None:
            try:
                await journey.travel(Seat(Role.LEAD, flight), to_nobody)
            finally:
                await journey.unpack()
                exchange.outcome.cache, exchange.outcome.status = "renewal", journey.status
                self._recorder(exchange)

        if not self._kept.background.start(renew):
            self._kept.release(renewal, flight)


def _all_lines(scope: Scope, headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers, with every line of a cache-control that was sent in several."""
    if b"cache-control" in headers:
        lines = [value for name, value in scope["headers"] if name == b"cache-control"]
        headers[b"cache-control"] = b", ".join(lines)
    return headers


def _not_cached() -> NotCached:
    return NotCached("The answer is not in the cache, and `only-if-cached` was asked for.")
