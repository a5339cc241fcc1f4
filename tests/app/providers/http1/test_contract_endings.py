"""Calls that are given up or take too long, over our transport and over httpx's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.app.providers.http1.peer_certificates import certificates
from tests.app.providers.http1.transport_peer import (
    NOTICE,
    OK,
    Make,
    Peer,
    PeerConnection,
    Run,
    call,
    cancel,
    fetch,
    in_background,
    on_both_loops,
    reply,
    silent,
    stream_of,
    turns,
)

# Giving up: the peer must see it.


async def _asked(
    script: Callable[[PeerConnection], Awaitable[None]],
    peer_asked: asyncio.Event,
    connection: PeerConnection,
) -> None:
    await connection.request()
    peer_asked.set()
    await script(connection)


@on_both_loops
def test_cancelled_before_the_first_byte_the_peer_sees_it(run: Run, make: Make) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def script(connection: PeerConnection) -> None:
            await _asked(silent, asked, connection)

        async with Peer(script) as peer, make(max_connections=1) as transport:
            task = in_background(fetch(transport, call(peer.url)))
            await asked.wait()
            await cancel(task)
            async with asyncio.timeout(NOTICE):
                await peer.connections[0].closed.wait()

    run(main)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@on_both_loops
def test_cancelled_mid_stream_the_peer_sees_it(run: Run, make: Make, tls: bool) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await connection.wait_closed()

    async def main() -> None:
        started = asyncio.Event()

        async def read(transport: httpx.AsyncBaseTransport, url: str) -> None:
            stream = await stream_of(transport, call(url))
            async for _ in stream:
                started.set()

        async with (
            Peer(script, tls=certificates().good if tls else None) as peer,
            make(ssl_context=certificates().trusting) as transport,
        ):
            task = in_background(read(transport, peer.url))
            await started.wait()
            await turns(3)
            await cancel(task)
            async with asyncio.timeout(NOTICE):
                await peer.connections[0].closed.wait()

    run(main)


@on_both_loops
def test_closed_mid_stream_the_peer_sees_it(run: Run, make: Make) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(OK + b"Content-Length: 10\r\n\r\nabc")
        await connection.wait_closed()

    async def main() -> None:
        async with Peer(script) as peer, make() as transport:
            stream = await stream_of(transport, call(peer.url))
            await stream.aclose()
            async with asyncio.timeout(NOTICE):
                await peer.connections[0].closed.wait()

    run(main)


@on_both_loops
def test_cancelled_in_the_handshake_the_peer_sees_it(run: Run, make: Make) -> None:
    async def main() -> None:
        accepted = asyncio.Event()

        async def script(connection: PeerConnection) -> None:
            accepted.set()
            await silent(connection)

        async with Peer(script) as peer, make(ssl_context=certificates().trusting) as transport:
            task = in_background(fetch(transport, call(f"https://localhost:{peer.port}")))
            await accepted.wait()
            await cancel(task)
            async with asyncio.timeout(NOTICE):
                await peer.connections[0].closed.wait()

    run(main)


@on_both_loops
def test_a_call_that_was_given_up_gives_its_place_back(run: Run, make: Make) -> None:
    async def script(connection: PeerConnection) -> None:
        while request := await connection.request():
            if b"/hang" in request:
                await silent(connection)
            await connection.send(reply(b"ok"))

    async def main() -> None:
        async with Peer(script) as peer, make(max_connections=1) as transport:
            hanging = in_background(fetch(transport, call(peer.url + "/hang")))
            await turns(50)
            waiting = [in_background(fetch(transport, call(peer.url))) for _ in range(3)]
            await turns()
            await cancel(waiting[0])
            await cancel(hanging)
            for task in waiting[1:]:
                assert (await task).content == b"ok"

    run(main)


@on_both_loops
def test_a_place_given_to_one_who_leaves_goes_to_the_next(run: Run, make: Make) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def script(connection: PeerConnection) -> None:
            while await connection.request():
                await go.wait()
                await connection.send(reply(b"ok"))

        async with Peer(script) as peer, make(max_connections=1) as transport:
            first = in_background(stream_of(transport, call(peer.url)))
            await turns(50)
            waiting = [in_background(fetch(transport, call(peer.url))) for _ in range(4)]
            await turns()
            go.set()
            stream = await first
            _ = [chunk async for chunk in stream]
            # The first of the queue has its connection now, or will in a moment.
            waiting[0].cancel()
            await stream.aclose()
            found = await asyncio.gather(*waiting, return_exceptions=True)
            assert [getattr(item, "content", None) for item in found[1:]] == [b"ok"] * 3

    run(main)


# Clocks.


@on_both_loops
def test_a_peer_that_never_answers_is_a_read_timeout(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(silent) as peer, make() as transport:
            with pytest.raises(httpx.ReadTimeout):
                await fetch(transport, call(peer.url, read=0.02))
            async with asyncio.timeout(NOTICE):
                await peer.connections[0].closed.wait()

    run(main)


@on_both_loops
def test_a_peer_that_stops_is_a_read_timeout(run: Run, make: Make) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(OK + b"Content-Length: 10\r\n\r\nabc")
        await connection.wait_closed()

    async def main() -> None:
        async with Peer(script) as peer, make() as transport:
            with pytest.raises(httpx.ReadTimeout):
                await fetch(transport, call(peer.url, read=0.02))
            async with asyncio.timeout(NOTICE):
                await peer.connections[0].closed.wait()

    run(main)


@on_both_loops
def test_a_peer_that_shakes_no_hands_is_a_connect_timeout(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(silent) as peer, make(ssl_context=certificates().trusting) as transport:
            with pytest.raises(httpx.ConnectTimeout):
                await fetch(transport, call(f"https://localhost:{peer.port}", connect=0.05))

    run(main)


@on_both_loops
def test_a_peer_that_takes_nothing_is_a_write_timeout(run: Run, make: Make) -> None:
    async def main() -> None:
        stop = asyncio.Event()

        async def script(connection: PeerConnection) -> None:
            await stop.wait()

        async with Peer(script) as peer, make() as transport:
            with pytest.raises(httpx.WriteTimeout):
                await fetch(transport, call(peer.url, b"x" * 30_000_000, write=0.05))
            stop.set()

    run(main)
