"""The HTTP/1.1 transport under every provider: `httpx.Request` in, `httpx.Response` out.

It is called directly on the hot path, so it makes no task, no timer and no context manager per
request: one future to wait for the head, one for each wait for more of the body. The parts:
`request` and `response` (bytes, no I/O), `body` (the buffer), `connection`
and `deadlines` (asyncio), `pool` (who has which), `resolver` and `dialer` (getting connected).
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

import httpx

from app.providers.http1.body import ResponseBody
from app.providers.http1.connection import Connection
from app.providers.http1.deadlines import Limits
from app.providers.http1.dialer import Dialer
from app.providers.http1.errors import (
    AddressRefused,
    CertificateError,
    FirstByteTimeout,
    IdleTimeout,
    ResponseTooLarge,
    TotalTimeout,
)
from app.providers.http1.pool import Origin, OriginPool, OriginStats
from app.providers.http1.request import Outgoing, encode_request
from app.providers.http1.resolver import Resolver, allow_address
from app.providers.http1.response import ResponseReader

__all__ = [
    "AddressRefused",
    "CertificateError",
    "Exchanged",
    "FirstByteTimeout",
    "Http1Transport",
    "IdleTimeout",
    "OriginStats",
    "ResponseBody",
    "ResponseTooLarge",
    "TotalTimeout",
]

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Origins without a connection are forgotten when a new one would make more than this.
_MANY_ORIGINS = 256
# Seconds that `aclose` waits for sockets to be closed.
_CLOSE_WAIT = 2.0
_NO_TIMEOUTS: Mapping[str, float | None] = {}


class Exchanged(NamedTuple):
    """The head of an answer, and its body to be read; `retried` as in the response's extensions."""

    reader: ResponseReader
    body: ResponseBody
    retried: bool


