"""One HTTP/1.1 response, bytes in and head and body out (RFC 9112). Pure: no I/O, no clock.

`llhttp` (through httptools) reads heads and chunked bodies; it is strict about CR, LF, NUL, folded
lines, space before a colon, repeated or odd lengths, and chunk sizes. Added here is what it lets
through: other versions and protocols, statuses under 100, transfer codings other than chunked,
codings in HTTP/1.0 or beside a status without a body, bytes after the end, unbounded sizes.
"""

from __future__ import annotations

import httptools
import httpx

from app.providers.http1.errors import ResponseTooLarge

_HEAD, _NONE, _LENGTH, _CHUNKED, _CLOSE = range(5)
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive"})
_END_OF_HEAD = b"\r\n\r\n"
_VERSION_PREFIX = b"HTTP/1."
# Interim answers (1xx) before the final one; nothing in use sends more than two.
_MAX_INTERIM = 8

Header = tuple[bytes, bytes, bytes]


class ResponseReader:
    """Reads one response to a request with `method`. Every fault is a `RemoteProtocolError`.

    `headers` holds (name, lower-case name, value). `head_done` turns true with the final head,
    `complete` with the last byte of the body. `keep_alive` says whether another request may
    follow on the connection, `keep_alive_seconds` for how long if the peer said so.
    """

    __slots__ = (
        "_coding",
        "_connection",
        "_framing",
        "_head_bytes",
        "_interim",
        "_left",
        "_length",
        "_max_body_bytes",
        "_max_header_bytes",
        "_method",
        "_parser",
        "_parts",
        "_received",
        "_silent_bytes",
        "_tail",
        "complete",
        "head_done",
        "headers",
        "http_version",
        "keep_alive",
        "keep_alive_seconds",
        "on_body",
        "started",
        "status",
    )

    def __init__(self, method: str, max_header_bytes: int, max_body_bytes: int) -> None:
        self._method = method
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes
        self._parser: httptools.HttpResponseParser | None = None
        self._framing = _HEAD
        self._interim = 0
        self._head_bytes = 0
        self._tail = b""
        self._left = 0
        self._received = 0
        self._silent_bytes = 0
        self._parts: list[bytes] = []
        self._length: int | None = None
        self._coding: bytes | None = None
        self._connection = b""
        # The parser calls list.append itself: no Python frame for each piece of body.
        self.on_body = self._parts.append
        self.status = 0
        self.http_version = b""
        self.headers: list[Header] = []
        self.started = False
        self.head_done = False
        self.complete = False
        self.keep_alive = False
        self.keep_alive_seconds: float | None = None

    @property
    def close_delimited(self) -> bool:
        """Whether only the end of the connection says where the body ends."""
        return self._framing == _CLOSE

    def feed(self, data: bytes) -> bytes:
        """Take what came from the socket; return the body bytes in it, joined, maybe none."""
        self.started = True
        if not self.head_done:
            data = self._feed_head(data)
            if not data:
                return b""
        if self.complete:
            raise httpx.RemoteProtocolError("bytes after the end of the response")
        framing = self._framing
        if framing == _LENGTH:
            left = self._left = self._left - len(data)
            if left <= 0:
                if left < 0:
                    raise httpx.RemoteProtocolError("the body is longer than its Content-Length")
                self.complete = True
            return data
        body = self._feed_chunked(data) if framing == _CHUNKED else data
        self._received += len(body)
        if self._received > self._max_body_bytes:
            raise ResponseTooLarge(f"the body is over {self._max_body_bytes} bytes")
        return body

    def feed_eof(self) -> None:
        """Take the end of the connection: the end of the body, or a cut response."""
        if self._framing == _CLOSE:
            self.complete = True
        elif not self.started:
            raise httpx.RemoteProtocolError("the peer closed the connection without answering")
        elif not self.complete:
            part = "body" if self.head_done else "head"
            raise httpx.RemoteProtocolError(f"the peer closed inside the response {part}")

    def discard(self) -> None:
        """Let go of the parser, which refers back here, so that no cycle waits for the collector."""
        self._parser = None

    # Called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_done:  # trailers: read, bounded by `_silent_bytes`, and dropped
            return
        lower = name.lower()
        value = value.rstrip(b" \t")
        self.headers.append((name, lower, value))
        if lower in _FRAMING:
            self._note_framing(lower, value)

    def on_message_begin(self) -> None:
        if self.complete:
            raise httpx.RemoteProtocolError("a second response follows the first")

    def on_message_complete(self) -> None:
        if self._framing == _CHUNKED:
            self.complete = True

    # The head.

    def _feed_head(self, data: bytes) -> bytes:
        """Take bytes of the head, return those after it."""
        while not self.head_done:
            if self._parser is None:
                data = self._tail + data
                if len(data) <= len(_VERSION_PREFIX):
                    self._check_version(data)
                    self._tail = data
                    return b""
                self._start_head(data)
            end = self._find_end(data)
            piece = data if end < 0 else data[:end]
            self._head_bytes += len(piece)
            if self._head_bytes > self._max_header_bytes:
                raise httpx.RemoteProtocolError("the response head is too long")
            self._parse(piece)
            if end < 0:
                self._tail = (self._tail + data[-3:])[-3:]
                return b""
            data = data[end:]
            self._end_head()
        return data

    def _start_head(self, data: bytes) -> None:
        self._check_version(data)
        self.http_version = data[:8]
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._tail = b""

    def _check_version(self, data: bytes) -> None:
        prefix = data[: len(_VERSION_PREFIX)]
        if not _VERSION_PREFIX.startswith(prefix):
            raise httpx.RemoteProtocolError("the answer is not HTTP/1.x")

    def _find_end(self, data: bytes) -> int:
        """Where in `data` the head ends, or -1; its mark may have begun in earlier packets."""
        tail = self._tail
        if tail:
            found = (tail + data[:3]).find(_END_OF_HEAD)
            if found >= 0:
                return found + 4 - len(tail)
        found = data.find(_END_OF_HEAD)
        return found + 4 if found >= 0 else -1

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        assert parser is not None
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise httpx.RemoteProtocolError("the peer switched protocols unasked") from None
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, httpx.RemoteProtocolError):
                raise error.__context__ from None  # raised by a callback below
            raise httpx.RemoteProtocolError(f"malformed response: {error}") from None

    def _note_framing(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            if not value.isdigit() or self._length is not None:
                raise httpx.RemoteProtocolError("bad or repeated Content-Length")
            self._length = int(value)
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked" or self._coding is not None:
                raise httpx.RemoteProtocolError("a transfer coding other than chunked")
            self._coding = value
        elif name == b"connection":
            self._connection += b"," + value.lower()
        else:
            self.keep_alive_seconds = _keep_alive_seconds(value)

    def _end_head(self) -> None:
        parser = self._parser
        assert parser is not None
        self.status = status = parser.get_status_code()
        if status < 200:
            self._end_interim()
            return
        self._framing = framing = self._choose_framing()
        self._tail = b""
        self.head_done = True
        if framing != _CHUNKED:
            self._parser = None

    def _end_interim(self) -> None:
        self._interim += 1
        if self.status <= 101 and self.status != 100:
            raise httpx.RemoteProtocolError(f"a response with the status {self.status}")
        if self._interim > _MAX_INTERIM:
            raise httpx.RemoteProtocolError("too many interim responses")
        if self._length is not None or self._coding is not None:
            raise httpx.RemoteProtocolError("an interim response with a body")
        self.headers = []
        self._connection = b""
        self._tail = b""
        self._parser = None

    def _choose_framing(self) -> int:
        """How the body ends (RFC 9112, 6.3); also settles `keep_alive` and `complete`."""
        length, coding = self._length, self._coding
        old = self.http_version == b"HTTP/1.0"
        if coding is not None and (length is not None or old):
            raise httpx.RemoteProtocolError("Transfer-Encoding beside a length, or in HTTP/1.0")
        self.keep_alive = self._may_keep_alive(old)
        if self._method == "HEAD" or self.status in (204, 304):
            if self.status == 204 and (length or coding):
                self.keep_alive = False  # a peer that may go on to send that body
            self.complete = True
            return _NONE
        if coding is not None:
            return _CHUNKED
        if length is None:
            self.keep_alive = False
            return _CLOSE
        if length > self._max_body_bytes:
            raise ResponseTooLarge(f"a body of {length} bytes, over {self._max_body_bytes}")
        self._left = length
        self.complete = length == 0
        return _LENGTH

    def _may_keep_alive(self, old: bool) -> bool:
        if not self._connection:
            return not old
        tokens = [token.strip() for token in self._connection.split(b",")]
        return b"close" not in tokens and (not old or b"keep-alive" in tokens)

    # The body.

    def _feed_chunked(self, data: bytes) -> bytes:
        self._parse(data)
        # The last six bytes, over packets: the parser passes over CR and LF after the end.
        self._tail = data[-6:] if len(data) > 5 else (self._tail + data)[-6:]
        if self.complete:
            self._parser = None
            if self._tail == b"\r\n\r\n\r\n" or not self._tail.endswith(_END_OF_HEAD):
                raise httpx.RemoteProtocolError("bytes after the end of the response")
        parts = self._parts
        if not parts:
            self._silent_bytes += len(data)
            if self._silent_bytes > self._max_header_bytes:
                raise httpx.RemoteProtocolError("chunk extensions or trailers are too long")
            return b""
        self._silent_bytes = 0
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        return body


def _keep_alive_seconds(value: bytes) -> float | None:
    """The `timeout` of a Keep-Alive header, in seconds."""
    for parameter in value.lower().split(b","):
        name, _, seconds = parameter.strip().partition(b"=")
        if name == b"timeout" and seconds.isdigit():
            return float(seconds)
    return None
