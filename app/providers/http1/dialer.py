"""Opening a connection: resolve, check each address, connect, TLS; every failure typed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import httpx

from app.providers.http1.connection import Connection
from app.providers.http1.errors import AddressRefused, CertificateError
from app.providers.http1.pool import Origin
from app.providers.http1.resolver import Resolver

# asyncio's own limits on TLS, in seconds. The handshake is really bounded by the connect clock;
# the goodbye of an idle connection has no other bound.
_TLS_HANDSHAKE = 120.0
_TLS_SHUTDOWN = 1.0


class Dialer:
    """Opens connections to allowed addresses, trying those of a host one after another."""

    def __init__(
        self,
        *,
        resolver: Resolver,
        check_address: Callable[[str], bool],
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._resolver = resolver
        self._check_address = check_address
        self._ssl_context = ssl_context

    async def dial(
        self, origin: Origin, make: Callable[[], Connection], until: float | None
    ) -> Connection:
        """A new connection to `origin`, opened before the loop time `until`.

        Raises `httpx.ConnectTimeout`, `httpx.ConnectError`, or a subclass of it.
        """
        timeout = asyncio.timeout_at(until)
        try:
            async with timeout:
                return await self._dial_any(origin, make, until)
        except TimeoutError:
            raise httpx.ConnectTimeout(f"no connection to {origin} in time") from None

    async def _dial_any(
        self, origin: Origin, make: Callable[[], Connection], until: float | None
    ) -> Connection:
        addresses = await self._resolver.resolve(origin.host)
        # Checked on what is about to be connected to, so that DNS cannot change its mind between.
        allowed = [address for address in addresses if self._check_address(address)]
        if not allowed:
            raise AddressRefused(f"{origin.host} has no address that may be connected to")
        loop = asyncio.get_running_loop()
        for index, address in enumerate(allowed):
            left = len(allowed) - index
            share = None
            if until is not None and left > 1:
                # A dead address must leave the others their part of the time.
                share = loop.time() + max(0.0, until - loop.time()) / left
            try:
                async with asyncio.timeout_at(share):
                    return await self._dial_one(origin, address, make)
            except CertificateError:
                raise
            except (TimeoutError, httpx.ConnectError, httpx.ConnectTimeout):
                if left == 1:
                    raise
        raise AssertionError("unreachable: the last address returns or raises")

    async def _dial_one(
        self, origin: Origin, address: str, make: Callable[[], Connection]
    ) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            if origin.scheme == "http":
                _, connection = await loop.create_connection(make, address, origin.port)
            else:
                _, connection = await loop.create_connection(
                    make,
                    address,
                    origin.port,
                    ssl=self._context(),
                    server_hostname=origin.host.rstrip("."),
                    ssl_handshake_timeout=_TLS_HANDSHAKE,
                    ssl_shutdown_timeout=_TLS_SHUTDOWN,
                )
        except ssl.SSLCertVerificationError as error:
            raise CertificateError(
                f"certificate verification failed for {origin}: {error.verify_message}"
            ) from error
        except ssl.SSLError as error:
            raise httpx.ConnectError(f"TLS with {origin} failed: {error}") from error
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"{origin} at {address} does not answer") from error
        except (OSError, ValueError, OverflowError) as error:
            raise httpx.ConnectError(f"cannot connect to {origin} at {address}: {error}") from error
        return connection

    def _context(self) -> ssl.SSLContext:
        # Made late: reading the system's roots takes tens of milliseconds.
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])
        return self._ssl_context
