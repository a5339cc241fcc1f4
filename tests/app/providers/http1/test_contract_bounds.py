"""Connections, memory and descriptors are bounded, over our transport and over httpx's."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

import httpx
import pytest

from app.providers.http1.body import MAX_BUFFERED
from app.providers.http1.transport import ResponseBody
from tests.app.providers.http1.peer_certificates import certificates
from tests.app.providers.http1.transport_peer import (
    OK,
    Make,
    Peer,
    PeerConnection,
    Run,
    call,
    cancel,
    chunked,
    fetch,
    in_background,
    on_both_loops,
    reply,
    silent,
    stream_of,
    turns,
)

# The pool.


@on_both_loops
@pytest.mark.ours_only("httpx keeps no order")
def test_no_more_connections_than_allowed_and_first_come_first_served(run: Run, make: Make) -> None:
    async def main() -> None:
        go = asyncio.Event()
        order = []

        async def script(connection: PeerConnection) -> None:
            while request := await connection.request():
                order.append(int(request.partition(b"POST /")[2].partition(b" ")[0]))
                await go.wait()
                await connection.send(reply(b"ok"))

        async with Peer(script) as peer, make(max_connections=2) as transport:
            tasks = []
            for index in range(10):
                tasks.append(in_background(fetch(transport, call(f"{peer.url}/{index}"))))
                await turns(5)
            go.set()
            await asyncio.gather(*tasks)
            assert len(peer.connections) == 2
            assert sorted(order[:2]) == [0, 1]
            assert order[2:] == sorted(order[2:])

    run(main)


@on_both_loops
def test_waiting_too_long_for_a_place_is_a_pool_timeout(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(silent) as peer, make(max_connections=1) as transport:
            holder = in_background(fetch(transport, call(peer.url)))
            await turns(50)
            with pytest.raises(httpx.PoolTimeout):
                await fetch(transport, call(peer.url, pool=0.02))
            await cancel(holder)

    run(main)


@pytest.mark.parametrize("seed", [1, 2])
@on_both_loops
def test_two_hundred_at_once_are_all_answered_rightly(run: Run, make: Make, seed: int) -> None:
    chance = random.Random(seed)

    def answer(request: bytes) -> list[bytes]:
        body = request.partition(b"\r\n\r\n")[2] * chance.randrange(1, 50)
        whole = reply(body) if chance.random() < 0.5 else chunked(*cut(body, chance, 5))
        return cut(whole, chance, 8)

    async def script(connection: PeerConnection) -> None:
        while request := await connection.request():
            await connection.send(*answer(request))

    async def main() -> None:
        async with Peer(script) as peer, make(max_connections=20) as transport:

            async def one(index: int) -> None:
                name = b"<%d>" % index
                response = await fetch(transport, call(peer.url, name))
                assert response.content
                assert response.content == name * response.content.count(name)

            await asyncio.gather(*[one(index) for index in range(200)])
            assert len(peer.connections) <= 20

    run(main)


def cut(data: bytes, chance: random.Random, pieces: int) -> list[bytes]:
    edges = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(pieces))})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


# Memory.


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@on_both_loops
def test_a_slow_reader_holds_memory_flat(run: Run, make: Make, tls: bool) -> None:
    size = 48 * 1024 * 1024

    async def main() -> None:
        pushed = 0

        async def script(connection: PeerConnection) -> None:
            nonlocal pushed
            await connection.request()
            await connection.send(OK + b"Content-Length: %d\r\n\r\n" % size)
            while pushed < size:
                await connection.send(b"x" * 65536)
                pushed += 65536
            await connection.wait_closed()

        async with (
            Peer(script, tls=certificates().good if tls else None) as peer,
            make(ssl_context=certificates().trusting) as transport,
        ):
            stream = await stream_of(transport, call(peer.url))
            before = -1
            while pushed != before:  # until the peer is stuck
                before = pushed
                await turns(100)
            # What the sockets of both sides hold, which the system grows to some megabytes.
            assert pushed < size / 3
            if isinstance(stream, ResponseBody):
                assert stream.buffered <= MAX_BUFFERED + 262144
            total = 0
            async for chunk in stream:
                total += len(chunk)
            assert total == size
            await stream.aclose()

    run(main)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@on_both_loops
def test_no_file_descriptor_is_left(run: Run, make: Make) -> None:
    async def script(connection: PeerConnection) -> None:
        while request := await connection.request():
            if b"/hang" in request:
                await silent(connection)
            await connection.send(reply(b"ok") if b"/good" in request else b"junk\r\n\r\n")

    async def round_trip() -> None:
        async with (
            Peer(script, tls=certificates().good) as peer,
            make(ssl_context=certificates().trusting) as transport,
        ):
            await fetch(transport, call(peer.url + "/good"))
            with pytest.raises(httpx.RemoteProtocolError):
                await fetch(transport, call(peer.url + "/bad"))
            with pytest.raises(httpx.ReadTimeout):
                await fetch(transport, call(peer.url + "/hang", read=0.01))
            with pytest.raises(httpx.ConnectError):
                await fetch(transport, call("http://127.0.0.1:1/"))

    async def main() -> None:
        await round_trip()
        await turns(50)
        before = _open_files()
        for _ in range(3):
            await round_trip()
        await turns(50)
        assert _open_files() <= before

    run(main)
