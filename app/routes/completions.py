"""POST /v1/completions: the main job, plain and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from time import time

from app.core import sse
from app.core.asgi import (
    STREAM_HEADERS,
    Receive,
    Scope,
    Send,
    body_message,
    header_text,
    json_messages,
    start_message,
)
from app.core.completion_stream import StreamShaper
from app.core.errors import UpstreamError, UpstreamInvalid
from app.core.exchange import CLIENT_CLOSED_REQUEST, Exchange, exchange_of
from app.core.pricing import dollars_text
from app.core.unknown_usage import reason_of, unknown_usage
from app.core.usage import Usage
from app.departure import PATIENCE_SECONDS, CallerGone, Departure, patiently
from app.patience import Patience
from app.providers.base import Batch, Call, Completions
from app.providers.forwarding import forwarded_headers
from app.providers.routing import Route, Router, completions_of
from cache.counters import Counters

UNKNOWN_USAGE = "headgate_unknown_usage_total"


def completions_app(
    router: Router, send_timeout: float, counters: Counters
) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The endpoint behind the chain; it raises GatewayError as long as nothing was sent.

    ``send_timeout``: seconds for which a caller of a stream may read nothing; ``counters`` count
    the calls of which nobody knows what they used.
    """

    patience = Patience(PATIENCE_SECONDS)
    stall = Patience(send_timeout)
    endings = Endings()

    async def completions(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        request, key = exchange.request, exchange.key
        assert request is not None
        assert key is not None
        route = router.resolve(request.model, key.models)
        outcome = exchange.outcome
        outcome.provider, outcome.model = outcome.target = route.provider, route.model
        provider = completions_of(route, request)
        headers = forwarded_headers(scope["headers"], exchange, route.forward_headers)
        call = Call(request, route.model, headers)
        departure = Departure(receive, patience)
        failure: BaseException | None = None
        try:
            if request.stream:
                read = patiently(send, departure, stall, outcome)
                await _stream(departure, read, exchange, route, provider, call, endings)
            else:
                await _plain(departure, send, exchange, route, provider, call)
        except CallerGone:
            outcome.status, outcome.error_code = CLIENT_CLOSED_REQUEST, "client_closed_request"
        except BaseException as error:
            failure = error
            raise
        finally:
            outcome.attempts = call.attempts
            outcome.upstream_time = call.waited
            if outcome.usage is None:
                outcome.usage = _known_and_unknown(
                    route, call, failure or outcome.failure, counters
                )
            if outcome.cost is None and outcome.usage is not None and route.price is not None:
                outcome.cost = route.price.cost(outcome.usage)

    return completions


def _known_and_unknown(
    route: Route, call: Call, failure: BaseException | None, counters: Counters
) -> Usage | None:
    """What a call without an answer used: what the upstream said, and by rule what it did not."""
    if call.unknown <= 0:
        return call.usage
    counters.add(UNKNOWN_USAGE, {"reason": reason_of(failure)}, call.unknown)
    request = call.request
    unknown = unknown_usage(
        route.unknown_usage,
        request,
        unknown=call.unknown,
        calls=route.calls_of(request),
        times=route.times(request),
    )
    if unknown is None or call.usage is None:
        return unknown or call.usage
    return call.usage.plus(unknown)


async def _plain(
    departure: Departure,
    send: Send,
    exchange: Exchange,
    route: Route,
    provider: Completions,
    call: Call,
) -> None:
    with departure:
        answer = await provider.complete(call)
    exchange.outcome.usage = answer.usage
    if exchange.outcome.text is not None:
        exchange.outcome.text.append(answer.body.decode(errors="replace"))
    _name_target(exchange, route, call, answer.model)
    if route.price is not None:
        exchange.outcome.cost = cost = route.price.cost(answer.usage)
        exchange.reply_headers.append((b"x-headgate-cost-usd", dollars_text(cost).encode()))
    start, body = json_messages(200, answer.body)
    await send(start)
    await send(body)


async def _stream(
    departure: Departure,
    send: Send,
    exchange: Exchange,
    route: Route,
    provider: Completions,
    call: Call,
    endings: Endings,
) -> None:
    shaper = StreamShaper(call.request, call.model, int(time()))
    batches = provider.stream(call)
    sent = False
    try:
        with departure:
            # Nothing is sent before the first event: until then a failure still has a status.
            first = await _next_event(batches, shaper)
            _name_target(exchange, route, call, shaper.model)
            await send(start_message(200, list(STREAM_HEADERS)))
            try:
                await _relay(send, exchange, first, batches, shaper)
            except UpstreamError as error:
                exchange.outcome.error_code, exchange.outcome.failure = error.code, error
                await send(body_message(sse.event(error.body())))
        sent = True
    finally:
        exchange.outcome.usage = shaper.usage
        if sent:
            endings.begin(batches)
        else:
            await _close(batches)


class Endings:
    """Streams whose caller has everything and whose upstream has still to end its body.

    Aside, so that what the request held (slots, money) is given back at once.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, batches: AsyncIterator[Batch]) -> None:
        task = asyncio.get_running_loop().create_task(_read_out(batches))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _First:
    """What the first events came to: bytes to send, and whether the upstream is done."""

    __slots__ = ("data", "done")

    def __init__(self, data: bytes, done: bool) -> None:
        self.data = data
        self.done = done


async def _next_event(batches: AsyncIterator[Batch], shaper: StreamShaper) -> _First:
    """Read until there is something to send.

    Raises UpstreamError, also where the stream ends without having said anything.
    """
    async for batch in batches:
        data, broken = _shaped(batch, shaper)
        if broken is not None:
            raise broken
        if batch.done:
            return _First(data + shaper.end(said_done=True), True)
        if data:
            return _First(data, False)
    raise UpstreamInvalid("The upstream ended its stream before it began.")


async def _relay(
    send: Send,
    exchange: Exchange,
    first: _First,
    batches: AsyncIterator[Batch],
    shaper: StreamShaper,
) -> None:
    """Send what comes, as it comes, and the end where it was a whole answer."""
    text = exchange.outcome.text
    if text is not None:
        text.append(first.data.decode())
    await send(body_message(first.data, not first.done))
    if first.done:
        return
    async for batch in batches:
        data, broken = _shaped(batch, shaper)
        if text is not None:
            text.append(data.decode())
        if broken is not None:
            if data:
                await send(body_message(data, True))
            raise broken
        if batch.done:
            await send(body_message(data + shaper.end(said_done=True)))
            return
        if data:
            await send(body_message(data, True))
    await send(body_message(shaper.end()))


def _shaped(batch: Batch, shaper: StreamShaper) -> tuple[bytes, UpstreamError | None]:
    """The events of a batch; where one is broken, those before it and the error."""
    parts: list[bytes] = []
    for chunk in batch.chunks:
        try:
            parts.append(shaper.shape(chunk))
        except UpstreamError as error:
            return b"".join(parts), error
    return b"".join(parts), batch.broken


async def _read_out(batches: AsyncIterator[Batch]) -> None:
    """Let the provider see the end of its answer, so that its connection can be used again."""
    with suppress(UpstreamError):
        async for _ in batches:
            pass
    await _close(batches)


async def _close(batches: AsyncIterator[Batch]) -> None:
    """Give the upstream's connection back now, not when the collector comes by."""
    if isinstance(batches, AsyncGenerator):
        await batches.aclose()


def _name_target(exchange: Exchange, route: Route, call: Call, model: str) -> None:
    """Say who answered, in the reply's headers and in the record."""
    exchange.outcome.model = model
    exchange.reply_headers += [
        (b"x-provider", route.provider.encode()),
        (b"x-model", header_text(model)),
        (b"x-headgate-attempts", b"%d" % call.attempts),
    ]
