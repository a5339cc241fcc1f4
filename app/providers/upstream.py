"""The innermost handler: asks the target that a call's alias leads to."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import cast

from app.core.call import Call
from app.core.errors import UpstreamError, UpstreamInvalid
from app.core.exchange import Outcome
from app.core.reply import Chunk, Origin, ReplyWriter
from app.core.usage import Counts, Usage
from app.openai.completions.request import CompletionRequest
from app.openai.completions.stream import StreamShaper
from app.openai.completions.unknown_usage import reason_of, unknown_usage
from app.providers.base import Completions, UpstreamCall
from app.providers.forwarding import forwarded_headers
from app.providers.routing import Route, Router, completions_of

UNKNOWN_USAGE = "headgate_unknown_usage_total"


class Upstream:
    """Answers a call from its target. Raises GatewayError while nothing was sent; after that a
    failure ends the stream. ``counts`` is told of calls of which nobody knows what they used."""

    def __init__(self, router: Router, counts: Counts) -> None:
        self._router = router
        self._counts = counts

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        route = self._router.resolve(call.request.model, call.key.models)
        outcome = call.outcome
        outcome.provider, outcome.model = route.provider, route.model
        provider, request = completions_of(route, cast("CompletionRequest", call.request))
        headers = forwarded_headers(call, route.forward_headers)
        asked = UpstreamCall(request, route.model, headers)
        failure: BaseException | None = None
        try:
            if request.stream:
                failure = await self._stream(provider, asked, route, outcome, reply)
            else:
                answer = await provider.complete(asked)
                outcome.usage = answer.usage
                _note(outcome, asked, route)
                await reply.answer(_origin(route, answer.model), answer)
        except BaseException as error:
            failure = error
            raise
        finally:
            if outcome.usage is None:
                outcome.usage = self._known_and_unknown(route, asked, failure)
            _note(outcome, asked, route)

    async def _stream(
        self,
        provider: Completions,
        asked: UpstreamCall,
        route: Route,
        outcome: Outcome,
        reply: ReplyWriter,
    ) -> UpstreamError | None:
        """The failure that ended a stream which had begun; None where it was whole."""
        relay = StreamRelay(asked, route, outcome, reply)
        try:
            await provider.stream(asked, relay)
            await relay.end()
        except UpstreamError as error:
            await relay.fail(error)
            return error
        finally:
            outcome.usage = relay.usage
        return None

    def _known_and_unknown(
        self, route: Route, asked: UpstreamCall, failure: BaseException | None
    ) -> Usage | None:
        """What a call without an answer used: what the upstream said, and by rule what it did not."""
        if asked.unknown <= 0:
            return asked.usage
        self._counts.add(UNKNOWN_USAGE, {"reason": reason_of(failure)}, asked.unknown)
        request = asked.request
        unknown = unknown_usage(
            route.unknown_usage,
            request,
            unknown=asked.unknown,
            calls=route.calls_of(request),
            times=route.times(request),
        )
        if unknown is None or asked.usage is None:
            return unknown or asked.usage
        return asked.usage.plus(unknown)


class StreamRelay:
    """Takes the upstream's decoded chunks, mends them, and writes them on.

    Nothing is written before the first event: until then a failure still has a status.
    """

    def __init__(
        self, asked: UpstreamCall, route: Route, outcome: Outcome, reply: ReplyWriter
    ) -> None:
        self._asked = asked
        self._route = route
        self._outcome = outcome
        self._reply = reply
        self._shaper = StreamShaper(asked.request, asked.model, int(time()))
        self._begun = False
        self._over = False

    @property
    def usage(self) -> Usage | None:
        """What was used so far, as far as it is known."""
        return self._shaper.usage

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        """Chunks that arrived together; ``done`` says that the upstream's own end mark followed.

        Raises UpstreamError where one of them cannot be mended, after those before it were sent.
        """
        shaper = self._shaper
        ready: list[Chunk] = []
        broken: UpstreamError | None = None
        for chunk in chunks:
            try:
                shaped = shaper.shape(chunk)
            except UpstreamError as error:
                broken = error
                break
            if shaped is not None:
                ready.append(shaped)
        if broken is None and done:
            await self._finish(ready, said_done=True)
            return
        if ready and (self._begun or broken is None):
            await self._begin()
            await self._reply.write(ready)
        if broken is not None:
            raise broken

    async def end(self) -> None:
        """The upstream ended its stream, with its end mark or without one."""
        if self._over:
            return
        if not self._begun:
            raise UpstreamInvalid("The upstream ended its stream before it began.")
        await self._finish([], said_done=False)

    async def fail(self, error: UpstreamError) -> None:
        """The upstream's stream broke; raised where nothing was sent yet."""
        if not self._begun:
            raise error
        self._outcome.error_code = error.code
        await self._reply.fail(error)

    async def _finish(self, chunks: list[Chunk], *, said_done: bool) -> None:
        end = self._shaper.end(said_done=said_done)
        self._over = True
        await self._begin()
        self._outcome.usage = end.usage
        _note(self._outcome, self._asked, self._route)
        await self._reply.finish(end, chunks)

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._outcome.attempts = self._asked.attempts
            await self._reply.begin(_origin(self._route, self._shaper.model))


def _origin(route: Route, model: str) -> Origin:
    return Origin(route.provider, model, (route.provider, route.model))


def _note(outcome: Outcome, asked: UpstreamCall, route: Route) -> None:
    """What the call came to, for the record and for whoever settles it."""
    outcome.attempts = asked.attempts
    outcome.upstream_time = asked.waited
    if outcome.usage is not None and route.price is not None:
        outcome.cost = route.price.cost(outcome.usage)
