"""What is asked? Read within a cap and a time, parsed once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.core.asgi import ASGIApp, Receive, Scope, Send, answer_error
from app.core.completions import CompletionRequest
from app.core.errors import GatewayError, InvalidRequest, Refused
from app.core.exchange import exchange_of


class Body:
    """Reads at most ``max_bytes`` within ``timeout`` seconds and hands them to ``parse``."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        parse: Callable[[bytes], CompletionRequest],
        max_bytes: int,
        timeout: float,
    ) -> None:
        self._app = app
        self._parse = parse
        self._max_bytes = max_bytes
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        try:
            self._check_headers(exchange.headers)
            body = await self._read_in_time(receive, _content_length(exchange.headers))
            request = self._parse(body)
        except GatewayError as error:
            exchange.outcome.error_code = error.code
            await answer_error(send, error)
            return
        exchange.body = body
        exchange.request = request
        exchange.outcome.alias = request.model
        await self._app(scope, receive, send)

    def _check_headers(self, headers: dict[bytes, bytes]) -> None:
        media, _, parameters = headers.get(b"content-type", b"application/json").partition(b";")
        media = media.strip().lower()
        charset = parameters.strip().lower().replace(b'"', b"").replace(b" ", b"")
        if media != b"application/json" or charset not in (b"", b"charset=utf-8", b"charset=utf8"):
            raise Refused(
                "The body must be JSON in UTF-8; send `content-type: application/json`.",
                status=415,
                code="unsupported_media_type",
            )
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise Refused(
                "The body must not be compressed; leave `content-encoding` out.",
                status=415,
                code="unsupported_media_type",
            )
        if (_content_length(headers) or 0) > self._max_bytes:
            raise self._too_large()

    async def _read_in_time(self, receive: Receive, length: int | None) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            task.cancel()

        # A bare timer: asyncio.timeout costs three times as much and this is on every request.
        timer = asyncio.get_running_loop().call_later(self._timeout, expire)
        try:
            return await self._read(receive, length)
        except asyncio.CancelledError:
            if not expired:
                raise
            task.uncancel()
            raise Refused(
                f"The body did not arrive within {self._timeout:g} s.",
                status=408,
                code="request_timeout",
            ) from None
        finally:
            timer.cancel()

    async def _read(self, receive: Receive, length: int | None) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                # The caller went away, or its chunks were malformed: nobody or a 400.
                raise InvalidRequest("The body was cut off or malformed.", code="invalid_request")
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                raise self._too_large()
            parts.append(part)
            # Asking once more only to hear that nothing follows would cost a trip into the server.
            if not message.get("more_body") or size == length:
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> GatewayError:
        return Refused(
            f"The body is larger than {self._max_bytes} bytes.",
            status=413,
            code="request_too_large",
        )


def _content_length(headers: dict[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length")
    return int(text) if text is not None and text.isdigit() else None
