"""A Redis Cluster as a line: redis-py finds each command's node, and follows the slots as they move."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from redis import exceptions as errors
from redis.asyncio.cluster import RedisCluster

from app.concurrency.listening import listening_timeout
from app.config.values.store_url import StoreUrl
from cache.store.command import Pending
from cache.store.outages import Outage, not_let_in, outage_of
from cache.store.redis_store import CONNECT_SECONDS, Dial, Line, RedisStore

COMMANDS_AT_ONCE = 64  # redis-py opens a connection for each
ENTER_SECONDS = 5.0  # in all; finding the nodes takes several trips
# The client's own limit, which a loop that stalls as long would break. Who waits is told much
# sooner that the store is late, and the line is closed then (cache.store.command).
ANSWER_SECONDS = 30.0


def to_cluster(parts: StoreUrl, where: str) -> Dial:
    """A dial for the cluster that a node belongs to."""
    host, port = parts.hosts[0]

    async def dial(store: RedisStore) -> Line:
        client = RedisCluster(
            host=host,
            port=port,
            username=parts.username or None,
            password=parts.password or None,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
        )
        try:
            async with listening_timeout(ENTER_SECONDS):
                await client.initialize()
        except (errors.RedisError, errors.RedisClusterException, OSError) as error:
            await client.aclose()
            raise _outage_of(error, where) from error
        return ClusterLine(client, store)

    return dial


def _outage_of(error: BaseException, where: str) -> Outage:
    """The client wraps what went wrong, once or several times."""
    cause: BaseException | None = error
    for _ in range(5):
        if isinstance(cause, errors.AuthenticationError):
            return not_let_in(where)
        if isinstance(cause, OSError):
            return outage_of(cause, where)
        cause = cause and (cause.__cause__ or cause.__context__)
    return Outage("unreachable", f"{where}: no node of the cluster answers")


class ClusterLine:
    """See cache.store.redis_store.Line. Ordered commands go one by one, the others side by side."""

    def __init__(self, client: RedisCluster, store: RedisStore) -> None:
        self._client = client
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()
        self._ordered = _Lane(1, self._send_one, self._start)
        self._others = _Lane(COMMANDS_AT_ONCE, self._send_one, self._start)

    def send(self, batch: Sequence[Pending]) -> None:
        for pending in batch:
            (self._ordered if pending.ordered else self._others).add(pending)

    def close(self) -> None:
        self._ordered.clear()
        self._others.clear()
        self._start(self.closed())
        self._store.lost(self)

    async def closed(self) -> None:
        """What is on its way ends first, each command within the client's own timeouts."""
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
            answer = await self._client.execute_command(*pending.args)
        except errors.NoScriptError:
            answer = errors.ResponseError("NOSCRIPT")
        except errors.OutOfMemoryError:
            answer = errors.ResponseError("OOM")  # redis-py leaves the word out
        except (
            errors.ConnectionError,
            errors.TimeoutError,
            errors.RedisClusterException,
            OSError,
        ):
            answer = errors.ResponseError("CLUSTERDOWN a node is gone")
        except errors.RedisError as error:
            answer = error
        self._store.answered(pending, answer)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Lane:
    """Commands on their way, at most ``most`` at a time, begun in the order in which they came."""

    def __init__(
        self,
        most: int,
        do: Callable[[Pending], Awaitable[None]],
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._most = most
        self._do = do
        self._start = start
        self._queue: deque[Pending] = deque()
        self._working = 0

    def add(self, pending: Pending) -> None:
        self._queue.append(pending)
        if self._working < self._most:
            self._working += 1
            self._start(self._work())

    def clear(self) -> None:
        self._queue.clear()

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._do(self._queue.popleft())
        finally:
            self._working -= 1
