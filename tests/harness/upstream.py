"""A scripted inference server over real sockets, on a thread and loop of its own.

The ``model`` in a request's body chooses a script: an async function of the decoded request and of
the wire, which it may write on byte by byte. A model without a script gets `good_server`, an
OpenAI-compatible one. Everything that arrives is kept: raw heads, bodies, and when each connection
was closed from the other side.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import closing, suppress
from typing import Self

from tests.harness.exchange import Connection, Gate, Request, Script, Wire
from tests.harness.good_server import good_server
from tests.harness.waiting import PATIENCE


class _Protocol(asyncio.StreamReaderProtocol):
    """Notes the close the moment it comes, whether or not anybody reads."""

    def __init__(self, upstream: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self.connection = Connection()
        self.task: asyncio.Task[None] | None = None
        self._upstream = upstream
        super().__init__(asyncio.StreamReader(limit=1 << 20, loop=loop), self._begin, loop=loop)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._upstream.note_connection(self)
        self.task = asyncio.ensure_future(self._upstream.serve(reader, writer, self.connection))

    def eof_received(self) -> bool:
        self.connection.note_closed()
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.connection.note_closed()
        super().connection_lost(exc)
        if self.task is not None:
            self.task.cancel()


class Upstream:
    """The server; use as a context manager. With ``tls`` it speaks HTTPS."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.scripts: dict[str, Script] = {}
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self.port = 0
        self._tls = tls
        self._arrived = threading.Condition()
        self._gates: list[Gate] = []
        self._protocols: set[_Protocol] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.address}/v1"

    # What tests ask for.

    def reset(self) -> None:
        """Forget what happened, and let go of whoever still waits."""
        for gate in self._gates:
            gate.open()
        self._gates.clear()
        self.scripts.clear()
        with self._arrived:
            self.requests = []
            self.connections = []

    def gate(self) -> Gate:
        gate = Gate(self._loop)
        self._gates.append(gate)
        return gate

    def on(self, model: str, script: Script) -> None:
        """Answer requests for this upstream model so from now on."""
        self.scripts[model] = script

    def wait_for(self, count: int = 1) -> list[Request]:
        """The requests so far, once there are that many."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, PATIENCE), (
                f"{len(self.requests)} requests came where {count} were expected"
            )
            return list(self.requests)

    @property
    def request(self) -> Request:
        """The only request there was."""
        (request,) = self.wait_for(1)
        return request

    # The server.

    def note_connection(self, protocol: _Protocol) -> None:
        self._protocols.add(protocol)
        with self._arrived:
            self.connections.append(protocol.connection)

    async def serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: Connection,
    ) -> None:
        gone = (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, TimeoutError)
        with closing(writer), suppress(*gone):
            while not writer.is_closing():
                request = await _read_request(reader, connection)
                connection.requests += 1
                with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
                script = self.scripts.get(request.model or "", good_server)
                await script(request, Wire(writer))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Protocol(self, loop), "127.0.0.1", 0, ssl=self._tls, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [p.task for p in self._protocols if p.task is not None and not p.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # closing transports need a turn of the loop or two


async def _read_request(reader: asyncio.StreamReader, connection: Connection) -> Request:
    raw = await reader.readuntil(b"\r\n\r\n")
    request = Request(raw, b"", connection)
    if "content-length" in request.headers:
        request.body = await reader.readexactly(int(request.headers["content-length"]))
    elif "transfer-encoding" in request.headers:
        while size := int(await reader.readline(), 16):
            request.body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    return request
