"""The innermost handler: asks the target that a call's alias leads to."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from app.core.call import Call
from app.core.errors import UpstreamError, UpstreamInvalid
from app.core.family import Family, Shaper
from app.core.reply import Answer, Chunk, Origin, ReplyWriter
from app.core.request import ModelRequest
from app.core.usage import Counts, Usage, usage_in
from app.providers.base import Answers, UpstreamCall
from app.providers.forwarding import forwarded_headers
from app.providers.routing import Endpoint, Route, Router
from app.providers.unknown_usage import reason_of, unknown_usage

UNKNOWN_USAGE = "headgate_unknown_usage_total"


class Upstream:
    """Answers a call from its target. Raises GatewayError while nothing was sent; after that a
    failure ends the stream. ``counts`` is told of calls of which nobody knows what they used."""

    def __init__(self, router: Router, counts: Counts) -> None:
        self._router = router
        self._counts = counts

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        route, endpoint = self._router.resolve(call)
        outcome, family, request = call.outcome, call.family, call.request
        outcome.provider, outcome.model = route.provider, route.model
        if endpoint.native:
            request = request.native()
        headers = forwarded_headers(call, route.forward_headers)
        asked = UpstreamCall(family.name, request, route.model, headers)
        failure: BaseException | None = None
        try:
            if request.stream:
                shaper = family.shaper(request, route.model, int(time()))
                relay = StreamRelay(call, asked, route, reply, shaper)
                failure = await self._stream(endpoint.answers, asked, relay)
            else:
                body = await endpoint.answers.answer(asked)
                answer = _mended(family, body, asked, request)
                outcome.usage = answer.usage
                _note(call, asked, route)
                await reply.answer(_origin(route, answer.model), answer)
        except BaseException as error:
            failure = error
            raise
        finally:
            if outcome.usage is None:
                outcome.usage = self._known_and_unknown(call, asked, route, endpoint, failure)
            _note(call, asked, route)

    async def _stream(
        self, answers: Answers, asked: UpstreamCall, relay: StreamRelay
    ) -> UpstreamError | None:
        """The failure that ended a stream which had begun; None where it was whole."""
        try:
            await answers.stream(asked, relay)
            await relay.end()
        except UpstreamError as error:
            await relay.fail(error)
            return error
        finally:
            relay.note_usage()
        return None

    def _known_and_unknown(
        self,
        call: Call,
        asked: UpstreamCall,
        route: Route,
        endpoint: Endpoint,
        failure: BaseException | None,
    ) -> Usage | None:
        """What a call without an answer used: what the upstream said, and by rule what it did not."""
        known, count = asked.tally.usage, asked.tally.unknown
        if count <= 0:
            return known
        self._counts.add(
            UNKNOWN_USAGE, {"operation": call.family.name, "reason": reason_of(failure)}, count
        )
        fan_out = endpoint.fan_out(call.request)
        unknown = unknown_usage(route.unknown_usage, call, fan_out, count)
        return unknown.plus(known) if unknown and known else unknown or known


class StreamRelay:
    """Takes the upstream's decoded chunks, mends them, and writes them on.

    Nothing is written before the first event: until then a failure still has a status. Where it comes
    together with the first events, they are written if they say something, because whether they came
    in one packet with it is chance.
    """

    def __init__(
        self, call: Call, asked: UpstreamCall, route: Route, reply: ReplyWriter, shaper: Shaper
    ) -> None:
        self._call = call
        self._asked = asked
        self._route = route
        self._reply = reply
        self._shaper = shaper
        self._begun = False
        self._over = False

    def note_usage(self) -> None:
        """What was used so far, as far as it is known."""
        self._call.outcome.usage = self._shaper.usage

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
        if ready and (self._begun or broken is None or any(map(says_something, ready))):
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
        self._call.outcome.error_code = error.code
        await self._reply.fail(error)

    async def _finish(self, chunks: list[Chunk], *, said_done: bool) -> None:
        end = self._shaper.end(said_done=said_done)
        self._over = True
        await self._begin()
        self._call.outcome.usage = end.usage
        _note(self._call, self._asked, self._route)
        await self._reply.finish(end, chunks)

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._call.outcome.attempts = self._asked.tally.attempts
            await self._reply.begin(_origin(self._route, self._shaper.model))


def says_something(chunk: Chunk) -> bool:
    """Whether a chunk has a text, a tool call, or the end of a choice, and not only a role."""
    for choice in chunk.document["choices"]:
        said = choice.get("delta") or choice
        if choice.get("finish_reason") or any(
            value for name, value in said.items() if name not in ("role", "index", "logprobs")
        ):
            return True
    return False


def _mended(family: Family, body: bytes, asked: UpstreamCall, request: ModelRequest) -> Answer:
    """The answer as the contract has it. Raises UpstreamInvalid, having noted what was used."""
    try:
        return family.mend(body, request, asked.model, int(time()))
    except UpstreamInvalid:
        if asked.tally.unknown > 0:  # else it is known of every part
            asked.tally.used(usage_in(body))
        raise


def _origin(route: Route, model: str) -> Origin:
    return Origin(route.provider, model, (route.provider, route.model))


def _note(call: Call, asked: UpstreamCall, route: Route) -> None:
    """What the call came to, for the record and for whoever settles it."""
    outcome = call.outcome
    outcome.attempts = asked.tally.attempts
    outcome.upstream_time = asked.tally.waited
    if outcome.usage is not None and route.price is not None:
        outcome.cost = route.price.cost(outcome.usage)
