"""A request head as bytes, or a refusal to write it (RFC 9112). Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import httpx

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NEEDS_LENGTH = frozenset({"POST", "PUT", "PATCH"})
_FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})


class Outgoing(NamedTuple):
    """A request ready to be written: `body` in memory, or `stream` still to be read."""

    method: str
    head: bytes
    body: bytes
    stream: AsyncIterable[bytes] | None
    # Bytes that `stream` has to give; None means that it goes out chunked.
    stream_length: int | None
    keep_alive: bool


def encode_request(request: httpx.Request) -> Outgoing:
    """The wire form of `request`; `Host`, and a length or chunked coding, are added if absent.

    Raises `httpx.LocalProtocolError` for a head that would not be read as written: CR, LF or NUL
    anywhere, names that are no tokens, a length that disagrees with the body.
    """
    stream = request.stream
    if isinstance(stream, httpx.ByteStream):
        body: bytes | None = b"".join(stream)
    elif isinstance(stream, httpx.AsyncByteStream):
        body = None
    else:
        raise httpx.LocalProtocolError("the request body must be bytes or an asynchronous stream")
    parts, framing = _fields(request)
    length = _check_length(framing, body)
    if length is None and b"transfer-encoding" not in framing:
        if body is None:
            parts.append(b"\r\nTransfer-Encoding: chunked")
        elif body or request.method in _NEEDS_LENGTH:
            parts.append(b"\r\nContent-Length: %d" % len(body))
    parts.append(b"\r\n\r\n")
    head = b"".join(parts)
    keep_alive = b"connection" not in framing or b"close" not in framing[b"connection"].lower()
    if body is None:
        return Outgoing(request.method, head, b"", stream, length, keep_alive)
    return Outgoing(request.method, head, body, None, None, keep_alive)


def _fields(request: httpx.Request) -> tuple[list[bytes], dict[bytes, bytes]]:
    """The head up to its last given header, in parts, and the headers that frame the request."""
    url = request.url
    parts = [_method(request.method), url.raw_path, b" HTTP/1.1"]
    framing: dict[bytes, bytes] = {}
    # httpx keeps headers as (raw, lower-case, value); its public views copy and decode each one.
    fields = request.headers._list
    for raw, lower, value in fields:
        if lower in _FRAMING:
            _note_framing(framing, lower, value)
        parts += (_prefix(raw), value)
    if b"host" not in framing:
        parts[3:3] = (b"\r\nHost: ", url.netloc)
    # One look at the whole is exact and cheaper than one at each value.
    text = b"".join(parts)
    lines = len(fields) + (b"host" not in framing)
    if text.count(b"\n") != lines or text.count(b"\r") != lines or b"\0" in text:
        raise httpx.LocalProtocolError("CR, LF or NUL inside the request head")
    if b" " in url.raw_path:
        raise httpx.LocalProtocolError("a space inside the request target")
    return [text], framing


class RequestHead:
    """The beginning that the heads of like requests have in common, made and checked once.

    `origin` is what the transport's pools are named by.
    """

    __slots__ = ("_method", "_start", "origin")

    def __init__(self, method: str, url: httpx.URL, headers: httpx.Headers) -> None:
        """Raises `httpx.LocalProtocolError` for what would not be read as written."""
        empty = httpx.ByteStream(b"")
        [self._start], framing = _fields(httpx.Request(method, url, headers=headers, stream=empty))
        if framing.keys() - {b"host"}:
            raise httpx.LocalProtocolError("a length is written for each request")
        self._method = method
        self.origin = (url.raw_scheme, url.raw_host, url.port)

    def with_body(self, fields: Sequence[tuple[bytes, bytes]], body: bytes) -> Outgoing:
        """A request with these headers besides; raises `httpx.LocalProtocolError` as above."""
        more = b""
        if fields:
            more = b"".join([part for name, value in fields for part in (_prefix(name), value)])
            lines = len(fields)
            if more.count(b"\n") != lines or more.count(b"\r") != lines or b"\0" in more:
                raise httpx.LocalProtocolError("CR, LF or NUL inside the request head")
        head = b"%b%b\r\ncontent-length: %d\r\n\r\n" % (self._start, more, len(body))
        return Outgoing(self._method, head, body, None, None, True)


async def framed(stream: AsyncIterable[bytes], length: int | None) -> AsyncGenerator[bytes, None]:
    """`stream` as it goes out: as it is if its `length` was announced, in chunks if not.

    Raises `httpx.LocalProtocolError` if it is not as long as announced.
    """
    left = length
    async for piece in stream:
        if not piece:
            continue
        if left is None:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
            continue
        left -= len(piece)
        if left < 0:
            raise httpx.LocalProtocolError("the body is longer than its Content-Length")
        yield piece
    if left:
        raise httpx.LocalProtocolError("the body is shorter than its Content-Length")
    if left is None:
        yield b"0\r\n\r\n"


def _note_framing(framing: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    if name in framing and name != b"connection":
        raise httpx.LocalProtocolError(f"the request header {name.decode()} is given twice")
    framing[name] = value


def _check_length(framing: dict[bytes, bytes], body: bytes | None) -> int | None:
    """The stated Content-Length, which must be the truth about `body` where that is known."""
    coding = framing.get(b"transfer-encoding")
    stated = framing.get(b"content-length")
    if coding is not None and (
        body is not None or stated is not None or coding.strip().lower() != b"chunked"
    ):
        raise httpx.LocalProtocolError("the request has a Transfer-Encoding that is not its own")
    if stated is None:
        return None
    if not stated.isdigit():
        raise httpx.LocalProtocolError("the request Content-Length is not a number")
    if body is not None and int(stated) != len(body):
        raise httpx.LocalProtocolError("the request Content-Length is not that of its body")
    return int(stated)


@lru_cache(maxsize=64)
def _method(method: str) -> bytes:
    encoded = method.encode("ascii", "replace")
    if not _TOKEN.fullmatch(encoded) or method == "CONNECT":
        raise httpx.LocalProtocolError(f"the request method {method!r} cannot be sent")
    return encoded + b" "


@lru_cache(maxsize=1024)
def _prefix(name: bytes) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise httpx.LocalProtocolError(f"the request header name {name!r} is not a token")
    return b"\r\n" + name + b": "
