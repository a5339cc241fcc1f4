"""AWS's binary event stream: bytes in, messages out. Pure.

A message is: its length and its headers' length (4 bytes each, big endian), a CRC-32 of those eight
bytes, the headers, the payload, a CRC-32 of all before it. A header is: the length of its name (one
byte), the name, a type (one byte; 7 is a string, with a length of two bytes), the value.
Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

_PRELUDE = struct.Struct(">III")
_OVERHEAD = 16  # prelude and last checksum
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # of header values, by type
_LONG = (6, 7)  # bytes and strings, with their length before them


class BadFrame(ValueError):
    """These bytes are no message; ``before`` are those that the same packet completed."""

    def __init__(self, message: str, before: list[Frame]) -> None:
        super().__init__(message)
        self.before = before


class Frame(NamedTuple):
    """One event: its headers that are strings, and its payload."""

    headers: dict[str, str]
    payload: bytes


class EventStreamParser:
    """Keeps at most one unfinished message, of ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._rest = bytearray()

    def feed(self, packet: bytes) -> list[Frame]:
        """The messages that this packet completes. Raises BadFrame."""
        rest = self._rest
        rest += packet
        messages: list[Frame] = []
        start = 0
        while len(rest) - start >= _PRELUDE.size:
            total, headers, checksum = _PRELUDE.unpack_from(rest, start)
            if crc32(rest[start : start + 8]) != checksum:
                raise BadFrame("a message's prelude is broken", messages)
            if not _OVERHEAD + headers <= total <= self._max:
                raise BadFrame(f"a message has {total} bytes", messages)
            if len(rest) - start < total:
                break
            raw = bytes(rest[start : start + total])
            start += total
            if crc32(raw[:-4]) != int.from_bytes(raw[-4:], "big"):
                raise BadFrame("a message's checksum is wrong", messages)
            try:
                read = _headers(raw[12 : 12 + headers])
            except (IndexError, KeyError, UnicodeDecodeError):
                raise BadFrame("a message's headers cannot be read", messages) from None
            messages.append(Frame(read, raw[12 + headers : -4]))
        del rest[:start]
        return messages

    @property
    def empty(self) -> bool:
        """Whether no message is left unfinished."""
        return not self._rest


def _headers(data: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    at = 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]].decode()
        at += 1 + data[at]
        kind = data[at]
        at += 1
        if kind in _LONG:
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2
            if kind == 7:
                headers[name] = data[at : at + size].decode()
        else:
            size = _SIZES[kind]
        at += size
    return headers
