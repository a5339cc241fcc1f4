"""What the main process and a worker say to each other, as bytes: a length, then JSON. Pure."""

from __future__ import annotations

from typing import Any

import orjson

_LENGTH = 4
MAX_FRAME_BYTES = 4 << 20


def frame(content: dict[str, Any]) -> bytes:
    """One message; raises ValueError where it is longer than a reader would take."""
    body = orjson.dumps(content)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body)} bytes is too long")
    return len(body).to_bytes(_LENGTH, "big") + body


class Frames:
    """Cuts a stream of bytes into messages; what is kept of an unfinished one is bounded."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are whole now; raises ValueError where the stream is no such thing."""
        self._rest += data
        found = []
        while len(self._rest) >= _LENGTH:
            length = int.from_bytes(self._rest[:_LENGTH], "big")
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a message of {length} bytes is too long")
            if len(self._rest) < _LENGTH + length:
                break
            content = orjson.loads(self._rest[_LENGTH : _LENGTH + length])
            del self._rest[: _LENGTH + length]
            if not isinstance(content, dict):
                raise ValueError("a message must be an object")
            found.append(content)
        return found
