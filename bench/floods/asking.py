"""One attacker's kept-alive connection, which asks and reads the status of what comes back."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Self

from bench.floods import sockets
from bench.processes import HOST
from bench.requests import PATH, headers


def request(body: bytes, key: str, more: Mapping[str, str] | None = None) -> bytes:
    """A completion request as bytes."""
    lines = [f"POST {PATH} HTTP/1.1", f"host: {HOST}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in {**headers(key), **(more or {})}.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Caller:
    """Asks one request after the other."""

    def __init__(self, made: socket.socket) -> None:
        self._socket = made
        self._rest = b""

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Raises OSError."""
        return cls(await sockets.connect(port))

    async def ask(self, body: bytes, key: str, more: Mapping[str, str] | None = None) -> int:
        """Sends a completion request; the answer's status, read to its end.

        Raises OSError or EOFError where the gateway closes, EOFError where it says that it will.
        """
        loop = asyncio.get_running_loop()
        sent = request(body, key, more)
        sending = asyncio.ensure_future(loop.sock_sendall(self._socket, sent))
        try:
            answer = (await self._until(b"\r\n\r\n")).lower()
            length = int(answer.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            while len(self._rest) < length:
                await self._more()
            self._rest = self._rest[length:]
            if b"connection: close" in answer:
                raise EOFError
            await sending
        finally:
            sending.cancel()
        return int(answer[9:12])

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            await self._more()
        before, _, self._rest = self._rest.partition(mark)
        return before + mark

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        if not data:
            raise EOFError
        self._rest += data

    def close(self) -> None:
        self._socket.close()
