"""Idle connections, queues, and the one retry: what our pool does beyond the contract."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from app.providers.http1.transport import (
    Http1Transport,
    OriginStats,
)
from tests.app.providers.http1.transport_peer import (
    Peer,
    PeerConnection,
    Pieces,
    Run,
    answering,
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


@on_both_loops
def test_an_idle_connection_is_closed_by_itself(run: Run) -> None:
    async def main() -> None:
        async with (
            Peer(answering(reply(b"ok"))) as peer,
            Http1Transport(keepalive_expiry=0.02) as transport,
        ):
            await fetch(transport, call(peer.url))
            await peer.connections[0].closed.wait()
            assert transport.stats()[peer.url].open == 0

    run(main)


@on_both_loops
def test_the_peers_keep_alive_time_is_kept(run: Run) -> None:
    async def main() -> None:
        async with (
            Peer(answering(reply(b"", b"Keep-Alive: timeout=0"))) as peer,
            Http1Transport() as transport,
        ):
            for _ in range(2):
                await fetch(transport, call(peer.url))
            assert len(peer.connections) == 2

    run(main)


@pytest.mark.parametrize("junk", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\r\n"])
@on_both_loops
def test_what_comes_unasked_closes_an_idle_connection(run: Run, junk: bytes) -> None:
    async def main() -> None:
        done = asyncio.Event()

        async def script(connection: PeerConnection) -> None:
            await connection.request()
            await connection.send(reply(b"ok"))
            await done.wait()
            await connection.send(junk)
            await connection.wait_closed()

        async with Peer(script) as peer, Http1Transport() as transport:
            await fetch(transport, call(peer.url))
            assert transport.stats()[peer.url].idle == 1
            done.set()
            await peer.connections[0].closed.wait()
            assert transport.stats()[peer.url].open == 0
            await fetch(transport, call(peer.url))
            assert len(peer.connections) == 2

    run(main)


async def _dies_on_second(connection: PeerConnection) -> None:
    """Answer one request; read another and go away without a byte."""
    await connection.request()
    await connection.send(reply(b"ok"))
    if await connection.request():
        connection.reset() if connection.number % 2 else connection.close()


@on_both_loops
def test_a_reused_connection_that_dies_unanswered_is_retried_once(run: Run) -> None:
    async def main() -> None:
        async with Peer(_dies_on_second) as peer, Http1Transport(max_connections=1) as transport:
            seen = []
            for _ in range(5):
                response = await fetch(transport, call(peer.url, b"body"))
                seen.append(response.extensions["retried"])
            assert seen == [False, True, True, True, True]
            assert len(peer.connections) == 5

    run(main)


@on_both_loops
def test_a_second_death_is_not_retried(run: Run) -> None:
    async def script(connection: PeerConnection) -> None:
        if not connection.number:
            await _dies_on_second(connection)
        else:
            await connection.request()

    async def main() -> None:
        async with Peer(script) as peer, Http1Transport() as transport:
            await fetch(transport, call(peer.url))
            with pytest.raises(httpx.TransportError):
                await fetch(transport, call(peer.url))
            assert len(peer.connections) == 2

    run(main)


@on_both_loops
def test_a_death_after_a_byte_is_not_retried(run: Run) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(reply(b"ok"))
        await connection.request()
        await connection.send(b"H")
        connection.close()

    async def main() -> None:
        async with Peer(script) as peer, Http1Transport() as transport:
            await fetch(transport, call(peer.url))
            with pytest.raises(httpx.RemoteProtocolError):
                await fetch(transport, call(peer.url))
            assert len(peer.connections) == 1

    run(main)


@on_both_loops
def test_a_stream_is_not_sent_twice(run: Run) -> None:
    async def main() -> None:
        async with Peer(_dies_on_second) as peer, Http1Transport() as transport:
            await fetch(transport, call(peer.url))
            request = httpx.Request("POST", peer.url, content=Pieces(b"ab"))
            with pytest.raises(httpx.TransportError):
                await fetch(transport, request)
            assert len(peer.connections) == 1

    run(main)


@on_both_loops
def test_too_many_waiters_are_refused_at_once(run: Run) -> None:
    async def main() -> None:
        async with (
            Peer(silent) as peer,
            Http1Transport(max_connections=1, max_waiters=2) as transport,
        ):
            tasks = [in_background(fetch(transport, call(peer.url))) for _ in range(3)]
            await turns()
            assert transport.stats()[peer.url].waiting == 2
            with pytest.raises(httpx.PoolTimeout):
                await fetch(transport, call(peer.url))
            for task in tasks:
                await cancel(task)
            assert transport.stats()[peer.url] == OriginStats(0, 0, 0, 0)

    run(main)


@on_both_loops
def test_stats_count_connections(run: Run) -> None:
    async def main() -> None:
        async with Peer(answering(reply(b"ok"))) as peer, Http1Transport() as transport:
            assert transport.stats() == {}
            stream = await stream_of(transport, call(peer.url))
            # The whole response is in, so that its connection is free though nobody has read it.
            assert transport.stats()[peer.url] == OriginStats(1, 1, 0, 0)
            await stream.aclose()
            assert transport.stats()[peer.url] == OriginStats(1, 1, 0, 0)

    run(main)
