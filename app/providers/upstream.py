"""The innermost handler: asks the target that a call's alias leads to."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any, cast

from app.core.call import Call
from app.core.completion_stream import StreamShaper
from app.core.completions import CompletionRequest
from app.core.errors import UpstreamError, UpstreamInvalid
from app.core.exchange import Outcome
from app.core.reply import Answer, Chunk, Origin, ReplyWriter
from app.providers.base import UpstreamCall
from app.providers.forwarding import forwarded_headers
from app.providers.routing import Route, Router, completions_of


class Upstream:
    """Answers a call from its target. Raises GatewayError while nothing was sent; after that a
    failure ends the stream."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        route = self._router.resolve(call.request.model, call.key.models)
        outcome = call.outcome
        outcome.provider, outcome.model = outcome.target = route.provider, route.model
        provider, request = completions_of(route, cast("CompletionRequest", call.request))
        headers = forwarded_headers(call) if route.forward_headers else []
        asked = UpstreamCall(request, route.model, headers)
        try:
            if request.stream:
                relay = StreamRelay(asked, route, outcome, reply)
                try:
                    await provider.stream(asked, relay)
                    await relay.end()
                except UpstreamError as error:
                    await relay.fail(error)
                finally:
                    outcome.usage = relay.usage
            else:
                answer = await provider.complete(asked)
                _note_plain(outcome, asked, route, answer)
                await reply.answer(_origin(route, answer.model), answer)
        finally:
            _note(outcome, asked, route)


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
    def usage(self) -> Any:
        """What was used so far, as far as it is known."""
        return self._shaper.usage

    async def write(self, chunks: Sequence[Any], *, done: bool = False) -> None:
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
            await self._finish(ready)
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
        await self._finish([])

    async def fail(self, error: UpstreamError) -> None:
        """The upstream's stream broke; raised where nothing was sent yet."""
        if not self._begun:
            raise error
        self._outcome.error_code = error.code
        await self._reply.fail(error)

    async def _finish(self, chunks: list[Chunk]) -> None:
        end = self._shaper.end()
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


def _note_plain(outcome: Outcome, asked: UpstreamCall, route: Route, answer: Answer) -> None:
    outcome.usage = answer.usage
    _note(outcome, asked, route)


def _note(outcome: Outcome, asked: UpstreamCall, route: Route) -> None:
    """What the call came to, for the record and for whoever settles it."""
    outcome.attempts = asked.attempts
    outcome.upstream_time = asked.waited
    if outcome.usage is None:
        outcome.usage = asked.usage
    if outcome.usage is not None and route.price is not None:
        outcome.cost = route.price.cost(outcome.usage)
