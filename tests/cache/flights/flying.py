"""One flight within a worker, and how it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from cache.flights.flights import (
    Flight,
    Reader,
    SharedError,
)

DIGEST = b"d" * 32
USAGE = Usage(1, 2)
ERROR = SharedError(503, "upstream_overloaded", b"{}", ((b"retry-after", b"1"),))
END = StreamEnd(USAGE, {"usage": USAGE.document()})
MEGABYTE = Chunk(b"x" * (1 << 20))


def in_loop(body: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(2):
            return await body()

    return asyncio.run(bounded())


def a_flight() -> Flight:
    return Flight("w.1", DIGEST, "acme")


def one(text: bytes) -> list[Chunk]:
    """A chunk that came alone."""
    return [Chunk(text)]


async def everything(reader: Reader) -> bytes:
    """What a reader gets until the flight is over."""
    got = []
    while chunks := await reader.next():
        got += chunks
    return b"".join(chunk.payload for chunk in got)


async def turns(count: int = 5) -> None:
    """Let everybody go as far as they can."""
    for _ in range(count):
        await asyncio.sleep(0)
