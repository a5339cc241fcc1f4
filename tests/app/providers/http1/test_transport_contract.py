"""What every HTTP transport under a provider promises, over real sockets, on both event loops.

Each test runs on asyncio and on uvloop, over our transport and over httpx's own (which serves
providers behind a forward proxy), unless it is marked `ours_only`. `read` in the timeouts is the
name that both know. Bounds and faults of the contract are in the files beside this one.
"""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest

from tests.app.providers.http1.peer_certificates import certificates
from tests.app.providers.http1.transport_peer import (
    NOTICE,
    OK,
    Make,
    Peer,
    PeerConnection,
    Pieces,
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
    turns,
)

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
