"""From a store's URL to a way of dialling it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis import exceptions as errors
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import Sentinel

from cache.pending import Pending
from cache.redis_store import CONNECT_SECONDS, Dial, Line, RedisStore, to_server
from cache.wire import Address


def dial_for(url: str) -> Dial:
    """How to reach a store. Raises ValueError for a URL that names none."""
    parts = urlsplit(url)
    if parts.scheme == "redis+cluster":
        return _to_cluster(parts)
    if parts.scheme == "redis+sentinel":
        return to_server(_asking_sentinels(parts))
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"a store URL cannot start with {parts.scheme!r}")
    address = _address(parts)

    async def there() -> Address:
        return address

    return to_server(there)


def _address(parts: SplitResult) -> Address:
    """``redis://[user:password@]host[:port][/db]``, ``rediss://…``, ``unix:///path[?db=1]``"""
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    entering = Address(
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=int(query.get("db", "0")),
    )
    if parts.scheme == "unix":
        return entering._replace(path=parts.path)
    database = parts.path.strip("/")
    return entering._replace(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 6379,
        database=int(database) if database else entering.database,
        tls=_tls(query) if parts.scheme == "rediss" else None,
    )


def _tls(query: dict[str, str]) -> ssl.SSLContext:
    """Verified, against the system's roots or the file in ``?ssl_ca_certs=``."""
    return ssl.create_default_context(cafile=query.get("ssl_ca_certs"))


def _asking_sentinels(parts: SplitResult) -> Callable[[], Awaitable[Address]]:
    """``redis+sentinel://[user:password@]host:port,host:port/service[/db]``"""
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("a Sentinel URL names its service: redis+sentinel://host:26379/mymaster")
    user, _, password = credentials.partition(":")
    places = [host.partition(":") for host in hosts.split(",")]
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(host, int(port or 26379)) for host, _, port in places],
        sentinel_kwargs={"socket_timeout": CONNECT_SECONDS},
    )

    async def primary() -> Address:
        try:
            host, port = await sentinel.discover_master(service)
        except errors.RedisError as error:
            raise ConnectionError(f"no primary for {service}") from error
        return Address(
            host=host,
            port=port,
            username=unquote(user),
            password=unquote(password),
            database=int(database or 0),
        )

    return primary


def _to_cluster(parts: SplitResult) -> Dial:
    """``redis+cluster://[user:password@]host:port``; any node will do."""

    async def dial(store: RedisStore) -> Line:
        client = RedisCluster(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 6379,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            socket_connect_timeout=CONNECT_SECONDS,
        )
        try:
            await client.initialize()
        except errors.RedisError as error:
            await client.aclose()
            raise ConnectionError("no node of the cluster answers") from error
        return ClusterLine(client, store)

    return dial


class ClusterLine:
    """A cluster as a line: redis-py finds each command's node, and follows the slots as they move."""

    def __init__(self, client: RedisCluster, store: RedisStore) -> None:
        self._client = client
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, batch: Sequence[Pending]) -> None:
        for pending in batch:
            self._start(self._send_one(pending))

    def close(self) -> None:
        self._start(self._client.aclose())
        self._store.lost(self)

    async def _send_one(self, pending: Pending) -> None:
        answer: Any
        try:
            answer = await self._client.execute_command(*pending.args)
        except errors.NoScriptError:
            answer = errors.ResponseError("NOSCRIPT")
        except (errors.ConnectionError, errors.TimeoutError, OSError):
            answer = errors.ResponseError("CLUSTERDOWN a node is gone")
        except errors.RedisError as error:
            answer = error
        self._store.answered(pending, answer)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
