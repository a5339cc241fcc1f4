"""A request head as bytes, or a refusal to write it (RFC 9112). Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
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
    target = request.url.raw_path
    parts = [_method(request.method), target, b" HTTP/1.1"]
    framing: dict[bytes, bytes] = {}
    # httpx keeps headers as (raw, lower-case, value); its public views copy and decode each one.
    fields = request.headers._list
    for raw, lower, value in fields:
        if lower in _FRAMING:
            _note_framing(framing, lower, value)
        parts.append(_prefix(raw))
        parts.append(value)
    lines = len(fields) + 2
    if b"host" not in framing:
        parts[3:3] = (b"\r\nHost: ", request.url.netloc)
        lines += 1
    length = _check_length(framing, body)
    if length is None and b"transfer-encoding" not in framing:
        if body is None:
            parts.append(b"\r\nTransfer-Encoding: chunked")
            lines += 1
        elif body or request.method in _NEEDS_LENGTH:
            parts.append(b"\r\nContent-Length: %d" % len(body))
            lines += 1
    parts.append(b"\r\n\r\n")
    head = b"".join(parts)
    # One look at the whole head is exact and cheaper than one at each value.
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise httpx.LocalProtocolError("CR, LF or NUL inside the request head")
    if b" " in target:
        raise httpx.LocalProtocolError("a space inside the request target")
    keep_alive = b"connection" not in framing or b"close" not in framing[b"connection"].lower()
    if body is None:
        return Outgoing(request.method, head, b"", stream, length, keep_alive)
    return Outgoing(request.method, head, body, None, None, keep_alive)


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
