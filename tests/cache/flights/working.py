"""Workers that share flights over one Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from cache.flights.flights import Flight, Flights, Reader, SharedError
from cache.flights.relay import Relay
from cache.store import key_names as names
from cache.store.opening import open_store
from cache.store.redis_urls import finder_for
from cache.store.sealing import Seal
from cache.store.subscriber import Mailbox
from tests.cache.stores import until
from tests.harness.redis_server import RedisServer

DIGEST = b"d" * 32
USAGE = Usage(11, 22, estimated=True)
END = StreamEnd(USAGE, {"usage": USAGE.document(), "system_fingerprint": "fp"})
ERROR = SharedError(503, "upstream_overloaded", b'{"error":{}}', ((b"retry-after", b"1"),))
TAKEN_OVER = 3.0  # seconds after which somebody must have noticed that another is gone


class Worker:
    """What a worker has of all this. ``lose`` says which messages get lost on their way to it."""

    def __init__(self, name: str, url: str, seal: Seal | None = None) -> None:
        self.store = open_store(url, 2.0)
        self.flights = Flights(name)
        self.relay = Relay(self.store, self.flights, seal)
        self.mailbox = Mailbox(finder_for(url), names.mailbox(name), self._received)
        self.lose: Callable[[bytes], bool] = lambda _: False
        self.lost = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.store.start()
        self._tasks = [
            asyncio.create_task(self.mailbox.keep_listening()),
            asyncio.create_task(self.relay.keep_beating()),
        ]

    async def die(self) -> None:
        """Neither speak nor hear any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        await self.die()
        await self.store.aclose()

    def leads(self, digest: bytes = DIGEST) -> Flight:
        """A flight of its own, under way."""
        flight = self.flights.begin(self.flights.new_id(), digest, "acme")
        self.relay.lead(flight)
        return flight

    async def joins(self, flight: Flight) -> Flight:
        mirror = await self.relay.join(flight.id, flight.digest, flight.tenant)
        assert mirror is not None
        return mirror

    def _received(self, data: bytes) -> None:
        if self.lose(data):
            self.lost += 1
        else:
            self.relay.received(data)


@asynccontextmanager
async def at_work(
    url: str, count: int = 2, seals: Sequence[Seal | None] = (None, None)
) -> AsyncIterator[list[Worker]]:
    seals = [*seals, *[None] * (count - len(seals))]
    workers = [Worker(f"{number}-w", url, seals[number]) for number in range(count)]
    try:
        for worker in workers:
            worker.start()
        await until(lambda: all(worker.mailbox.open for worker in workers))
        yield workers
    finally:
        for worker in workers:
            await worker.aclose()


def with_workers(
    server: RedisServer,
    body: Callable[..., Awaitable[Any]],
    count: int = 2,
    seals: Sequence[Seal | None] = (None, None),
) -> Any:
    """What ``body`` returns, given workers on one server."""

    async def run() -> Any:
        async with asyncio.timeout(10), at_work(server.url, count, seals) as workers:
            return await body(*workers)

    return asyncio.run(run())


async def everything(reader: Reader) -> list[Chunk]:
    got = []
    while chunks := await reader.next():
        got += chunks
    return got


async def over(flight: Flight) -> float:
    """Seconds until it is."""
    began = time.monotonic()
    await until(lambda: flight.over)
    return time.monotonic() - began


def chunk(number: int) -> Chunk:
    return Chunk(b'{"number":%d}' % number)


def chunks(*numbers: int) -> list[Chunk]:
    return [chunk(number) for number in numbers]
