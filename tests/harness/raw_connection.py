"""A bare socket to the gateway, for what no HTTP client would send or tell."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

from tests.harness.credentials import KEY
from tests.harness.waiting import PATIENCE


class RawAnswer:
    """An answer read from a bare socket; None of it is there where the peer only closed."""

    def __init__(self, head: bytes, body: bytes) -> None:
        line, *fields = head.split(b"\r\n")
        self.status = int(line.split(b" ")[1])
        self.headers = {
            name.decode().lower(): value.strip().decode()
            for name, _, value in (field.partition(b":") for field in fields)
        }
        self.body = body

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


class RawConnection:
    """A bare socket to the gateway."""

    def __init__(self, port: int, check_leaks: Callable[[bytes], None]) -> None:
        self._check_leaks = check_leaks
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_all_it_takes(self, data: bytes) -> None:
        """Send; a peer that has had enough may close before it is all out."""
        try:
            self._socket.sendall(data)
        except OSError:
            return

    def answer(self, *, head_only: bool = False) -> RawAnswer | None:
        """The next answer, or None where the connection ends instead."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        answer = RawAnswer(head, b"")
        if head_only:
            return answer
        if "content-length" in answer.headers:
            answer.body = self._take(int(answer.headers["content-length"]))
        elif answer.headers.get("transfer-encoding") == "chunked":
            while size := int(self._line(), 16):
                answer.body += self._take(size)
                self._line()
            self._line()
        self._check_leaks(head + answer.body)
        return answer

    def answer_within(self, seconds: float) -> RawAnswer | None:
        """The next answer; TimeoutError where it takes longer."""
        self._socket.settimeout(seconds)
        try:
            return self.answer()
        finally:
            self._socket.settimeout(PATIENCE)

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with ``mark``, framing included."""
        while mark not in self._buffer:
            assert self._more(), f"the connection ended before {mark!r}"
        before, _, self._buffer = self._buffer.partition(mark)
        return before + mark

    def read_to_end(self) -> bytes:
        while self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    def read_to_end_within(self, seconds: float) -> bytes:
        """What comes until the end, or until nothing has come for so long."""
        self._socket.settimeout(seconds)
        try:
            return self.read_to_end()
        except TimeoutError:
            return self._buffer
        finally:
            self._socket.settimeout(PATIENCE)

    @property
    def ended(self) -> bool:
        """Whether the gateway closes without saying more; waits for one of the two."""
        return not self._buffer and not self._more()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            assert self._more(), "the connection ended inside a body"
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            assert self._more(), "the connection ended inside a body"
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line


def raw_request(
    body: bytes = b"",
    *,
    method: str = "POST",
    path: str = "/v1/completions",
    headers: Sequence[str] = (),
    length: bool = True,
) -> bytes:
    """A request with a good key as bytes; ``headers`` are whole lines."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {KEY}",
        "content-type: application/json",
        *headers,
    ]
    if length:
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