class Http1Transport(httpx.AsyncBaseTransport):
    """Pooled, bounded HTTP/1.1 for one event loop; no redirects, cookies, decoding or proxies.

    Sizes are in bytes, times in seconds; `max_connections`, `max_waiters` and `max_idle` are per
    origin. `check_address` gets each resolved address (text) and says whether to connect to it.

    A request's `extensions["timeout"]` may hold, each None for no limit: `pool` (waiting for a
    connection), `connect` (that, and DNS, TCP and TLS), `write` (the peer taking none of a large
    request; default `first_byte`), `first_byte` (request sent to response head), `idle` (the reader
    waiting for the next bytes) and `total` (everything). `read` stands in for `first_byte` and
    `idle`. `extensions["max_body_bytes"]` overrides the constructor's.

    Sets `extensions["sent"]` of the request: whether bytes of it were written on a connection that
    the peer did not drop unanswered.

    The response's extensions: `retried` (a reused connection had died unanswered, and the request
    was sent once more on a new one), `close_delimited` (only the end of the connection ends the
    body, so a cut one looks whole), `http_version`. Its stream is a `ResponseBody`.

    Raises only httpx errors, and those of `http1.errors`. A request body that is a stream is sent
    up to the response head; a peer that answers sooner does not get the rest.
    """

    def __init__(
        self,
        *,
        max_connections: int = 1024,
        max_waiters: int = 4096,
        max_idle: int = 256,
        keepalive_expiry: float = 15.0,
        max_header_bytes: int = 65536,
        max_body_bytes: int = 64 * 1024 * 1024,
        ssl_context: ssl.SSLContext | None = None,
        resolver_ttl: float = 30.0,
        check_address: Callable[[str], bool] | None = None,
    ) -> None:
        self._max_connections = max_connections
        self._max_waiters = max_waiters
        self._max_idle = max_idle
        self._keepalive_expiry = keepalive_expiry
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes
        self._dialer = Dialer(
            resolver=Resolver(resolver_ttl),
            check_address=check_address or allow_address,
            ssl_context=ssl_context,
        )
        self._pools: dict[tuple[bytes, bytes, int | None], OriginPool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._draining = False
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; return when the response head is in."""
        url, extensions = request.url, request.extensions
        done = await self.exchange(
            (url.raw_scheme, url.raw_host, url.port),
            encode_request(request),
            extensions.get("timeout") or _NO_TIMEOUTS,
            extensions,
            extensions.get("max_body_bytes"),
        )
        return _response(request, done)

    async def exchange(
        self,
        origin: tuple[bytes, bytes, int | None],
        outgoing: Outgoing,
        timeouts: Mapping[str, float | None],
        notes: MutableMapping[str, Any],
        max_body_bytes: int | None = None,
    ) -> Exchanged:
        """The same without httpx's objects; `notes` gets `sent`. Return when the head is in."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        if self._draining:
            raise httpx.ConnectError("the transport is closed")
        limits = self._limits(timeouts, loop.time(), max_body_bytes)
        pool = self._pools.get(origin) or self._add_pool(origin)
        notes["sent"] = False
        connection = pool.take()
        if connection is None:
            connection = await self._connect(pool, timeouts, limits.total_at, fresh=False)
        notes["sent"] = True
        try:
            return Exchanged(*await _exchange(connection, outgoing, limits), retried=False)
        except httpx.TransportError:
            replayable = outgoing.stream is None
            if not (connection.served and connection.died_unanswered and replayable):
                raise
            notes["sent"] = False
            connection = await self._connect(pool, timeouts, limits.total_at, fresh=True)
            notes["sent"] = True
            return Exchanged(*await _exchange(connection, outgoing, limits), retried=True)

    def _limits(
        self, timeouts: Mapping[str, float | None], now: float, max_body_bytes: int | None
    ) -> Limits:
        read = timeouts.get("read")
        first_byte = timeouts.get("first_byte", read)
        total = timeouts.get("total")
        return Limits(
            first_byte,
            timeouts.get("idle", read),
            timeouts.get("write", first_byte),
            math.inf if total is None else now + total,
            self._max_header_bytes,
            self._max_body_bytes if max_body_bytes is None else max_body_bytes,
        )

    async def _connect(
        self,
        pool: OriginPool,
        timeouts: Mapping[str, float | None],
        total_at: float,
        *,
        fresh: bool,
    ) -> Connection:
        """A connection, waited for; reused (unless `fresh`) or opened."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        connect_at = _earliest(now, total_at, timeouts.get("connect"))
        pool_at = _earliest(now, connect_at or math.inf, timeouts.get("pool"))
        if fresh:
            await pool.acquire_slot(pool_at)
        else:
            connection = await pool.acquire(pool_at)
            if connection is not None:
                return connection
        try:
            connection = await self._dialer.dial(
                pool.origin, lambda: Connection(loop, pool), connect_at
            )
        except BaseException:
            pool.free_slot()
            raise
        if self._closed or not connection.usable:
            connection.abort()
            pool.free_slot()
            raise httpx.ConnectError(f"the connection to {pool.origin} was closed at once")
        pool.adopt(connection)
        return connection

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise RuntimeError("the transport belongs to another event loop")
        self._loop = loop

    def _add_pool(self, key: tuple[bytes, bytes, int | None]) -> OriginPool:
        scheme, host, port = key[0].decode("ascii"), key[1].decode("ascii"), key[2]
        if scheme not in _DEFAULT_PORTS:
            raise httpx.UnsupportedProtocol(f"the URL scheme {scheme!r} is not http or https")
        if not host:
            raise httpx.UnsupportedProtocol("the URL has no host")
        if len(self._pools) >= _MANY_ORIGINS:
            self._pools = {key: pool for key, pool in self._pools.items() if not pool.empty}
        assert self._loop is not None
        pool = OriginPool(
            origin=Origin(scheme, host, port or _DEFAULT_PORTS[scheme]),
            loop=self._loop,
            max_connections=self._max_connections,
            max_waiters=self._max_waiters,
            max_idle=self._max_idle,
            keepalive_expiry=self._keepalive_expiry,
            on_idle=self._on_idle,
        )
        self._pools[key] = pool
        return pool

    def _on_idle(self) -> None:
        # Runs only while something is idle, and so ends by itself.
        if self._sweep_timer is None and self._loop is not None:
            self._sweep_timer = self._loop.call_later(self._keepalive_expiry / 2, self._sweep)

    def _sweep(self) -> None:
        self._sweep_timer = None
        still_idle = [pool for pool in self._pools.values() if pool.close_expired()]
        if still_idle:
            self._on_idle()

    def stats(self) -> dict[str, OriginStats]:
        """The present counts of each origin, by `scheme://host:port`."""
        return {str(pool.origin): pool.stats() for pool in self._pools.values()}

    async def drain(self) -> None:
        """Take no new request, let those in flight and in the queue finish, then be closed.

        Waits as long as they take; cancel it, or call `aclose`, to wait no longer.
        """
        self._draining = True
        for pool in self._pools.values():
            pool.retire()
        for pool in list(self._pools.values()):
            await pool.emptied()
        self._stop_sweeping()

    async def aclose(self) -> None:
        """Close every connection now; exchanges in flight end with `httpx.ReadError`."""
        self._draining = self._closed = True
        self._stop_sweeping()
        for pool in self._pools.values():
            pool.abort()
        try:
            # Sockets close within a turn of the loop; those still being opened have their own clock.
            async with asyncio.timeout(_CLOSE_WAIT):
                for pool in list(self._pools.values()):
                    await pool.emptied()
        except TimeoutError:
            pass

    def _stop_sweeping(self) -> None:
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None


async def _exchange(
    connection: Connection, outgoing: Outgoing, limits: Limits
) -> tuple[ResponseReader, ResponseBody]:
    """Send the request on `connection` and wait for the head of its answer."""
    reader, body = connection.begin(outgoing, limits)
    if outgoing.stream is not None:
        await connection.send_stream(body)
    await body.head()
    return reader, body


def _response(request: httpx.Request, done: Exchanged) -> httpx.Response:
    # Filled in as httpx itself would, but without copying and lower-casing each header again.
    reader = done.reader
    headers = httpx.Headers()
    headers._list = reader.headers
    return httpx.Response(
        reader.status,
        headers=headers,
        stream=done.body,
        request=request,
        extensions={
            "http_version": reader.http_version,
            "retried": done.retried,
            "close_delimited": reader.close_delimited,
        },
    )


def _earliest(now: float, limit: float, seconds: float | None) -> float | None:
    """Loop time at which `seconds` or `limit` runs out; None for never."""
    when = limit if seconds is None else min(limit, now + seconds)
    return None if when == math.inf else when
