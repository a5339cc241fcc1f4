"""Each clock of a request and what it covers; httpx has one for reading, none for the whole."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from app.providers.http1.transport import (
    FirstByteTimeout,
    Http1Transport,
    IdleTimeout,
    TotalTimeout,
)
from tests.app.providers.http1.transport_peer import (
    OK,
    Peer,
    PeerConnection,
    Run,
    call,
    fetch,
    on_both_loops,
    stream_of,
)


@pytest.mark.parametrize(
    ("clock", "kind"),
    [("first_byte", FirstByteTimeout), ("idle", IdleTimeout), ("total", TotalTimeout)],
)
@on_both_loops
def test_each_clock_has_its_own_error(run: Run, clock: str, kind: type[httpx.ReadTimeout]) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.request()
        if clock == "idle":
            await connection.send(OK + b"Content-Length: 10\r\n\r\nabc")
        await connection.wait_closed()

    async def main() -> None:
        clocks: dict[str, Any] = {"first_byte": 5.0, "idle": 5.0, "total": 5.0, clock: 0.02}
        async with Peer(script) as peer, Http1Transport() as transport:
            with pytest.raises(kind):
                await fetch(transport, call(peer.url, **clocks))

    run(main)


async def _drip(connection: PeerConnection) -> None:
    """An endless body, a byte every few milliseconds."""
    await connection.request()
    await connection.send(OK + b"Content-Length: 1000000\r\n\r\n")
    while True:
        await connection.send(b"x")
        await asyncio.sleep(0.005)


@on_both_loops
def test_the_total_covers_the_body(run: Run) -> None:
    async def main() -> None:
        async with Peer(_drip) as peer, Http1Transport() as transport:
            with pytest.raises(TotalTimeout):
                await fetch(transport, call(peer.url, first_byte=5, idle=5, total=0.05))

    run(main)


@on_both_loops
def test_the_total_runs_while_nobody_reads(run: Run) -> None:
    async def main() -> None:
        async with Peer(_drip) as peer, Http1Transport() as transport:
            stream = await stream_of(transport, call(peer.url, total=0.05))
            await peer.connections[0].wait_closed()
            with pytest.raises(TotalTimeout):
                async for _ in stream:
                    pass

    run(main)


@on_both_loops
def test_a_slow_reader_is_not_an_idle_peer(run: Run) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def script(connection: PeerConnection) -> None:
            await connection.request()
            await connection.send(OK + b"Content-Length: 6\r\n\r\nabc")
            await go.wait()
            await connection.send(b"def")
            await connection.wait_closed()

        async with Peer(script) as peer, Http1Transport() as transport:
            stream = await stream_of(transport, call(peer.url, idle=0.02))
            await asyncio.sleep(0.04)  # the reader is away for longer than `idle`
            assert await anext(aiter(stream)) == b"abc"
            go.set()
            assert await stream.read() == b"def"

    run(main)


@on_both_loops
def test_a_trickled_head_does_not_restart_the_first_byte_clock(run: Run) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(OK)
        while True:
            await connection.send(b"X: y\r\n")
            await asyncio.sleep(0.005)

    async def main() -> None:
        async with Peer(script) as peer, Http1Transport() as transport:
            with pytest.raises(FirstByteTimeout):
                await fetch(transport, call(peer.url, first_byte=0.05))

    run(main)
