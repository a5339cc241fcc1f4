"""What our transport offers beyond the contract: addresses, its end, its stream."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import httpx
import pytest

from app.providers.http1.transport import (
    AddressRefused,
    CertificateError,
    Http1Transport,
    OriginStats,
    ResponseBody,
)
from tests.app.providers.http1.peer_certificates import certificates
from tests.app.providers.http1.test_contract_bounds import cut
from tests.app.providers.http1.test_contract_faults import CUT, MALFORMED, SMUGGLING
from tests.app.providers.http1.transport_peer import (
    OK,
    Peer,
    PeerConnection,
    Run,
    answering,
    answering_once,
    call,
    chunked,
    fetch,
    in_background,
    on_both_loops,
    reply,
    silent,
    stream_of,
    turns,
)


@on_both_loops
def test_an_early_answer_ends_an_endless_upload(run: Run) -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)

    async def script(connection: PeerConnection) -> None:
        await connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await connection.wait_closed()

    async def main() -> None:
        async with Peer(script) as peer, Http1Transport() as transport:
            request = httpx.Request("POST", peer.url, stream=Endless())
            assert (await fetch(transport, request)).status_code == 413
            assert transport.stats()[peer.url].open == 0

    run(main)


@on_both_loops
def test_a_close_delimited_body_is_marked(run: Run) -> None:
    async def main() -> None:
        async with Peer(answering_once(OK + b"\r\nab")) as peer, Http1Transport() as transport:
            response = await fetch(transport, call(peer.url))
            assert response.extensions["close_delimited"] is True
        async with Peer(answering_once(reply(b"ab"))) as peer, Http1Transport() as transport:
            response = await fetch(transport, call(peer.url))
            assert response.extensions["close_delimited"] is False

    run(main)


@on_both_loops
def test_the_whole_body_is_read_without_waiting(run: Run) -> None:
    async def main() -> None:
        async with Peer(answering(chunked(b"he", b"llo"))) as peer, Http1Transport() as transport:
            stream = await stream_of(transport, call(peer.url))
            assert isinstance(stream, ResponseBody)
            reading = stream.read()
            with pytest.raises(StopIteration) as done:
                reading.send(None)  # a coroutine that waited would give a future here
            assert done.value.value == b"hello"

            stream = await stream_of(transport, call(peer.url))
            assert [chunk async for chunk in stream] == [b"hello"]

    run(main)


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "http://0.0.0.0:80/"]
)
@on_both_loops
def test_link_local_addresses_are_refused(run: Run, url: str) -> None:
    async def main() -> None:
        async with Http1Transport() as transport:
            with pytest.raises(AddressRefused):
                await fetch(transport, call(url))

    run(main)


@on_both_loops
def test_every_address_is_checked_at_connect(run: Run) -> None:
    async def main() -> None:
        seen: list[str] = []

        def check(address: str) -> bool:
            seen.append(address)
            return len(seen) <= 2

        async with (
            Peer(answering_once(reply(b"ok"))) as peer,
            Http1Transport(check_address=check) as transport,
        ):
            for _ in range(2):
                await fetch(transport, call(peer.url))
                await turns()
            with pytest.raises(AddressRefused):
                await fetch(transport, call(peer.url))
            assert seen == ["127.0.0.1"] * 3

    run(main)


@on_both_loops
def test_a_host_with_a_dead_address_is_reached_by_the_next(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(self: object, host: str) -> tuple[str, ...]:
        return ("127.0.0.2", "169.254.1.1", "127.0.0.1")

    async def main() -> None:
        monkeypatch.setattr("app.providers.http1.resolver.Resolver.resolve", resolve)
        async with Peer(answering(reply(b"ok"))) as peer, Http1Transport() as transport:
            url = f"http://several.example:{peer.port}"
            assert (await fetch(transport, call(url, connect=5))).content == b"ok"

    run(main)


@on_both_loops
def test_a_tls_certificate_failure_has_its_own_class(run: Run) -> None:
    async def main() -> None:
        # The system's authorities do not know this one.
        async with Peer(silent, tls=certificates().good) as peer, Http1Transport() as transport:
            with pytest.raises(CertificateError, match="certificate verification failed"):
                await fetch(transport, call(peer.url))

    run(main)


@on_both_loops
def test_the_peer_sees_an_idle_connection_close_at_aclose(run: Run) -> None:
    async def main() -> None:
        async with Peer(answering(reply(b"ok"))) as peer:
            transport = Http1Transport()
            await fetch(transport, call(peer.url))
            await transport.aclose()
            assert transport.stats()[peer.url] == OriginStats(0, 0, 0, 0)
            await peer.connections[0].closed.wait()
            with pytest.raises(httpx.ConnectError):
                await fetch(transport, call(peer.url))

    run(main)


@on_both_loops
def test_aclose_ends_what_runs(run: Run) -> None:
    async def main() -> None:
        async with Peer(silent) as peer:
            transport = Http1Transport(max_connections=1)
            tasks = [in_background(fetch(transport, call(peer.url))) for _ in range(2)]
            await turns(50)
            await transport.aclose()
            running, waiting = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(running, httpx.ReadError)
            assert isinstance(waiting, httpx.ConnectError)

    run(main)


@on_both_loops
def test_drain_lets_what_runs_finish(run: Run) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def script(connection: PeerConnection) -> None:
            await connection.request()
            await connection.send(OK + b"Content-Length: 4\r\n\r\nab")
            await go.wait()
            await connection.send(b"cd")
            await connection.wait_closed()

        async with Peer(script) as peer:
            transport = Http1Transport()
            stream = await stream_of(transport, call(peer.url))
            draining = in_background(transport.drain())
            await turns()
            with pytest.raises(httpx.ConnectError):
                await fetch(transport, call(peer.url))
            assert not draining.done()
            go.set()
            assert await stream.read() == b"abcd"
            await draining
            assert transport.stats()[peer.url] == OriginStats(0, 0, 0, 0)

    run(main)


@on_both_loops
def test_drain_serves_those_who_already_wait(run: Run) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def script(connection: PeerConnection) -> None:
            while await connection.request():
                await go.wait()
                await connection.send(reply(b"ok", b"Connection: close"))

        async with Peer(script) as peer:
            transport = Http1Transport(max_connections=1)
            tasks = [in_background(fetch(transport, call(peer.url))) for _ in range(3)]
            await turns(50)
            draining = in_background(transport.drain())
            await turns()
            go.set()
            assert [response.content for response in await asyncio.gather(*tasks)] == [b"ok"] * 3
            await draining

    run(main)


@on_both_loops
def test_a_closed_stream_says_so(run: Run) -> None:
    async def main() -> None:
        async with Peer(answering(reply(b"ok"))) as peer, Http1Transport() as transport:
            stream = await stream_of(transport, call(peer.url))
            await stream.aclose()
            with pytest.raises(httpx.StreamClosed):
                await stream.read()

    run(main)


def test_a_transport_serves_one_loop() -> None:
    transport = Http1Transport()

    async def main() -> None:
        with contextlib.suppress(httpx.ConnectError):
            await fetch(transport, call("http://127.0.0.1:1/"))

    asyncio.run(main())
    with pytest.raises(RuntimeError):
        asyncio.run(main())


@on_both_loops
def test_no_other_error_leaks(run: Run) -> None:
    chance = random.Random(5)
    answers = [*MALFORMED.values(), *SMUGGLING.values(), *CUT.values(), reply(b"x" * 100_000)]

    async def script(connection: PeerConnection) -> None:
        while chance.random() < 0.8 and await connection.request():
            answer = chance.choice(answers)
            await connection.send(*cut(answer + b" ", chance, 3))
        chance.choice([connection.reset, connection.close, connection.half_close])()

    async def main() -> None:
        for tls in (None, certificates().good):
            transport = Http1Transport(ssl_context=certificates().trusting, max_connections=5)
            async with Peer(script, tls=tls) as peer, transport:
                tasks = [
                    in_background(fetch(transport, call(peer.url, b"x" * 200_000, total=0.2)))
                    for _ in range(60)
                ]
                found = await asyncio.gather(*tasks, return_exceptions=True)
                kinds = {type(item) for item in found if isinstance(item, BaseException)}
                assert all(issubclass(kind, httpx.TransportError) for kind in kinds), kinds
                assert transport.stats()[peer.url].in_use == 0

    run(main)


# Whether the peer may have worked on a request.


@on_both_loops
def test_a_request_that_went_out_says_so(run: Run) -> None:
    async def main() -> None:
        async with Peer(silent) as peer, Http1Transport() as transport:
            request = call(peer.url, read=0.05)
            with pytest.raises(httpx.ReadTimeout):
                await transport.handle_async_request(request)
            assert request.extensions["sent"] is True

    run(main)


@on_both_loops
def test_a_request_that_found_no_connection_says_so(run: Run) -> None:
    async def main() -> None:
        async with Peer(silent) as peer:
            url = peer.url
        async with Http1Transport() as transport:
            request = call(url)
            with pytest.raises(httpx.ConnectError):
                await transport.handle_async_request(request)
            assert request.extensions["sent"] is False

    run(main)
