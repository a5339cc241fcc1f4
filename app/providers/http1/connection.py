"""One connection to an upstream: asyncio's callbacks in, one exchange after another out."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from typing import Protocol, cast

import httpx

from app.providers.http1.body import MAX_BUFFERED, ResponseBody
from app.providers.http1.deadlines import Clock, Limits, Phase
from app.providers.http1.errors import FirstByteTimeout, IdleTimeout
from app.providers.http1.request import Outgoing, framed
from app.providers.http1.response import ResponseReader

# Above this a body is written apart from its head, to spare the copy.
_ONE_WRITE = 65536


class Owner(Protocol):
    """The pool, as its connections see it."""

    def release(self, connection: Connection) -> None:
        """The exchange is over and the connection may serve another."""

    def discard(self, connection: Connection) -> None:
        """The connection will serve no other exchange; called once."""

    def forget(self, connection: Connection) -> None:
        """The socket is closed; called once, after `discard`."""


class Connection(asyncio.Protocol):
    """An asyncio protocol that carries at most one exchange at a time.

    `served` counts the exchanges begun before the present one. `died_unanswered` says that the
    peer ended the last exchange before any byte of its answer.
    """

    __slots__ = (
        "_body",
        "_clock",
        "_discarded",
        "_drained",
        "_limits",
        "_loop",
        "_lost",
        "_outgoing",
        "_owner",
        "_reader",
        "_sending",
        "_transport",
        "_unsent",
        "_write_paused",
        "died_unanswered",
        "expires_at",
        "keep_alive_seconds",
        "served",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> None:
        self._loop = loop
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._body: ResponseBody | None = None
        self._reader: ResponseReader | None = None
        self._limits: Limits | None = None
        self._outgoing: Outgoing | None = None
        self._sending = False
        self._write_paused = False
        self._unsent = 0
        self._drained: asyncio.Future[None] | None = None
        self._lost = False
        self._discarded = False
        self._clock = Clock(loop, self._expired)
        self.died_unanswered = False
        self.served = -1
        self.expires_at = math.inf
        self.keep_alive_seconds: float | None = None

    @property
    def usable(self) -> bool:
        """Whether another exchange may be begun."""
        return not self._discarded

    # An exchange.

    def begin(self, outgoing: Outgoing, limits: Limits) -> tuple[ResponseReader, ResponseBody]:
        """Start an exchange: write what is in memory, and read the answer from now on."""
        transport = self._transport
        assert transport is not None
        reader = ResponseReader(outgoing.method, limits.max_header_bytes, limits.max_body_bytes)
        body = ResponseBody(self, self._loop)
        self._reader = reader
        self._body = body
        self._outgoing = outgoing
        self._limits = limits
        self._clock.start(limits.total_at)
        self.died_unanswered = False
        self.served += 1
        if outgoing.stream is None and len(outgoing.body) <= _ONE_WRITE:
            transport.write(outgoing.head + outgoing.body)
        else:
            transport.write(outgoing.head)
            if outgoing.body:
                transport.write(outgoing.body)
        if outgoing.stream is not None:
            self._sending = True
            self._clock.arm(httpx.WriteTimeout, None)
        elif self._write_paused:
            self._sending = True
            self._unsent = transport.get_write_buffer_size()
            self._clock.arm(httpx.WriteTimeout, limits.write)
        else:
            self._clock.arm(FirstByteTimeout, limits.first_byte)
        return reader, body

    async def send_stream(self, body: ResponseBody) -> None:
        """Write the request's stream at the socket's pace, until an answer or an end comes."""
        outgoing = self._outgoing
        if outgoing is None or outgoing.stream is None:
            return
        try:
            async with contextlib.aclosing(
                framed(outgoing.stream, outgoing.stream_length)
            ) as pieces:
                async for piece in pieces:
                    if not await self._send_piece(body, piece):
                        return
        except BaseException:
            body.close()
            raise
        self._sent()

    async def _send_piece(self, body: ResponseBody, piece: bytes) -> bool:
        """Write and wait while the socket is full; False once nobody wants the rest."""
        transport, limits = self._transport, self._limits
        if self._body is not body or body.answered or transport is None or limits is None:
            return False
        transport.write(piece)
        if self._write_paused:
            self._unsent = transport.get_write_buffer_size()
            self._clock.arm(httpx.WriteTimeout, limits.write)
            self._drained = self._loop.create_future()
            await self._drained
            self._clock.rest()
        return self._body is body and not body.answered

    def _sent(self) -> None:
        """The whole request has left: the wait for its answer begins."""
        self._sending = False
        if self._limits is not None and self._body is not None and not self._body.answered:
            self._clock.arm(FirstByteTimeout, self._limits.first_byte)

    # What the reader of the body asks for (`Source`).

    def expect_bytes(self) -> None:
        if self._limits is not None:
            self._clock.arm(IdleTimeout, self._limits.idle)

    def resume_reading(self) -> None:
        if self._transport is not None and not self._discarded:
            self._transport.resume_reading()

    def abort(self) -> None:
        self._end_exchange()
        self._retire()
        if self._transport is not None and not self._lost:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection; TLS says goodbye first."""
        self._retire()
        if self._transport is not None and not self._lost:
            self._transport.close()

    def fail(self, error: Exception) -> None:
        """End the exchange with `error` and close."""
        body = self._body
        self.abort()
        if body is not None:
            body.fail(error)

    # asyncio's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        opened = transport.get_extra_info("socket")
        if opened is not None and opened.family != getattr(socket, "AF_UNIX", None):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        body, reader = self._body, self._reader
        if body is None or reader is None:
            # Nobody asked: whatever follows on this connection could answer the wrong request.
            self.abort()
            return
        try:
            chunk = reader.feed(data)
        except httpx.RemoteProtocolError as error:
            self.fail(error)
            return
        if chunk:
            body.push(chunk)
        if reader.complete:
            self._finish(reader, body)
        elif reader.head_done:
            if body.answered:
                self._clock.rest()
                if body.buffered > MAX_BUFFERED and not body.paused:
                    self._pause(body)
                if chunk:
                    body.wake()
            else:
                self._answer(body)

    def eof_received(self) -> None:
        self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if exc is None:
            self._ended()
        else:
            error: httpx.TransportError
            if self._write_paused:
                error = httpx.WriteError(f"the connection broke while sending: {exc}")
            else:
                error = httpx.ReadError(f"the connection broke: {exc}")
            self._fail_lost(error)
        self._retire()
        self._owner.forget(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_sender()
        if self._sending and self._outgoing is not None and self._outgoing.stream is None:
            self._sent()

    # Ends of an exchange.

    def _answer(self, body: ResponseBody) -> None:
        """The head is in, the body not yet."""
        self._clock.rest()
        body.answered = True
        if body.buffered > MAX_BUFFERED:
            self._pause(body)
        self._wake_sender()
        body.wake()

    def _pause(self, body: ResponseBody) -> None:
        assert self._transport is not None
        body.paused = True
        self._transport.pause_reading()

    def _finish(self, reader: ResponseReader, body: ResponseBody) -> None:
        """The response is whole: pass the connection on, or close it."""
        outgoing = self._outgoing
        reusable = (
            reader.keep_alive
            and not self._sending
            and not self._lost
            and outgoing is not None
            and outgoing.keep_alive
        )
        if body.paused:
            self.resume_reading()
        self._end_exchange()
        body.finish()
        if reusable:
            self.keep_alive_seconds = reader.keep_alive_seconds
            self._owner.release(self)
        elif self._sending:
            self.abort()  # closing would first wait for the peer to take the rest
        else:
            self.close()

    def _ended(self) -> None:
        """The peer sends no more."""
        body, reader = self._body, self._reader
        if body is None or reader is None:
            self._retire()
            return
        try:
            reader.feed_eof()
        except httpx.RemoteProtocolError as error:
            self._fail_lost(error)
        else:
            self._finish(reader, body)

    def _fail_lost(self, error: httpx.TransportError) -> None:
        if self._reader is not None:
            self.died_unanswered = not self._reader.started
        self.fail(error)

    def _end_exchange(self) -> None:
        if self._reader is not None:
            self._reader.discard()
        self._reader = None
        self._body = None
        self._outgoing = None
        self._limits = None
        self._clock.stop()
        self._wake_sender()

    def _wake_sender(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _retire(self) -> None:
        self._clock.cancel()
        if not self._discarded:
            self._discarded = True
            self._owner.discard(self)

    # The clock.

    def _expired(self, phase: Phase) -> None:
        if phase is httpx.WriteTimeout and self._sent_more():
            assert self._limits is not None
            self._clock.arm(phase, self._limits.write)
        else:
            self.fail(phase(f"{phase.__name__}: the peer took too long"))

    def _sent_more(self) -> bool:
        """Whether the peer has taken bytes since the write clock was started."""
        assert self._transport is not None
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        return self._unsent < before
