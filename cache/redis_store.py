"""A shared store over redis-py: one pipeline a turn of the event loop, a breaker, a watchman."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from redis import asyncio as aioredis
from redis import exceptions as errors
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from cache.breaker import Breaker
from cache.connection import Script, StoreUnavailable
from cache.names import PROBE

MAX_WAITING = 10_000  # commands not yet answered, in this process
MAX_BATCH = 512
PROBE_SECONDS = 0.25
MAX_CONNECTIONS = 32

# What a server says when it cannot take writes; the rest are mistakes of ours and go on as such.
_OUTAGES = (
    "READONLY",
    "OOM",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
)


class Pending(NamedTuple):
    """A command on its way: who waits for its answer, or what to do if there is none."""

    args: tuple[Any, ...]
    script: Script | None
    answer: asyncio.Future[Any] | None
    failed: Callable[[], None] | None = None


class Sender(Protocol):
    """Sends commands; an answer that is an error stands in its place in the list."""

    async def __call__(self, commands: list[tuple[Any, ...]]) -> list[Any]: ...


class Connected(NamedTuple):
    """A redis-py client, reduced to what is needed of it."""

    send: Sender
    close: Callable[[], Awaitable[None]]


class RedisStore:
    """See cache.connection.Store."""

    shared = True

    def __init__(self, connected: Connected, timeout: float) -> None:
        self.breaker = Breaker()
        self._send, self._close = connected
        self._timeout = timeout
        self._queue: list[Pending] = []
        self._waiting = 0
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._watchman: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch over the breaker; needs a running loop."""
        self._watchman = asyncio.get_running_loop().create_task(self._watch())

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return await self._ask(("EVALSHA", script.sha, len(keys), *keys, *args), script)

    async def command(self, *args: Any) -> Any:
        return await self._ask(args, None)

    def tell(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        failed: Callable[[], None] | None = None,
    ) -> None:
        command = ("EVALSHA", script.sha, len(keys), *keys, *args)
        try:
            self._enqueue(Pending(command, script, None, failed))
        except StoreUnavailable:
            if failed is not None:
                failed()

    async def aclose(self) -> None:
        if self._watchman is not None:
            self._watchman.cancel()
        if self._queue:
            self._flush()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._timeout * 4)
        await self._close()

    def _ask(self, args: tuple[Any, ...], script: Script | None) -> asyncio.Future[Any]:
        answer = asyncio.get_running_loop().create_future()
        self._enqueue(Pending(args, script, answer))
        return answer

    def _enqueue(self, pending: Pending) -> None:
        if self.breaker.open:
            raise StoreUnavailable(self.breaker.reason or "open")
        if self._waiting >= MAX_WAITING:
            raise StoreUnavailable("busy")
        self._queue.append(pending)
        self._waiting += 1
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send everything that this turn of the loop asked for."""
        self._scheduled = False
        queue, self._queue = self._queue, []
        for start in range(0, len(queue), MAX_BATCH):
            batch = self._send_batch(queue[start : start + MAX_BATCH])
            task = asyncio.get_running_loop().create_task(batch)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_batch(self, batch: list[Pending]) -> None:
        try:
            answers = await self._send_within([pending.args for pending in batch])
            answers = await self._teach(batch, answers)
        except StoreUnavailable as error:
            answers = [error] * len(batch)
        except asyncio.CancelledError:
            self._hand_out(batch, [StoreUnavailable("closing")] * len(batch))
            raise
        self._hand_out(batch, answers)

    async def _send_within(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Raises StoreUnavailable, having told the breaker, where no answers came in time."""
        try:
            async with asyncio.timeout(self._timeout):
                answers = await self._send(commands)
        except (TimeoutError, errors.TimeoutError):
            self.breaker.failed("slow")
            raise StoreUnavailable("slow") from None
        except (errors.RedisError, OSError) as error:
            self.breaker.failed("unreachable", at_once=True)
            raise StoreUnavailable(f"unreachable: {type(error).__name__}") from error
        self.breaker.succeeded()
        return answers

    async def _teach(self, batch: list[Pending], answers: list[Any]) -> list[Any]:
        """Load scripts that the store does not know (a new one, or a new primary), and ask again."""
        unknown = [
            place
            for place, answer in enumerate(answers)
            if isinstance(answer, errors.NoScriptError) and batch[place].script is not None
        ]
        if not unknown:
            return answers
        again: list[tuple[Any, ...]] = []
        for place in unknown:
            known = batch[place].script
            assert known is not None
            again.append(("EVAL", known.text, *batch[place].args[2:]))
        for place, answer in zip(unknown, await self._send_within(again), strict=True):
            answers[place] = answer
        return answers

    def _hand_out(self, batch: list[Pending], answers: list[Any]) -> None:
        self._waiting -= len(batch)
        for pending, answer in zip(batch, answers, strict=True):
            error = self._classified(answer) if isinstance(answer, Exception) else None
            waiter = pending.answer
            if waiter is None:
                if error is not None and pending.failed is not None:
                    pending.failed()
            elif not waiter.done():
                if error is None:
                    waiter.set_result(answer)
                else:
                    waiter.set_exception(error)

    def _classified(self, error: Exception) -> Exception:
        if isinstance(error, StoreUnavailable):
            return error
        word = str(error).split(" ", 1)[0]
        if isinstance(error, errors.OutOfMemoryError):
            word = "OOM"
        elif isinstance(error, errors.ReadOnlyError):
            word = "READONLY"
        elif isinstance(error, errors.BusyLoadingError):
            word = "LOADING"
        if word not in _OUTAGES:
            return error  # a mistake of ours: it must be seen, not taken for an outage
        self.breaker.failed(word.lower(), at_once=True)
        return StoreUnavailable(word)

    async def _watch(self) -> None:
        """While the breaker is open, try a write now and then; close it when one succeeds."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            if not self.breaker.open:
                continue
            try:
                async with asyncio.timeout(self._timeout):
                    [answer] = await self._send([("SET", PROBE, "1", "PX", "1000")])
            except (TimeoutError, errors.RedisError, OSError):
                continue
            if not isinstance(answer, Exception):
                self.breaker.close()


def connect(url: str, timeout: float) -> Connected:
    """A client for a URL; it connects when it is first used. Raises ValueError for a bad URL."""
    options = {
        "socket_timeout": timeout,
        "socket_connect_timeout": max(timeout, 0.05),
        "retry": Retry(NoBackoff(), 0),
    }
    parts = urlsplit(url)
    if parts.scheme == "redis+cluster":
        return _cluster(parts, options)
    if parts.scheme in ("redis+sentinel", "rediss+sentinel"):
        return _single(_sentinel(parts, options))
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"a store URL cannot start with {parts.scheme!r}")
    pool = aioredis.ConnectionPool.from_url(url, max_connections=MAX_CONNECTIONS, **options)
    return _single(aioredis.Redis(connection_pool=pool))


def _single(client: aioredis.Redis) -> Connected:
    async def send(commands: list[tuple[Any, ...]]) -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)

    return Connected(send, lambda: client.aclose(close_connection_pool=True))


def _sentinel(parts: Any, options: dict[str, Any]) -> aioredis.Redis:
    """``redis+sentinel://[user:password@]host:port,host:port/service[/db]``"""
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("a Sentinel URL names its service: redis+sentinel://host:26379/mymaster")
    user, _, password = credentials.partition(":")
    sentinels = [
        (host.partition(":")[0], int(host.partition(":")[2] or 26379)) for host in hosts.split(",")
    ]
    sentinel = Sentinel(sentinels, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
    client: aioredis.Redis = sentinel.master_for(
        service,
        db=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        **options,
    )
    return client


def _cluster(parts: Any, options: dict[str, Any]) -> Connected:
    client = RedisCluster(
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 6379,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        socket_timeout=options["socket_timeout"],
        socket_connect_timeout=options["socket_connect_timeout"],
    )

    async def send(commands: list[tuple[Any, ...]]) -> list[Any]:
        # redis-py's cluster pipeline takes no EVALSHA; each command finds its own node.
        return await asyncio.gather(
            *(client.execute_command(*command) for command in commands), return_exceptions=True
        )

    return Connected(send, client.aclose)
