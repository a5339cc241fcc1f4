"""What every HTTP transport under a provider promises, over real sockets, on both event loops.

Each test runs on asyncio and on uvloop, over our transport and over httpx's own (which serves
providers behind a forward proxy), except for the rows of `OURS_ONLY`. `read` in the timeouts is
the name that both know. What only ours offers is in `test_http1_*.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.providers.http1.body import MAX_BUFFERED
from app.providers.http1.transport import Http1Transport, ResponseBody, ResponseTooLarge
from tests.app.providers.http1.transport_peer import (
    OK,
    Peer,
    PeerConnection,
    Pieces,
    Run,
    answering,
    answering_once,
    call,
    cancel,
    certificates,
    chunked,
    fetch,
    in_background,
    on_both_loops,
    reply,
    silent,
    stream_of,
    turns,
)

# Rows that httpx's transport is not held to, each with the reason.
OURS_ONLY = {
    "test_smuggling_shapes_raise_and_cost_the_connection": "h11 reads them leniently",
    "test_a_body_over_the_bound_raises": "httpx has no bound on bodies",
    "test_no_more_connections_than_allowed_and_first_come_first_served": "httpx keeps no order",
}

Make = Callable[..., Any]

# The time in which a peer must see that a call was given up.
NOTICE = 0.1


def ours(**options: Any) -> Http1Transport:
    return Http1Transport(**options)


def theirs(
    *, ssl_context: Any = True, max_connections: int = 100, keepalive_expiry: float = 15.0
) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(
        max_connections=max_connections,
        max_keepalive_connections=max_connections,
        keepalive_expiry=keepalive_expiry,
    )
    return httpx.AsyncHTTPTransport(verify=ssl_context, limits=limits, trust_env=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make" in metafunc.fixturenames:
        kinds: dict[str, Make] = {"ours": ours}
        if metafunc.function.__name__ not in OURS_ONLY:
            kinds["httpx"] = theirs
        metafunc.parametrize("make", kinds.values(), ids=kinds.keys())


def test_the_table_names_tests_that_exist() -> None:
    assert set(OURS_ONLY) <= set(dir(sys.modules[__name__]))


# Messages.

WHOLE = {
    "length": reply(b"hello"),
    "chunked": chunked(b"he", b"l", b"lo"),
    "no-reason": b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello",
    "continue-first": b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"hello"),
    "early-hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + chunked(b"hello"),
    "trailers": chunked(b"hello")[:-2] + b"X-Sum: 1\r\n\r\n",
}


@pytest.mark.parametrize("packets", WHOLE.values(), ids=WHOLE.keys())
@on_both_loops
def test_a_response_is_read_whole(run: Run, make: Make, packets: bytes) -> None:
    async def main() -> None:
        async with Peer(answering(packets)) as peer, make() as transport:
            for _ in range(2):
                response = await fetch(transport, call(peer.url))
                assert (response.status_code, response.content) == (200, b"hello")
            assert len(peer.connections) == 1

    run(main)


@on_both_loops
def test_headers_come_as_sent(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(answering(reply(b"", b"X-A: 1", b"x-a: 2 "))) as peer, make() as transport:
            response = await fetch(transport, call(peer.url))
            assert response.headers.raw[:2] == [(b"X-A", b"1"), (b"x-a", b"2")]
            assert response.headers.get_list("x-a") == ["1", "2"]
            assert response.http_version == "HTTP/1.1"

    run(main)


@pytest.mark.parametrize("size", [0, 10, 70_000, 3_000_000])
@on_both_loops
def test_the_peer_gets_what_was_sent(run: Run, make: Make, size: int) -> None:
    sent = random.Random(size).randbytes(size)
    got = []

    async def script(connection: PeerConnection) -> None:
        got.append(await connection.request())
        await connection.send(reply(b""))
        await connection.wait_closed()

    async def main() -> None:
        async with Peer(script) as peer, make() as transport:
            await fetch(transport, call(peer.url + "/a?b=c", sent, headers={"X-Y": "z"}))
        head, _, body = got[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nX-Y: z" in head
        assert body == sent

    run(main)


@on_both_loops
def test_a_stream_is_sent_in_chunks(run: Run, make: Make) -> None:
    got = []

    async def script(connection: PeerConnection) -> None:
        while request := await connection.request():
            got.append(request)
            await connection.send(reply(b"ok"))

    async def main() -> None:
        async with Peer(script) as peer, make() as transport:
            for _ in range(2):
                stream = Pieces(b"ab", b"", b"cde")
                request = httpx.Request("POST", peer.url, content=stream)
                assert (await fetch(transport, request)).content == b"ok"
            assert len(peer.connections) == 1
        assert got[0].endswith(b"\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")

    run(main)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@on_both_loops
def test_a_status_without_a_body_ends_at_its_head(run: Run, make: Make, status: bytes) -> None:
    async def main() -> None:
        async with (
            Peer(answering(b"HTTP/1.1 " + status + b"\r\n\r\n")) as peer,
            make() as transport,
        ):
            for _ in range(2):
                assert (await fetch(transport, call(peer.url))).content == b""
            assert len(peer.connections) == 1

    run(main)


@on_both_loops
def test_a_head_answer_ends_at_its_head(run: Run, make: Make) -> None:
    async def main() -> None:
        head = OK + b"Content-Length: 5\r\n\r\n"
        async with Peer(answering(head)) as peer, make() as transport:
            for _ in range(2):
                assert (await fetch(transport, call(peer.url, method="HEAD"))).content == b""
            assert len(peer.connections) == 1

    run(main)


@on_both_loops
def test_without_a_length_the_close_ends_the_body(run: Run, make: Make) -> None:
    async def main() -> None:
        packets = (OK + b"\r\n", b"hel", b"lo")
        async with Peer(answering_once(*packets)) as peer, make() as transport:
            assert (await fetch(transport, call(peer.url))).content == b"hello"

    run(main)


@pytest.mark.parametrize("coding", ["chunked", "length", "close"])
@on_both_loops
def test_each_chunk_is_handed_on_when_it_comes(run: Run, make: Make, coding: str) -> None:
    async def main() -> None:
        taken = asyncio.Queue[bytes]()
        head = {
            "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
            "length": b"Content-Length: 9\r\n\r\n",
            "close": b"\r\n",
        }[coding]

        async def script(connection: PeerConnection) -> None:
            await connection.request()
            await connection.send(OK + head)
            for piece in (b"one", b"two", b"six"):
                data = b"3\r\n" + piece + b"\r\n" if coding == "chunked" else piece
                await connection.send(data)
                # The next one is not sent before this one has been read.
                assert await taken.get() == piece
            await connection.send(b"0\r\n\r\n" if coding == "chunked" else b"")
            connection.close()

        async with Peer(script) as peer, make() as transport:
            stream = await stream_of(transport, call(peer.url))
            async for chunk in stream:
                taken.put_nowait(chunk)
            await stream.aclose()

    run(main)


# Faults in the answer.

CUT = {
    "length": OK + b"Content-Length: 10\r\n\r\nhello",
    "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
}


@pytest.mark.parametrize("packet", CUT.values(), ids=CUT.keys())
@on_both_loops
def test_a_cut_body_raises_after_what_came(run: Run, make: Make, packet: bytes) -> None:
    async def main() -> None:
        async with Peer(answering_once(packet)) as peer, make() as transport:
            got = b""
            stream = await stream_of(transport, call(peer.url))
            with pytest.raises(httpx.RemoteProtocolError):
                async for chunk in stream:
                    got += chunk
            await stream.aclose()
            assert b"hello".startswith(got)
            assert got

    run(main)


MALFORMED = {
    "garbage": b"hello there\r\n\r\n",
    "http09": b"<html></html>",
    "status": b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
    "cut-head": OK + b"Content-Le",
    "no-colon": OK + b"junk\r\nContent-Length: 0\r\n\r\n",
    "nul": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "lengths-that-differ": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "length-letters": OK + b"Content-Length: two\r\n\r\nab",
    "coding-unknown": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunk-size": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "chunk-size-minus": OK + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
    "chunk-too-long": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
    "head-too-long": OK + b"X: " + b"a" * 200_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED.keys())
@on_both_loops
def test_a_malformed_answer_raises(run: Run, make: Make, packet: bytes) -> None:
    async def main() -> None:
        async with Peer(answering_once(packet)) as peer, make() as transport:
            with pytest.raises(httpx.RemoteProtocolError):
                await fetch(transport, call(peer.url))

    run(main)


SMUGGLING = {
    "http2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "length-and-coding": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length-twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "length-list": OK + b"Content-Length: 2, 2\r\n\r\nab",
    "length-plus": OK + b"Content-Length: +2\r\n\r\nab",
    "space-before-colon": OK + b"Content-Length : 2\r\n\r\nab",
    "folded": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare-lf": OK + b"X: a\nContent-Length: 0\r\n\r\n",
    "bare-lf-everywhere": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare-cr": OK + b"X: a\rContent-Length: 2\r\n\r\nab",
    "coding-list": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunk-size-lf": OK + b"Transfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n",
    "chunk-size-0x": OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
    "chunk-extension-lf": OK + b"Transfer-Encoding: chunked\r\n\r\n2;\nab\r\n0\r\n\r\n",
    "bytes-after-length": reply(b"ab") + b"c",
    "bytes-after-chunks": chunked(b"ab") + b"\r\n",
    "bytes-after-204": b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n",
    "second-response": reply(b"ab") + reply(b"cd"),
    "upgrade": b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    "interim-with-body": b"HTTP/1.1 103 H\r\nContent-Length: 2\r\n\r\nab" + reply(b"cd"),
    "interim-for-ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
}


@pytest.mark.parametrize("packet", SMUGGLING.values(), ids=SMUGGLING.keys())
@on_both_loops
def test_smuggling_shapes_raise_and_cost_the_connection(
    run: Run, make: Make, packet: bytes
) -> None:
    async def main() -> None:
        async with Peer(answering(packet)) as peer, make() as transport:
            with pytest.raises(httpx.RemoteProtocolError):
                await fetch(transport, call(peer.url))
            async with asyncio.timeout(NOTICE):
                await peer.connections[0].closed.wait()
            assert transport.stats()[peer.url].open == 0

    run(main)


@pytest.mark.parametrize("packet", [reply(b"abcde"), chunked(b"abc", b"de"), OK + b"\r\nabcde"])
@on_both_loops
def test_a_body_over_the_bound_raises(run: Run, make: Make, packet: bytes) -> None:
    async def main() -> None:
        async with Peer(answering(packet)) as peer, make(max_body_bytes=4) as transport:
            with pytest.raises(ResponseTooLarge):
                await fetch(transport, call(peer.url))
            async with asyncio.timeout(NOTICE):
                await peer.connections[0].closed.wait()
        async with Peer(answering(reply(b"abcde"))) as peer, make(max_body_bytes=4) as transport:
            request = call(peer.url)
            request.extensions["max_body_bytes"] = 5
            assert (await fetch(transport, request)).content == b"abcde"

    run(main)


@on_both_loops
def test_a_reset_is_a_read_error(run: Run, make: Make) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.request()
        if connection.number:
            await connection.send(OK + b"Content-Length: 9\r\n\r\nabc")
        connection.reset()

    async def main() -> None:
        async with Peer(script) as peer, make() as transport:
            for _ in range(2):
                with pytest.raises(httpx.ReadError):
                    await fetch(transport, call(peer.url))

    run(main)


@pytest.mark.parametrize(
    "headers",
    [{"X": "a\r\nEvil: b"}, {"X": "a\nb"}, {"X": "a\0b"}, {"X\r\nY": "a"}, {"X y": "a"}],
)
@on_both_loops
def test_a_head_that_would_be_read_otherwise_is_not_sent(
    run: Run, make: Make, headers: dict[str, str]
) -> None:
    async def main() -> None:
        async with Peer(silent) as peer, make() as transport:
            with pytest.raises(httpx.LocalProtocolError):
                await fetch(transport, call(peer.url, headers=headers))

    run(main)


# Connections: kept, stale, retried.


@on_both_loops
def test_a_connection_is_kept_and_reused(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(answering(reply(b"ok"))) as peer, make() as transport:
            for _ in range(5):
                await fetch(transport, call(peer.url))
            assert len(peer.connections) == 1

    run(main)


@pytest.mark.parametrize(
    "packet",
    [
        reply(b"ok", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
@on_both_loops
def test_a_connection_is_closed_where_the_peer_says_so(run: Run, make: Make, packet: bytes) -> None:
    async def main() -> None:
        async with Peer(answering(packet)) as peer, make() as transport:
            for _ in range(2):
                await fetch(transport, call(peer.url))
            assert len(peer.connections) == 2
            async with asyncio.timeout(NOTICE):
                await peer.connections[1].closed.wait()

    run(main)


@on_both_loops
def test_a_connection_is_closed_where_the_caller_says_so(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(answering(reply(b"ok"))) as peer, make() as transport:
            for _ in range(2):
                await fetch(transport, call(peer.url, headers={"Connection": "close"}))
            assert len(peer.connections) == 2

    run(main)


@on_both_loops
def test_a_connection_that_the_peer_closed_while_idle_is_not_used(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(answering_once(reply(b"ok"))) as peer, make() as transport:
            for _ in range(3):
                await fetch(transport, call(peer.url))
                await turns()
            assert len(peer.connections) == 3

    run(main)


@on_both_loops
def test_an_expired_connection_is_not_used(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(answering(reply(b"ok"))) as peer, make(keepalive_expiry=0.0) as transport:
            for _ in range(2):
                await fetch(transport, call(peer.url))
            assert len(peer.connections) == 2

    run(main)


@on_both_loops
def test_a_fresh_connection_that_dies_is_not_retried(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(answering_once()) as peer, make() as transport:
            with pytest.raises(httpx.RemoteProtocolError):
                await fetch(transport, call(peer.url))
            assert len(peer.connections) == 1

    run(main)


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


# The pool.


@on_both_loops
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


# Connecting.


@on_both_loops
def test_a_refused_connection_is_a_connect_error(run: Run, make: Make) -> None:
    async def main() -> None:
        async with Peer(silent) as peer:
            url = peer.url
        async with make() as transport:
            with pytest.raises(httpx.ConnectError):
                await fetch(transport, call(url))

    run(main)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid"])
@on_both_loops
def test_an_unknown_name_is_a_connect_error(run: Run, make: Make, host: str) -> None:
    async def main() -> None:
        async with make() as transport:
            with pytest.raises(httpx.ConnectError):
                await fetch(transport, call(f"http://{host}/"))

    run(main)


@pytest.mark.parametrize("url", ["ftp://localhost/", "/no-host"])
@on_both_loops
def test_another_scheme_is_unsupported(run: Run, make: Make, url: str) -> None:
    async def main() -> None:
        async with make() as transport:
            with pytest.raises(httpx.UnsupportedProtocol):
                await fetch(transport, call(url))

    run(main)


# TLS.


@on_both_loops
def test_tls_with_a_known_authority(run: Run, make: Make) -> None:
    async def main() -> None:
        peer_script = answering(chunked(b"he", b"llo"))
        async with (
            Peer(peer_script, tls=certificates().good) as peer,
            make(ssl_context=certificates().trusting) as transport,
        ):
            for host in ("localhost", "127.0.0.1", "localhost"):
                url = f"https://{host}:{peer.port}"
                assert (await fetch(transport, call(url, b"x" * 100_000))).content == b"hello"
            assert len(peer.connections) == 2

    run(main)


@pytest.mark.parametrize("fault", ["self_signed", "wrong_host"])
@on_both_loops
def test_tls_that_proves_nothing_is_a_connect_error(run: Run, make: Make, fault: str) -> None:
    async def main() -> None:
        async with (
            Peer(silent, tls=getattr(certificates(), fault)) as peer,
            make(ssl_context=certificates().trusting) as transport,
        ):
            with pytest.raises(httpx.ConnectError, match=r"(?i)certificate.*verif"):
                await fetch(transport, call(peer.url))

    run(main)


@on_both_loops
def test_plain_http_behind_https_is_a_connect_error(run: Run, make: Make) -> None:
    async def script(connection: PeerConnection) -> None:
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await connection.wait_closed()

    async def main() -> None:
        async with Peer(script) as peer, make(ssl_context=certificates().trusting) as transport:
            with pytest.raises(httpx.ConnectError):
                await fetch(transport, call(f"https://localhost:{peer.port}"))

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
