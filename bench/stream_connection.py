"""A client connection that reads one stream at a time: a raw protocol, so that it costs little."""

import asyncio
import time
from dataclasses import dataclass
from typing import cast

import httptools

from bench.processes import HOST


@dataclass(frozen=True, slots=True)
class Outcome:
    """One stream as the client saw it; `first_chunk` in seconds, `problem` empty when complete."""

    status: int
    body: bytes
    first_chunk: float
    problem: str = ""


class StreamConnection(asyncio.Protocol):
    """Sends a request, collects the body, keeps the connection for the next one."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[Outcome] | None = None
        self._body: list[bytes] = []
        self._began = 0.0
        self._first = 0.0

    @classmethod
    async def open(cls, port: int) -> "StreamConnection":
        """A new connection to the loopback address."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, HOST, port)
        return protocol

    async def stream(self, request: bytes) -> Outcome:
        """The whole stream, or how far it came and why it ended."""
        self._waiter = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._first = 0.0
        self._began = time.perf_counter()
        self._transport.write(request)
        return await self._waiter

    @property
    def pieces(self) -> int:
        """How many pieces of the body have come so far."""
        return len(self._body)

    def go_away(self) -> None:
        """Drops the connection at once, mid-stream or not."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour only

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"not HTTP: {error}")
            self._transport.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._end("connection closed before the end of the answer")

    def on_body(self, body: bytes) -> None:
        if not self._body:
            self._first = time.perf_counter() - self._began
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._end("")

    def _end(self, problem: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            status = self._parser.get_status_code()
            self._waiter.set_result(Outcome(status, b"".join(self._body), self._first, problem))
