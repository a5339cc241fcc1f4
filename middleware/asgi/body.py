"""What is asked? Read within a cap and a time, parsed once; a large body pays before it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from app.concurrency.coarse_timer import CoarseTimer
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.call import Call
from app.core.errors import GatewayError, InvalidRequest, Refused
from app.core.exchange import Exchange, exchange_of, key_of
from app.core.family import Family
from app.core.keys import Key
from app.core.refusal import refuse
from app.core.request import ModelRequest

INLINE_BYTES = 16 << 10  # parsed in less than a trip to the store takes
ASIDE_BYTES = 32 << 10  # parsed for longer than the event loop should stand still


class Late:
    """Cancels a task that waited too long for its body."""

    __slots__ = ("_task", "expired")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self.expired = False

    def __call__(self) -> None:
        self.expired = True
        self._task.cancel()


class Body:
    """Reads at most ``max_bytes`` within ``timeout`` seconds and makes a call of the family of them.

    ``take`` takes a request's token, once, or raises: for a large body before it is read, for any
    other that is refused after that. A good small request takes its token with everything else.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        family: Family,
        take: Callable[[Exchange, Key], Awaitable[None]],
        max_bytes: int,
        timeout: float,
    ) -> None:
        self._app = app
        self._family = family
        self._parse: Callable[[bytes], ModelRequest] = family.parse
        self._take = take
        # One at a time: two would halve what is left for everybody else.
        self._aside = asyncio.Semaphore(1)
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._deadline = CoarseTimer(timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange, key = exchange_of(scope), key_of(scope)
        try:
            length = _content_length(exchange.headers)
            self._check_headers(exchange.headers, length)
            if length is None or length > INLINE_BYTES:
                await self._take(exchange, key)
            body = await self._read(receive, length)
            exchange.body_read = True
            if len(body) <= ASIDE_BYTES:
                request = self._parse(body)
            else:
                async with self._aside:
                    request = await asyncio.to_thread(self._parse, body)
        except GatewayError as error:
            await refuse(exchange, send, await self._paid(exchange, key, error))
            return
        exchange.body = body
        exchange.outcome.alias = request.model
        call = Call.of(exchange, key, self._family, request, scope["headers"])
        scope["state"]["call"] = call
        await self._app(scope, receive, send)

    async def _paid(self, exchange: Exchange, key: Key, error: GatewayError) -> GatewayError:
        """What a refused request is told: that it has no token left, where that is so."""
        try:
            await self._take(exchange, key)
        except GatewayError as refusal:
            return refusal
        return error

    def _check_headers(self, headers: dict[bytes, bytes], length: int | None) -> None:
        if headers.get(b"content-type") != b"application/json":
            _check_type(headers)
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise Refused(
                "The body must not be compressed; leave `content-encoding` out.",
                status=415,
                code="unsupported_media_type",
            )
        if length is not None and length > self._max_bytes:
            raise self._too_large()

    async def _read(self, receive: Receive, length: int | None) -> bytes:
        """The whole body; InvalidRequest where it ends early, Refused where it is too long or late."""
        task = asyncio.current_task()
        assert task is not None
        late = Late(task)
        self._deadline.begin(late)
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    # The caller went away, or its chunks were malformed: nobody, or a 400.
                    raise InvalidRequest("The body was cut off or malformed.")
                part = message.get("body", b"")
                size += len(part)
                if size > self._max_bytes:
                    raise self._too_large()
                # Asking again only to hear that nothing follows would be a trip into the server.
                if not message.get("more_body") or size == length:
                    break
                parts.append(part)
        except asyncio.CancelledError:
            if not late.expired:
                raise
            task.uncancel()
            raise Refused(
                f"The body did not arrive within {self._timeout:g} s.",
                status=408,
                code="request_timeout",
                retryable=True,  # the network may do better next time
            ) from None
        finally:
            self._deadline.end(late)
        return b"".join([*parts, part]) if parts else part

    def _too_large(self) -> GatewayError:
        return Refused(
            f"The body is larger than {self._max_bytes} bytes.",
            status=413,
            code="request_too_large",
        )


def _content_length(headers: dict[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length")
    return int(text) if text is not None and text.isdigit() else None


def _check_type(headers: dict[bytes, bytes]) -> None:
    media, _, parameters = headers.get(b"content-type", b"application/json").partition(b";")
    media = media.strip().lower()
    charset = parameters.strip().lower().replace(b'"', b"").replace(b" ", b"")
    if media != b"application/json" or charset not in (b"", b"charset=utf-8", b"charset=utf8"):
        raise Refused(
            "The body must be JSON in UTF-8; send `content-type: application/json`.",
            status=415,
            code="unsupported_media_type",
        )
