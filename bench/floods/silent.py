"""Connections that say nothing, or only the beginning of a request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from bench.floods import sockets
from bench.floods.flood import Flood, Seen, Target

CONNECTIONS = 4096  # what a worker takes by default
_AT_ONCE = 64
_BEGINNING = b"POST /v1/completions HTTP/1.1\r\nhost: h\r\n"


@asynccontextmanager
async def attack(target: Target, seen: Seen) -> AsyncIterator[None]:
    """Half of them begin a request; whoever is sent away is replaced as long as it lasts."""
    loop = asyncio.get_running_loop()

    async def caller(number: int) -> None:
        while True:
            made = await sockets.connect(target.port)
            seen["connected"] += 1
            try:
                if number % 2:
                    await loop.sock_sendall(made, _BEGINNING)
                await loop.sock_recv(made, 1)
                seen["sent away"] += 1
                await asyncio.sleep(0.2)
            finally:
                made.close()

    started = asyncio.Semaphore(_AT_ONCE)

    async def first(number: int) -> None:
        async with started:
            await asyncio.sleep(0)
        await caller(number)

    async with sockets.running([partial(first, number) for number in range(CONNECTIONS)]):
        for _ in range(100):  # all there, or as many as are let in within two seconds
            if seen["connected"] >= CONNECTIONS:
                break
            await asyncio.sleep(0.02)
        yield


FLOOD = Flood(
    name="silent",
    about=f"{CONNECTIONS:,} connections that say nothing, or half a head",
    attack=attack,
    overlay={},
    memory=96,
)
