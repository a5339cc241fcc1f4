"""The shapes of ASGI, and answers as ASGI messages. Pure: nothing is sent from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from app.core.errors import GatewayError, HeaderList

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
ASGIApp = Callable[[Any, Receive, Send], Awaitable[None]]

JSON_TYPE = (b"content-type", b"application/json")
STREAM_HEADERS: HeaderList = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx in front of us must not collect the stream
]

MAX_HEADER_TEXT = 256
PIECE_BYTES = 256 << 10  # what is handed to the server at once: it keeps all of it until it is sent


def start_message(status: int, headers: HeaderList) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body_message(body: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def pieces_of(body: bytes, more: bool) -> Iterator[Message]:
    """A body as messages that the server can send one after the other."""
    for begin in range(0, len(body), PIECE_BYTES):
        end = begin + PIECE_BYTES
        yield body_message(body[begin:end], more or end < len(body))


def json_messages(
    status: int, body: bytes, headers: HeaderList | None = None
) -> tuple[Message, Message]:
    """A whole JSON answer: its start and its body."""
    fixed: HeaderList = [JSON_TYPE, (b"content-length", b"%d" % len(body))]
    return start_message(status, fixed + headers if headers else fixed), body_message(body)


def error_messages(error: GatewayError) -> tuple[Message, Message]:
    """An error as a whole answer."""
    return json_messages(error.status, error.body(), error.headers)


async def answer_error(send: Send, error: GatewayError) -> None:
    """Send an error as the whole answer, through the caller's ``send``."""
    start, body = error_messages(error)
    await send(start)
    await send(body)


def header_text(text: str) -> bytes:
    """A text as a header value: what is not printable ASCII becomes a question mark."""
    if text.isascii() and text.isprintable() and len(text) <= MAX_HEADER_TEXT:
        return text.encode()
    return "".join(c if " " <= c <= "~" else "?" for c in text[:MAX_HEADER_TEXT]).encode()
