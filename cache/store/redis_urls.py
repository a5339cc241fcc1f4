"""From a store's URL to a way of dialling it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

from redis import exceptions as errors
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel

from app.config.values.store_url import StoreUrl, parse_store_url
from cache.store.cluster import to_cluster
from cache.store.outages import Outage, not_let_in, outage_of
from cache.store.redis_connection import Address, Wire, open_wire
from cache.store.redis_store import CONNECT_SECONDS, Dial, Line, RedisStore


def dial_for(url: str) -> Dial:
    """How to reach a store. Raises ValueError for a URL that names none."""
    parts = parse_store_url(url)
    if parts.scheme == "redis+cluster":
        return to_cluster(parts, where_is(url))
    return _to_server(_finder(parts))


def finder_for(url: str) -> Callable[[], Awaitable[Address]]:
    """Where a server of the store is now; of a cluster, any node (they pass messages on)."""
    return _finder(parse_store_url(url))


def where_is(url: str) -> str:
    """A store's address as a log may show it."""
    parts = parse_store_url(url)
    hosts = ",".join(f"{host}:{port}" for host, port in parts.hosts)
    return parts.path or (f"{parts.service} of {hosts}" if parts.service else hosts)


def _to_server(find: Callable[[], Awaitable[Address]]) -> Dial:
    """A dial for a single server, wherever ``find`` says it is now."""

    async def dial(store: RedisStore) -> Line:
        address = await find()

        def lost(wire: Wire) -> None:
            store.lost(wire)

        return await open_wire(address, store.answered, lost, within=CONNECT_SECONDS)

    return dial


def _finder(parts: StoreUrl) -> Callable[[], Awaitable[Address]]:
    if parts.scheme == "redis+sentinel":
        return _asking_sentinels(parts)
    address = _address(parts)

    async def there() -> Address:
        return address

    return there


def _address(parts: StoreUrl) -> Address:
    entering = Address(username=parts.username, password=parts.password, database=parts.database)
    if parts.scheme == "unix":
        return entering._replace(path=parts.path)
    host, port = parts.hosts[0]
    # Verified, against the system's roots or the file that the URL names.
    secure = parts.scheme == "rediss"
    tls = ssl.create_default_context(cafile=parts.ca_file or None) if secure else None
    return entering._replace(host=host, port=port, tls=tls)


def _asking_sentinels(parts: StoreUrl) -> Callable[[], Awaitable[Address]]:
    hosts = ",".join(f"{host}:{port}" for host, port in parts.hosts)
    where = f"{parts.service} of {hosts}"

    async def primary() -> Address:
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            list(parts.hosts), sentinel_kwargs={"socket_timeout": CONNECT_SECONDS}
        )
        try:
            host, port = await sentinel.discover_master(parts.service)
        except errors.AuthenticationError as error:
            raise not_let_in(where) from error
        except MasterNotFoundError as error:
            said = "no sentinel answers, or none knows a primary"
            raise Outage("unreachable", f"{where}: {said}") from error
        except (errors.RedisError, OSError) as error:
            raise outage_of(error, where) from error
        finally:
            for client in sentinel.sentinels:
                await client.aclose()
        return Address(
            host=host,
            port=port,
            username=parts.username,
            password=parts.password,
            database=parts.database,
        )

    return primary
