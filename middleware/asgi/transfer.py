"""How do the bytes of a request and its answer travel? The outermost layer: it sees every answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter
from typing import Any

from app.connections.pending import Delivery, PendingAnswers
from app.core.asgi import (
    PIECE_BYTES,
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    json_messages,
    pieces_of,
)
from app.core.errors import Unavailable
from app.core.exchange import CLIENT_CLOSED_REQUEST, Exchange
from app.core.limits import retry_headers
from app.core.refusal import SOON

READ_BYTES = 2 << 20
READ_SECONDS, SILENT_SECONDS = 2.0, 0.5
CLOSE = (b"connection", b"close")
_OF_THE_BODY = frozenset({b"content-length", b"content-type"})


class Transfer:
    """Reads what refusals left unread, and hands large answers on piece by piece.

    A connection on which a part of a body is still to come cannot carry another request, and closing
    it destroys an answer on its way. So the rest is read, within a bound, before the answer is sent;
    where there is more, or nothing comes, the answer says ``connection: close``.

    ``running`` holds the scope of each running request by its caller's address and port, for those
    who must tell a busy connection from an idle one. ``send_timeout`` is seconds for which a caller
    may take nothing of a large answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        running: dict[Any, Scope],
        pending: PendingAnswers,
        send_timeout: float,
    ) -> None:
        self._app = app
        self._running = running
        self._pending = pending
        self._send_timeout = send_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        running, client = self._running, scope["client"]
        running[client] = scope
        answer = _Answer(scope, receive, send, self._pending, self._send_timeout)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            # The port may belong to another connection by now.
            if running.get(client) is scope:
                del running[client]


class _Answer:
    """One answer on its way out. Its start is held back until it is known what follows."""

    __slots__ = (
        "_delivery",
        "_gone",
        "_pending",
        "_receive",
        "_scope",
        "_send",
        "_send_timeout",
        "_stall",
        "_start",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        pending: PendingAnswers,
        send_timeout: float,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._pending = pending
        self._send_timeout = send_timeout
        self._start: Message | None = None
        self._delivery: Delivery | None = None
        self._stall: asyncio.Timeout | None = None
        self._gone = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start = self._start
        if start is not None:
            self._start = None
            await self._begin(start, message)
        if self._gone:
            return
        if len(message.get("body", b"")) > PIECE_BYTES:
            await self._send_in_pieces(message)
        else:
            await self._send(message)

    async def _begin(self, start: Message, first: Message) -> None:
        exchange: Exchange = self._scope["state"]["exchange"]
        begin_answer(exchange, start)
        if not exchange.body_read:
            # A body that was too slow has been waited for long enough.
            late = start["status"] == 408
            if late or not await self._read_rest(exchange.headers):
                start["headers"] = [*start["headers"], CLOSE]
        size = len(first.get("body", b""))
        if size > PIECE_BYTES:
            self._delivery = Delivery(size, self._give_up)
            if not self._pending.begin(self._delivery):
                await self._refuse(exchange, start)
                return
        await self._send(start)

    async def _read_rest(self, headers: dict[bytes, bytes]) -> bool:
        """Whether the whole body is read now, so that the connection can go on."""
        length = headers.get(b"content-length", b"0")
        if length == b"0" and b"transfer-encoding" not in headers:
            return True
        if b"expect" in headers:
            return False  # the body is sent only after an invitation, which is the answer now
        if length.isdigit() and int(length) > READ_BYTES:
            return False
        return await self._read_within(READ_BYTES)

    async def _read_within(self, most: int) -> bool:
        """Whether the body ended within so many bytes; not waited for where nothing comes."""
        loop = asyncio.get_running_loop()
        end = loop.time() + READ_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(SILENT_SECONDS) as silence:
                while most >= 0:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        return False
                    if not message.get("more_body"):
                        return True
                    most -= len(message.get("body", b""))
                    silence.reschedule(min(end, loop.time() + SILENT_SECONDS))
        return False

    async def _send_in_pieces(self, message: Message) -> None:
        """Wait for each piece to be taken, so that no more than it is held besides the answer."""
        more = bool(message.get("more_body"))
        loop = asyncio.get_running_loop()
        delivery = self._delivery
        try:
            async with asyncio.timeout(self._send_timeout) as self._stall:
                for piece in pieces_of(message["body"], more):
                    await self._send(piece)
                    self._stall.reschedule(loop.time() + self._send_timeout)
                    if delivery is not None:
                        self._pending.took(delivery, len(piece["body"]))
        except TimeoutError:
            # Without an end of the answer the server cuts the connection when the request is over.
            self._gone = True
            outcome = self._scope["state"]["exchange"].outcome
            outcome.status, outcome.error_code = CLIENT_CLOSED_REQUEST, "client_closed_request"
        finally:
            self._stall = None
            if delivery is not None:
                self._delivery = None
                self._pending.end(delivery)

    def _give_up(self) -> None:
        if self._stall is not None:
            self._stall.reschedule(0)

    async def _refuse(self, exchange: Exchange, start: Message) -> None:
        """Answer that there is no room for so large an answer now."""
        error = Unavailable(
            "Too many bytes of answers wait for their callers to read them; try again shortly.",
            code="overloaded",
            headers=retry_headers(SOON),
        )
        exchange.outcome.status, exchange.outcome.error_code = error.status, error.code
        own, body = json_messages(error.status, error.body(), error.headers)
        kept = [pair for pair in start["headers"] if pair[0] not in _OF_THE_BODY]
        await self._send({**own, "headers": own["headers"] + kept})
        await self._send(body)
        self._gone = True


def begin_answer(exchange: Exchange, start: Message) -> None:
    """Put the reply headers on the start of the answer, and note when it began, and how."""
    outcome = exchange.outcome
    start["headers"] = [*start["headers"], *exchange.reply_headers, *exchange.closing]
    outcome.status = start["status"]
    outcome.first_byte = perf_counter() - exchange.started
