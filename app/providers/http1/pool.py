"""The connections to one origin: who has one, who waits for one, which lie idle."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import httpx

from app.providers.http1.connection import Connection


class Origin(NamedTuple):
    """Where requests go: `host` as it stands in the URL, without brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class OriginStats(NamedTuple):
    """Connections of one origin: `open` (being opened included) is `idle` plus `in_use`."""

    open: int
    idle: int
    in_use: int
    waiting: int


class OriginPool:
    """At most `max_connections` slots for one origin; an idle connection keeps its slot.

    While anyone waits nothing is idle: a connection or a slot that comes free goes straight to
    whoever has waited longest. `on_idle` is called when a connection has been laid aside.
    """

    def __init__(
        self,
        *,
        origin: Origin,
        loop: asyncio.AbstractEventLoop,
        max_connections: int,
        max_waiters: int,
        max_idle: int,
        keepalive_expiry: float,
        on_idle: Callable[[], None],
    ) -> None:
        self.origin = origin
        self._loop = loop
        self._max_connections = max_connections
        self._max_waiters = max_waiters
        self._max_idle = max_idle
        self._keepalive_expiry = keepalive_expiry
        self._on_idle = on_idle
        self._slots = 0
        # A dict, because it gives the last one in O(1) and any one up in O(1).
        self._idle: dict[Connection, None] = {}
        self._waiters: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()
        # Those that hold a slot, and those whose socket is not yet closed.
        self._holders: set[Connection] = set()
        self._alive: set[Connection] = set()
        self._emptied: asyncio.Future[None] | None = None
        self._keeping = True

    def take(self) -> Connection | None:
        """The connection that was last laid aside and still serves, or None."""
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.expires_at > self._loop.time():
                return connection
            connection.close()
        return None

    async def acquire(self, until: float | None) -> Connection | None:
        """A connection, or None for a slot in which the caller opens one (or `free_slot`s it).

        Waits its turn up to the loop time `until`. Raises `httpx.PoolTimeout`.
        """
        while True:
            connection = self.take()
            if connection is not None:
                return connection
            if self._reserve():
                return None
            connection = await self._wait(until)
            # It may have died between being handed over and this task waking.
            if connection is None or connection.usable:
                return connection

    async def acquire_slot(self, until: float | None) -> None:
        """A slot for a connection that is surely new, if need be in place of an old one."""
        if self._slots >= self._max_connections and self._idle:
            next(iter(self._idle)).close()
        while not self._reserve():
            connection = await self._wait(until)
            if connection is None:
                return
            if connection.usable:
                self._holders.discard(connection)
                connection.abort()
                return

    def _reserve(self) -> bool:
        if self._slots >= self._max_connections or self._waiters:
            return False
        self._slots += 1
        return True

    async def _wait(self, until: float | None) -> Connection | None:
        if len(self._waiters) >= self._max_waiters:
            raise httpx.PoolTimeout("too many requests wait for a connection")
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters[waiter] = None
        timer = None if until is None else self._loop.call_at(until, _expire, waiter)
        try:
            return await waiter
        except BaseException:
            self._waiters.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _give_back(self, connection: Connection | None) -> None:
        if connection is None:
            self.free_slot()
        elif connection.usable:
            self.release(connection)

    def _next_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                return waiter
        return None

    def adopt(self, connection: Connection) -> None:
        """Let `connection`, just opened, hold the caller's slot until it is discarded."""
        self._holders.add(connection)
        self._alive.add(connection)

    def free_slot(self) -> None:
        """Give back a slot, to whoever waits."""
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self._slots -= 1
            self._check_emptied()

    # Called by connections (`Owner`).

    def release(self, connection: Connection) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(connection)
        elif not self._keeping or len(self._idle) >= self._max_idle:
            connection.close()
        else:
            keep = self._keepalive_expiry
            stated = connection.keep_alive_seconds
            if stated is not None:
                # A second before the peer closes, so as not to meet it halfway.
                keep = min(keep, stated - 1 if stated > 1 else stated / 2)
            connection.expires_at = self._loop.time() + keep
            self._idle[connection] = None
            self._on_idle()

    def discard(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        if connection in self._holders:
            self._holders.discard(connection)
            self.free_slot()

    def forget(self, connection: Connection) -> None:
        self._alive.discard(connection)
        self._check_emptied()

    # Housekeeping.

    def close_expired(self) -> bool:
        """Close what has lain idle too long; whether any idle connection is left."""
        now = self._loop.time()
        for connection in [c for c in self._idle if c.expires_at <= now]:
            connection.close()
        return bool(self._idle)

    def retire(self) -> None:
        """Keep no connection from now on: close the idle ones, the others when they are done."""
        self._keeping = False
        for connection in list(self._idle):
            connection.close()

    def abort(self) -> None:
        """End every exchange and every wait with an error."""
        self.retire()
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(httpx.ConnectError("the transport was closed"))
        for connection in list(self._alive):
            connection.fail(httpx.ReadError("the transport was closed"))

    async def emptied(self) -> None:
        """Wait until no slot is taken and every socket is closed."""
        while not self.empty:
            if self._emptied is None:
                self._emptied = self._loop.create_future()
            await asyncio.shield(self._emptied)

    @property
    def empty(self) -> bool:
        """Whether nothing is open, being opened or waited for."""
        return not (self._slots or self._alive or self._waiters)

    def _check_emptied(self) -> None:
        if self._emptied is not None and self.empty:
            self._emptied.set_result(None)
            self._emptied = None

    def stats(self) -> OriginStats:
        """The present counts."""
        idle = len(self._idle)
        return OriginStats(self._slots, idle, self._slots - idle, len(self._waiters))


def _expire(waiter: asyncio.Future[Connection | None]) -> None:
    if not waiter.done():
        waiter.set_exception(httpx.PoolTimeout("no connection came free in time"))
