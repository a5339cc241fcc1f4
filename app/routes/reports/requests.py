"""GET /admin/v1/requests: the latest requests; and as they come, under requests/tail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson

from app.core.errors import InvalidRequest, Unavailable
from app.core.limits import retry_headers
from app.core.refusal import SOON, store_unavailable
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.reports.fresh import Fresh
from app.routes.reports.usage import number_in
from cache.quotas.activity import Facts, read_after, read_recent
from cache.store.base import Store, StoreUnavailable

DEFAULT_ROWS, MOST_ROWS = 50, 200
ENTRIES_AT_ONCE = 50
MOST_PAGES = 8  # of entries that one request looks through
TAIL_SECONDS = 0.5
QUIET_SECONDS = 15.0  # after which a tail says that it lives
MOST_TAILS = 32
TAIL_LIFE_SECONDS = 600.0  # a browser asks again by itself

FILTERS = ("tenant", "key", "model", "code", "status", "request_id")


class RequestsReport:
    """``now`` gives unix seconds, the store's; tails end when the worker is ``ending``."""

    def __init__(self, store: Store, now: Callable[[], float], ending: Callable[[], bool]) -> None:
        self._store = store
        self._now = now
        self._ending = ending
        self._fresh = Fresh(TAIL_SECONDS / 2)
        self._tails = 0

    def routes(self) -> list[AdminRoute]:
        return [
            AdminRoute(
                "GET", "/requests", "usage:read", self.requests, ("limit", "cursor", *FILTERS)
            ),
            AdminRoute("GET", "/requests/tail", "usage:read", self.tail, FILTERS),
        ]

    async def requests(self, call: AdminCall) -> AdminReply:
        """Newest first; ``next_cursor`` is what ``cursor`` takes, null where there are no older ones.

        A page may hold a few more than ``limit``, because records are kept by the second.
        """
        limit = number_in(call.query, "limit", DEFAULT_ROWS, MOST_ROWS)
        before = _place(call.query.get("cursor", "+"))
        fits = _filter(call)
        data: list[Facts] = []
        more: str | None = before
        try:
            for _ in range(MOST_PAGES):
                entries = await read_recent(self._store, before, ENTRIES_AT_ONCE)
                for place, records in entries:
                    data += [one for one in reversed(records) if fits(one)]
                    before = more = place
                    if len(data) >= limit:
                        break
                if len(entries) < ENTRIES_AT_ONCE and len(data) < limit:
                    more = None
                if more is None or len(data) >= limit:
                    break
        except StoreUnavailable:
            raise store_unavailable("requests") from None
        return AdminReply({"object": "list", "data": data, "next_cursor": more})

    async def tail(self, call: AdminCall) -> AdminReply:
        """Server-sent events: ``requests`` with a list of records, oldest first."""
        if self._tails >= MOST_TAILS:
            raise Unavailable("Too many follow the requests already.", headers=retry_headers(SOON))
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        return AdminReply(headers=headers, stream=self._follow(_filter(call)))

    async def _after(self, place: str) -> list[tuple[str, list[Facts]]]:
        """What came after a place; those who have seen as much wait for one answer."""

        async def make() -> list[tuple[str, list[Facts]]]:
            return await read_after(self._store, place, ENTRIES_AT_ONCE)

        found: list[tuple[str, list[Facts]]] = await self._fresh.get(place, make)
        return found

    async def _follow(self, fits: Callable[[Facts], bool]) -> AsyncIterator[bytes]:
        self._tails += 1
        try:
            place = f"{int(self._now() * 1000)}-0"
            loop = asyncio.get_running_loop()
            end, quiet = loop.time() + TAIL_LIFE_SECONDS, 0.0
            yield b": following\n\n"
            while loop.time() < end and not self._ending():
                await asyncio.sleep(TAIL_SECONDS)
                try:
                    entries = await self._after(place)
                except StoreUnavailable:
                    entries = []
                found = [one for _, records in entries for one in records if fits(one)]
                place = entries[-1][0] if entries else place
                quiet += TAIL_SECONDS
                if found:
                    quiet = 0.0
                    yield b"event: requests\ndata: " + orjson.dumps(found) + b"\n\n"
                elif quiet >= QUIET_SECONDS:
                    quiet = 0.0
                    yield b": nothing new\n\n"
        finally:
            self._tails -= 1


def _filter(call: AdminCall) -> Callable[[Facts], bool]:
    """Whether a record is asked for, and to be seen by who asks. Raises InvalidRequest."""
    query, who = call.query, call.who
    status = query.get("status")
    if status not in (None, "ok", "error"):
        raise InvalidRequest("`status` must be ok or error.", param="status")
    members = {"tenant": "tenant", "key": "key", "model": "alias", "code": "error"}
    members["request_id"] = "request_id"

    def fits(record: dict[str, Any]) -> bool:
        if who.tenants is not None and record["tenant"] not in who.tenants:
            return False
        if status is not None and (record["status"] >= 400) is not (status == "error"):
            return False
        return all(
            query[name] == (record[member] or "")
            for name, member in members.items()
            if name in query
        )

    return fits


def _place(text: str) -> str:
    """A place in the stream, as an earlier page gave it. Raises InvalidRequest."""
    if text != "+" and not all(part.isascii() and part.isdigit() for part in text.split("-", 1)):
        raise InvalidRequest("`cursor` must be `next_cursor` of an earlier page.", param="cursor")
    return text
