"""A body that a route reads by itself, because no chain of layers does it for it."""

from __future__ import annotations

import asyncio

from app.core.asgi import Receive
from app.core.errors import InvalidRequest, Refused
from app.core.exchange import Exchange


async def read_body(exchange: Exchange, receive: Receive, most: int, seconds: float) -> bytes:
    """The whole body, of at most so many bytes. Raises Refused and InvalidRequest."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise InvalidRequest("The body was cut off.")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise Refused(
                        f"The body is larger than {most} bytes.",
                        status=413,
                        code="request_too_large",
                    )
                if not message.get("more_body"):
                    break
    except TimeoutError:
        raise Refused(
            f"The body did not arrive within {seconds:g} s.",
            status=408,
            code="request_timeout",
            retryable=True,
        ) from None
    exchange.body_read = True
    return b"".join(parts)
