"""From a store's URL to a way of dialling it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from redis import exceptions as errors
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import Sentinel

from app.core.store_url import StoreUrl, parse_store_url
from cache.pending import Pending
from cache.redis_store import CONNECT_SECONDS, Dial, Line, RedisStore, to_server
from cache.wire import Address

CLUSTER_COMMANDS = 64  # at a time: redis-py opens a connection for each


def dial_for(url: str) -> Dial:
    """How to reach a store. Raises ValueError for a URL that names none."""
    parts = parse_store_url(url)
    if parts.scheme == "redis+cluster":
        return _to_cluster(parts)
    return to_server(_finder(parts))


def finder_for(url: str) -> Callable[[], Awaitable[Address]]:
    """Where a server of the store is now; of a cluster, any node (they pass messages on)."""
    return _finder(parse_store_url(url))


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
    async def primary() -> Address:
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            list(parts.hosts), sentinel_kwargs={"socket_timeout": CONNECT_SECONDS}
        )
        try:
            host, port = await sentinel.discover_master(parts.service)
        except errors.RedisError as error:
            raise ConnectionError(f"no primary for {parts.service}") from error
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


def _to_cluster(parts: StoreUrl) -> Dial:
    host, port = parts.hosts[0]

    async def dial(store: RedisStore) -> Line:
        client = RedisCluster(
            host=host,
            port=port,
            username=parts.username or None,
            password=parts.password or None,
            socket_connect_timeout=CONNECT_SECONDS,
        )
        try:
            await client.initialize()
        except (errors.RedisError, errors.RedisClusterException) as error:
            await client.aclose()
            raise ConnectionError("no node of the cluster answers") from error
        return ClusterLine(client, store)

    return dial


class ClusterLine:
    """A cluster as a line: redis-py finds each command's node, and follows the slots as they move."""

    def __init__(self, client: RedisCluster, store: RedisStore) -> None:
        self._client = client
        self._store = store
        self._gate = asyncio.Semaphore(CLUSTER_COMMANDS)
        self._in_order = asyncio.Lock()  # what is said to a worker must arrive as it was said
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, batch: Sequence[Pending]) -> None:
        for pending in batch:
            self._start(self._send_one(pending))

    def close(self) -> None:
        self._start(self.closed())
        self._store.lost(self)

    async def closed(self) -> None:
        """What was told is sent first, each command within the client's own timeouts."""
        others = self._tasks - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=CONNECT_SECONDS)
        with suppress(errors.RedisError, OSError):
            await self._client.aclose()
            # After a failure the client believes that it has nothing to close (redis-py 8.1).
            for nodes in ("nodes_cache", "startup_nodes"):
                await self._client.nodes_manager.aclose(nodes)

    async def _send_one(self, pending: Pending) -> None:
        answer: Any
        try:
            spoken = pending.script is not None and pending.script.name == "post"
            async with self._in_order if spoken else self._gate:
                answer = await self._client.execute_command(*pending.args)
        except errors.NoScriptError:
            answer = errors.ResponseError("NOSCRIPT")
        except (
            errors.ConnectionError,
            errors.TimeoutError,
            errors.RedisClusterException,
            OSError,
        ):
            answer = errors.ResponseError("CLUSTERDOWN a node is gone")
        except errors.OutOfMemoryError:
            answer = errors.ResponseError("OOM")  # redis-py leaves the word out
        except errors.RedisError as error:
            answer = error
        self._store.answered(pending, answer)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
