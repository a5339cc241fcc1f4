"""One exchange as a scripted upstream sees it: the request that came, and the wire to answer on."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from tests.harness.waiting import PATIENCE


class Connection:
    """One accepted connection: what came over it, and when its peer closed it."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.closed_at: float | None = None  # time.perf_counter()
        self.requests = 0

    def note_closed(self) -> None:
        if not self.closed.is_set():
            self.closed_at = time.perf_counter()
            self.closed.set()


class Request:
    """One request as it came: ``head`` and ``body`` are the raw bytes."""

    def __init__(self, head: bytes, body: bytes, connection: Connection) -> None:
        self.head = head
        self.body = body
        self.connection = connection
        line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.method, self.target, self.version = line.decode("latin-1").split(" ")
        pairs = (field.partition(b":") for field in fields)
        self.fields = [
            (n.decode("latin-1").lower(), v.strip().decode("latin-1")) for n, _, v in pairs
        ]
        self.headers = dict(self.fields)

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def model(self) -> str | None:
        try:
            return str(json.loads(self.body).get("model"))
        except (ValueError, AttributeError):
            return None

    def member(self, name: str) -> bytes | None:
        """The bytes of one top-level member, read without turning numbers into floats."""
        text = self.body.decode()
        decoder = json.JSONDecoder(parse_float=str, parse_int=str)
        place = 1
        while True:
            while text[place] in " \t\r\n,":
                place += 1
            if text[place] == "}":
                return None
            key, place = decoder.raw_decode(text, place)
            while text[place] in " \t\r\n:":
                place += 1
            start = place
            _, place = decoder.raw_decode(text, place)
            if key == name:
                return text[start:place].encode()


class Gate:
    """Holds a script until the test opens it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def open(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await asyncio.wait_for(self._event.wait(), PATIENCE)


class Wire:
    """The upstream's end of one exchange."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """These bytes and nothing else."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(
        self, body: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A whole answer with a length; anything but bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.send(head(status, [*headers, ("content-length", str(len(data)))]) + data)

    async def begin_stream(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        fields = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
        await self.send(head(200, [*fields, *headers], kind=None))

    async def packet(self, data: bytes) -> None:
        """One HTTP chunk."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, payload: Any) -> None:
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await self.packet(b"data: " + data + b"\n\n")

    async def end_stream(self) -> None:
        await self.send(b"0\r\n\r\n")

    def close(self) -> None:
        """FIN."""
        self._writer.close()

    def reset(self) -> None:
        """RST: what was written may be lost."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._writer.transport.abort()


Script = Callable[[Request, Wire], Awaitable[None]]


def head(
    status: int,
    headers: Iterable[tuple[str, str]] = (),
    kind: str | None = "application/json",
) -> bytes:
    fields = list(headers)
    if kind is not None and not any(name.lower() == "content-type" for name, _ in fields):
        fields.insert(0, ("content-type", kind))
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
