"""The attackers' connections: all from one other address of loopback than the neighbour's."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from bench.processes import HOST

ATTACKER = "127.0.0.2"
CONNECT_SECONDS = 10.0
_SMALL_BUFFER = 4096  # bytes; so that what is not read soon waits at the gateway


async def connect(port: int, *, reads_little: bool = False) -> socket.socket:
    """One connection from the attackers' address. Raises OSError, also after CONNECT_SECONDS."""
    made = socket.socket()
    made.setblocking(False)
    if reads_little:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
    try:
        made.bind((ATTACKER, 0))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.sock_connect(made, (HOST, port))
    except BaseException:
        made.close()
        raise
    return made


@asynccontextmanager
async def running(work: Sequence[Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Every attacker at work during the block; all are ended after it."""
    tasks = [asyncio.ensure_future(_until_refused(one)) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_refused(work: Callable[[], Awaitable[None]]) -> None:
    with suppress(OSError):  # the gateway has had enough of this one
        await work()
