"""Answers that are cut, malformed or too long, over our transport and over httpx's."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from app.providers.http1.transport import ResponseTooLarge
from tests.app.providers.http1.transport_peer import (
    NOTICE,
    OK,
    Make,
    Peer,
    PeerConnection,
    Run,
    answering,
    answering_once,
    call,
    chunked,
    fetch,
    on_both_loops,
    reply,
    silent,
    stream_of,
)

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
@pytest.mark.ours_only("h11 reads them leniently")
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
@pytest.mark.ours_only("httpx has no bound on bodies")
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
