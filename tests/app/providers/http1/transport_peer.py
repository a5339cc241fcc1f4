"""An HTTP peer that plays scripts over real sockets, its certificates, and what calls it.

A script is a coroutine function over a `PeerConnection`; it decides every packet and every close.
Nothing here waits for time to pass: scripts and tests meet at events.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
import uvloop

Script = Callable[["PeerConnection"], Awaitable[None]]

Make = Callable[..., Any]  # makes a transport

NOTICE = 0.1  # seconds in which a peer must see that a call was given up
OK = b"HTTP/1.1 200 OK\r\n"


def reply(body: bytes, *headers: bytes) -> bytes:
    """A whole response with a Content-Length."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return OK + lines + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(*pieces: bytes) -> bytes:
    """A whole response in chunks."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


class PeerConnection:
    """The peer's end of one connection. `number` counts accepted connections from 0."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self._reader = reader
        self._writer = writer
        # Set when the client's end is closed or reset.
        self.closed = asyncio.Event()

    async def request(self) -> bytes:
        """The next whole request, head and body; b"" once the client has closed."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            if length is not None:
                return head + await self._reader.readexactly(int(length[1]))
            if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
                return head + await self._reader.readuntil(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            self.closed.set()
            return b""
        return head

    async def send(self, *packets: bytes) -> None:
        """Send each packet by itself, letting the client's end read between them."""
        for packet in packets:
            self._writer.write(packet)
            await self._writer.drain()
            for _ in range(3):
                await asyncio.sleep(0)

    async def wait_closed(self) -> None:
        """Read until the client closes or resets."""
        with contextlib.suppress(OSError):
            while await self._reader.read(65536):
                pass
        self.closed.set()

    def close(self) -> None:
        """Close after what was sent (FIN)."""
        self._writer.close()

    def half_close(self) -> None:
        """Send a FIN but go on reading."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Close with a RST."""
        opened: socket.socket = self._writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def write_nowait(self, data: bytes) -> int:
        """Hand `data` to the socket; return the bytes that the client has not yet let through."""
        self._writer.write(data)
        return self._writer.transport.get_write_buffer_size()


class Peer:
    """A listening peer; use as an async context manager, which ends its scripts on leaving."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.connections: list[PeerConnection] = []
        self.port = 0
        self._leaving = False

    @property
    def url(self) -> str:
        """The base URL, by the name localhost when TLS is spoken and by address when not."""
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._tls, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._leaving:
            writer.transport.abort()
            return
        connection = PeerConnection(len(self.connections), reader, writer)
        self.connections.append(connection)
        task = asyncio.ensure_future(self._play(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _play(self, connection: PeerConnection) -> None:
        try:
            await self._script(connection)
        except OSError:
            connection.closed.set()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        # asyncio loses a socket that it has accepted but not yet handed on when it stops serving.
        await turns(5)
        self._leaving = True
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await turns(5)  # in which the loop closes the sockets


def answering(*packets: bytes) -> Script:
    """A script that answers every request with the same packets and keeps the connection open."""

    async def script(connection: PeerConnection) -> None:
        while await connection.request():
            await connection.send(*packets)

    return script


def answering_once(*packets: bytes) -> Script:
    """A script that answers one request and closes."""

    async def script(connection: PeerConnection) -> None:
        await connection.request()
        await connection.send(*packets)
        connection.close()

    return script


async def silent(connection: PeerConnection) -> None:
    """A script that reads and never answers."""
    await connection.wait_closed()


Run = Callable[[Callable[[], Awaitable[None]]], None]


async def _watched(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` and see that it leaves no task behind."""
    async with asyncio.timeout(20):
        await main()
    for _ in range(100):  # the peer, too, has to notice the end
        if len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def _runs_on(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    def run(main: Callable[[], Awaitable[None]]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_watched(main))

    return run


# A test that takes `run` runs its `main` on one kind of loop after the other.
on_both_loops = pytest.mark.parametrize(
    "run",
    [_runs_on(asyncio.new_event_loop), _runs_on(uvloop.new_event_loop)],
    ids=["asyncio", "uvloop"],
)


def call(
    url: str, body: bytes = b"", *, method: str = "POST", headers: Any = None, **timeout: Any
) -> httpx.Request:
    """A request whose timeouts, in seconds, are the keywords that are left."""
    return httpx.Request(
        method, url, content=body, headers=headers, extensions={"timeout": timeout}
    )


async def fetch(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """The response, its body read and kept in `content`."""
    response = await transport.handle_async_request(request)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    try:
        body = b"".join([chunk async for chunk in response.stream])
    finally:
        await response.stream.aclose()
    response._content = body
    return response


async def stream_of(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Any:
    """The stream of the response, as soon as its head is in."""
    return (await transport.handle_async_request(request)).stream


def in_background(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task of the running loop."""
    return asyncio.get_running_loop().create_task(coroutine)


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel `task` and see that it ended so."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def turns(count: int = 20) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


class Pieces(httpx.AsyncByteStream):
    """A request body that comes piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
