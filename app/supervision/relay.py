"""Hands requests on the management listener to a worker, because the main process has no store.

A request goes to the port that callers use, with a mark that only workers of this gateway know, and
both directions are carried as they come, so streams pass. One request a connection.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from app.core.errors import GatewayError, Refused, Unavailable
from app.core.limits import retry_headers
from app.supervision.relay_mark import RELAY_HEADER, RelayMark

MAX_RELAYED = 128
PIECE_BYTES = 64 << 10
CONNECT_SECONDS = 2.0
STUCK_SECONDS = 60.0  # for which one side may take nothing of what the other sends
LINGER_SECONDS = 2.0
SOON = 1_000_000
_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here
_OURS = frozenset({b"connection", b"keep-alive", b"proxy-connection", RELAY_HEADER})


class Relay:
    """Carries requests to the workers behind ``host`` and ``port``, where callers are served."""

    def __init__(self, host: str, port: int, mark: RelayMark) -> None:
        self._address = (_EVERY_ADDRESS.get(host, host), port)
        self._mark = mark
        self._open: set[asyncio.StreamWriter] = set()

    def descriptors(self) -> list[int]:
        """What is open, for a fork that must not keep it."""
        sockets = [writer.get_extra_info("socket") for writer in self._open]
        return [one.fileno() for one in sockets if one is not None and one.fileno() >= 0]

    async def carry(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> GatewayError | None:
        """Carry one request and its answer; an error where nothing was answered.

        Raises OSError and TimeoutError where a side is gone or stuck.
        """
        if len(self._open) >= 2 * MAX_RELAYED:
            return _unavailable("Too many requests of operators run already.")
        try:
            marked = self._marked(head, writer.get_extra_info("peername")[0])
        except ValueError as error:
            return Refused(str(error))
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                there = await asyncio.open_connection(*self._address)
        except (OSError, TimeoutError):
            return _unavailable("No worker answers just now.")
        pair = {writer, there[1]}
        self._open |= pair
        for one in pair:
            one.transport.set_write_buffer_limits(0)  # what is drained is sent
        try:
            there[1].write(marked)
            await self._both_ways((reader, writer), there)
        finally:
            self._open -= pair
            for one in pair:
                _end(one)
        return None

    def _marked(self, head: bytes, address: str) -> bytes:
        """The head as a worker gets it. Raises ValueError where it could be read in two ways."""
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        if any(line[:1] in b" \t" for line in lines):
            raise ValueError("A header must stand on one line.")
        kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in _OURS]
        mark = RELAY_HEADER + b": " + self._mark.header(address)
        return b"\r\n".join([first, *kept, b"connection: close", mark, b"", b""])

    async def _both_ways(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Until the worker has ended its answer; a caller that goes away ends it sooner."""
        asking = asyncio.get_running_loop().create_task(_carry(here[0], there[1]))
        try:
            await _carry(there[0], here[1])
            with suppress(OSError, TimeoutError):
                # Until the peer has it all, or says something that nobody will read.
                async with asyncio.timeout(LINGER_SECONDS):
                    await asking
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError, OSError, TimeoutError):
                await asking


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        async with asyncio.timeout(STUCK_SECONDS):
            await writer.drain()
    writer.write_eof()


def _end(writer: asyncio.StreamWriter) -> None:
    # Said to the peer and not only to our descriptor, of which a fork may have made another.
    one = writer.get_extra_info("socket")
    with suppress(OSError):
        if one is not None:
            one.shutdown(socket.SHUT_RDWR)
    writer.close()


def _unavailable(message: str) -> Unavailable:
    return Unavailable(message, headers=retry_headers(SOON))
