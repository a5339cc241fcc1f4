"""Host names to addresses: a bounded cache over getaddrinfo, and which addresses are allowed."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import httpx

_MAX_CACHED_HOSTS = 1024
# The IPv6 twin of 169.254.169.254 at AWS lies in the private range, which is otherwise allowed.
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254")})
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def allow_address(address: str) -> bool:
    """Whether an upstream may have this IP address (text, perhaps with a %scope).

    Refused: link-local (where clouds serve instance credentials), multicast, unspecified; also
    when wrapped in an IPv6 address. Loopback and private addresses are where local models run.
    """
    ip = _unwrap(ipaddress.ip_address(address))
    return not (ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA)


def _unwrap(ip: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


class Resolver:
    """Looks up each host at most once per `ttl` seconds, however many requests ask at once."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._cached: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._lookups: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        """The addresses of `host` in the system's order. Raises `httpx.ConnectError` for none."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            return (host,)
        cached = self._cached.get(host)
        if cached is not None and asyncio.get_running_loop().time() < cached[0]:
            return cached[1]
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = asyncio.ensure_future(self._lookup(host))
            self._lookups[host] = lookup
            lookup.add_done_callback(lambda task: self._looked_up(host, task))
        try:
            # Shielded: a caller that is cancelled must not take the others' answer with it.
            return await asyncio.shield(lookup)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"cannot resolve {host}: {error}") from error

    async def _lookup(self, host: str) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _looked_up(self, host: str, task: asyncio.Task[tuple[str, ...]]) -> None:
        del self._lookups[host]
        # Reading the exception also keeps asyncio from reporting one that nobody waited for.
        if task.cancelled() or task.exception() is not None:
            return
        self._cached.pop(host, None)
        if len(self._cached) >= _MAX_CACHED_HOSTS:
            del self._cached[next(iter(self._cached))]
        self._cached[host] = (task.get_loop().time() + self._ttl, task.result())
