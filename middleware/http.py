"""How is it answered over HTTP? The one door between ASGI and the typed chain behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from app.concurrency.coarse_timer import CoarseTimer
from app.concurrency.disconnect import WATCH_AFTER_SECONDS, ClientDisconnect, DisconnectGuard
from app.core.asgi import (
    PIECE_BYTES,
    STREAM_HEADERS,
    Receive,
    Scope,
    Send,
    body_message,
    error_messages,
    header_text,
    json_messages,
    start_message,
)
from app.core.call import Call, Handler, admitted_call
from app.core.errors import GatewayError, UpstreamError
from app.core.exchange import CLIENT_CLOSED_REQUEST, Attempt
from app.core.family import ReplyEncoding
from app.core.pricing import dollars_text
from app.core.reply import Answer, Chunk, Origin, StreamEnd
from app.openai import sse


class Http:
    """An ASGI application over a handler: encodes its answer, answers what it raises.

    The call is cancelled when its caller leaves, and when the caller of a stream reads nothing for
    ``send_timeout`` seconds.
    """

    def __init__(self, handler: Handler, *, send_timeout: float) -> None:
        self._handler = handler
        self._delay = CoarseTimer(WATCH_AFTER_SECONDS)
        self._stall = CoarseTimer(send_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = admitted_call(scope)
        guard = DisconnectGuard(receive, self._delay, call.caller)
        reply = HttpReply(call, send, guard, self._stall)
        try:
            with guard:
                try:
                    await self._handler(call, reply)
                except GatewayError as error:
                    await reply.refuse(error)
        except ClientDisconnect:
            outcome = call.outcome
            outcome.status, outcome.error_code = CLIENT_CLOSED_REQUEST, "client_closed_request"


class HttpReply:
    """The reply writer at the caller's end: the shape, the headers and the usage that it asked for."""

    __slots__ = (
        "_begun",
        "_call",
        "_continuous",
        "_encoding",
        "_first",
        "_guard",
        "_send",
        "_stall",
        "_usage",
    )

    def __init__(self, call: Call, send: Send, guard: DisconnectGuard, stall: CoarseTimer) -> None:
        self._call = call
        self._send = send
        self._guard = guard
        self._stall = stall
        request = call.request
        self._usage = request.include_usage
        self._continuous = request.continuous_usage
        self._begun = False
        self._encoding: ReplyEncoding | None = None  # of a stream in another form
        self._first: Chunk | None = None  # its envelope is the whole stream's

    async def answer(self, origin: Origin, answer: Answer) -> None:
        call, outcome = self._call, self._call.outcome
        self._name(origin)
        if outcome.cost is not None:
            cost = dollars_text(outcome.cost).encode()
            call.reply_headers.append((b"x-headgate-cost-usd", cost))
        in_form, body = call.family.in_form, answer.body
        if in_form is not None:
            body = in_form(body, call.request)
        if outcome.text is not None:
            outcome.text.append(body.decode(errors="replace"))
        start, content = json_messages(200, body)
        await self._send(start)
        self._guard.answered()
        await self._send(content)

    async def begin(self, origin: Origin) -> None:
        self._begun = self._call.outcome.streamed = True
        self._name(origin)
        encoding = self._call.family.encoding
        if encoding is not None:
            self._encoding = encoding(self._call.request, self._call.request_id)
        await self._send_in_time(start_message(200, list(STREAM_HEADERS)))

    async def write(self, chunks: Sequence[Chunk]) -> None:
        if not chunks:
            return
        data = self._events(chunks)
        if len(data) > PIECE_BYTES or self._call.outcome.text is not None:
            await self._send_body(data, more=True)
            return
        # The way of nearly every chunk: as the other, in one coroutine instead of three.
        give_up = self._guard.give_up
        self._stall.begin(give_up)
        try:
            await self._send(body_message(data, True))
        finally:
            self._stall.end(give_up)

    async def finish(self, end: StreamEnd, chunks: Sequence[Chunk] = ()) -> None:
        data = self._events(chunks)
        if self._encoding is not None:
            await self._send_body(data + self._encoding.end(end), more=False)
            return
        if self._usage:
            data += self._usage_event(end)
        await self._send_body(data + sse.DONE_EVENT, more=False)

    async def fail(self, error: UpstreamError) -> None:
        self._call.outcome.error_code = error.code
        await self._send_error(error)

    async def refuse(self, error: GatewayError) -> None:
        """Answer what the chain raised; after the beginning of a stream it is the stream's end."""
        call, outcome = self._call, self._call.outcome
        outcome.error_code = error.code
        if self._begun:
            await self._send_error(error)
            return
        if outcome.trail is not None:
            attempts = (b"x-headgate-attempts", b"%d" % outcome.attempts)
            call.reply_headers += [attempts, _route(outcome.trail)]
        start, body = error_messages(error)
        await self._send(start)
        self._guard.answered()
        await self._send(body)

    def _name(self, origin: Origin) -> None:
        """Say who answered, in the reply's headers and in the record."""
        call, outcome = self._call, self._call.outcome
        outcome.provider, outcome.model = origin.provider, origin.model
        call.reply_headers += [
            (b"x-provider", origin.provider.encode()),
            (b"x-model", header_text(origin.model)),
            (b"x-headgate-attempts", b"%d" % outcome.attempts),
        ]
        if outcome.trail is not None and origin.target is not None:
            answered = Attempt(origin.provider, "200", 0.0)
            call.reply_headers.append(_route([*outcome.trail, answered]))

    def _events(self, chunks: Sequence[Chunk]) -> bytes:
        if self._encoding is not None:
            return self._encoding.events(chunks)
        if chunks and self._first is None:
            self._first = chunks[0]
        if not self._usage:
            if len(chunks) == 1:
                return b"data: %b\n\n" % chunks[0].payload
            return b"".join([b"data: %b\n\n" % chunk.payload for chunk in chunks])
        if self._continuous:
            return b"".join(map(_event_with_usage, chunks))
        # Every chunk of a stream that ends with usage has the member, as OpenAI's have.
        return b"".join([b'data: %b,"usage":null}\n\n' % c.payload[:-1] for c in chunks])

    def _usage_event(self, end: StreamEnd) -> bytes:
        assert self._first is not None
        return sse.event(orjson.dumps(self._call.family.usage_event(self._first.document, end)))

    async def _send_error(self, error: GatewayError) -> None:
        """The end of a stream that broke."""
        encoding = self._encoding
        data = sse.event(error.body()) if encoding is None else encoding.error(error)
        await self._send_body(data, more=False)

    async def _send_body(self, data: bytes, *, more: bool) -> None:
        text = self._call.outcome.text
        if text is not None:
            text.append(data.decode(errors="replace"))
        if not more:
            self._guard.answered()
        await self._send_in_time(body_message(data, more))

    async def _send_in_time(self, message: Any) -> None:
        give_up = self._guard.give_up
        if len(message.get("body", b"")) > PIECE_BYTES:
            # It goes out in pieces, each of which has this long; the outcome tells if one had not.
            await self._send(message)
            # After the last event nothing waits, and what follows should not be cancelled for it.
            if message["more_body"] and self._call.outcome.status == CLIENT_CLOSED_REQUEST:
                give_up()
            return
        self._stall.begin(give_up)
        try:
            await self._send(message)
        finally:
            self._stall.end(give_up)


def _route(trail: Sequence[Attempt]) -> tuple[bytes, bytes]:
    """Which providers were asked, and how each answered."""
    said = (f"{one.target.partition('/')[0]}={one.result}" for one in trail)
    return b"x-headgate-route", header_text(",".join(said))


def _event_with_usage(chunk: Chunk) -> bytes:
    """A chunk with the usage that it came with; one from the cache has none."""
    if "usage" in chunk.document:
        return sse.event(chunk.payload)
    return sse.event(b'%b,"usage":null}' % chunk.payload[:-1])
