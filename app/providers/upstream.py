"""One call of one target: what it is sent, how its answer goes on, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time

from app.core.call import Call
from app.core.errors import UpstreamError, UpstreamInvalid
from app.core.family import Family, Shaper
from app.core.reply import Answer, Chunk, Origin, ReplyWriter
from app.core.request import ModelRequest
from app.core.units import NanoDollars
from app.core.usage import Counts, Usage, usage_in
from app.providers.base import Answers, Tally, UpstreamCall
from app.providers.client.forwarding import forwarded_headers
from app.providers.routing.routes import Route
from app.providers.unknown_usage import reason_of, unknown_usage

UNKNOWN_USAGE = "headgate_unknown_usage_total"
MOST_HELD = 64 << 10  # bytes of chunks without content that wait for the first with some


class Upstream:
    """Asks a target. ``counts`` is told of calls of which nobody knows what they used."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    async def ask(
        self,
        call: Call,
        route: Route,
        reply: ReplyWriter,
        tally: Tally,
        timeouts: Mapping[str, float] | None = None,
    ) -> UpstreamError | None:
        """The failure that ended a stream which had begun; None where the answer was whole.

        Raises GatewayError while nothing was sent to the caller.
        """
        outcome, family, request = call.outcome, call.family, call.request
        outcome.provider, outcome.model = route.provider, route.model
        endpoint = route.endpoints[family.name]
        if endpoint.native:
            request = request.native()
        names = route.forward_headers
        if call.steering is not None:
            names |= call.steering.forward
        headers = forwarded_headers(call, names)
        asked = UpstreamCall(family.name, request, route.model, headers, tally, timeouts)
        if request.stream:
            shaper = family.shaper(request, route.model, int(time()))
            relay = StreamRelay(call, asked, route, reply, shaper)
            return await self._stream(endpoint.answers, asked, relay)
        # Under no name: while a caller takes its time, only the mended answer is kept.
        answer = _mended(family, await endpoint.answers.answer(asked), asked, request)
        outcome.usage = _with_spent(answer.usage, tally)
        _note(call, tally, route, answer.usage)
        await reply.answer(_origin(route, answer.model), answer)
        return None

    def count_unknown(self, call: Call, tally: Tally, failure: BaseException | None) -> None:
        """Tell the metric of calls of which nobody knows what they used."""
        if tally.unknown > 0:
            labels = {"operation": call.family.name, "reason": reason_of(failure)}
            self._counts.add(UNKNOWN_USAGE, labels, tally.unknown)

    def account(
        self, call: Call, route: Route, tally: Tally, failure: BaseException | None
    ) -> None:
        """Note what a call came to that is over, whoever answered it or failed last."""
        outcome = call.outcome
        if outcome.usage is not None:
            outcome.attempts, outcome.upstream_time = tally.attempts, tally.waited
            return
        used = self._known_and_unknown(call, route, tally, failure)
        if used is not None:
            outcome.usage = _with_spent(used, tally)
        elif tally.spent is not None:
            outcome.usage = tally.spent
        _note(call, tally, route, used)

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
        self, call: Call, route: Route, tally: Tally, failure: BaseException | None
    ) -> Usage | None:
        """What a call without an answer used: what the upstream said, and by rule what it did not."""
        known, count = tally.usage, tally.unknown
        if count <= 0:
            return known
        self.count_unknown(call, tally, failure)
        fan_out = route.endpoints[call.family.name].fan_out(call.request)
        unknown = unknown_usage(route.unknown_usage, call, fan_out, count)
        return unknown.plus(known) if unknown and known else unknown or known


class StreamRelay:
    """Takes the upstream's decoded chunks, mends them, and writes them on.

    Nothing is written before the first content: until then a failure still has a status, and
    another target can be asked. Chunks that only name a role or tell usage wait for it.
    """

    def __init__(
        self, call: Call, asked: UpstreamCall, route: Route, reply: ReplyWriter, shaper: Shaper
    ) -> None:
        self._call = call
        self._asked = asked
        self._route = route
        self._reply = reply
        self._shaper = shaper
        self._held: list[Chunk] = []
        self._held_bytes = 0
        self._begun = False
        self._over = False

    def note_usage(self) -> None:
        """What was used so far, as far as it is known; nothing of a stream that did not begin."""
        usage = self._shaper.usage
        if self._begun:
            self._call.outcome.usage = (
                _with_spent(usage, self._asked.tally) if usage is not None else None
            )
            _note(self._call, self._asked.tally, self._route, usage)
        elif usage is not None and not usage.estimated and self._asked.tally.unknown > 0:
            self._asked.tally.used(usage)

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
        if ready and (self._begun or self._holds(ready)):
            ready = await self._begin(ready)
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

    def _holds(self, ready: list[Chunk]) -> bool:
        """Whether there is content now, or too much without any; else the chunks wait."""
        if any(map(says_something, ready)):
            return True
        self._held += ready
        self._held_bytes += sum(map(len, ready))
        ready.clear()
        return self._held_bytes > MOST_HELD

    async def _finish(self, chunks: list[Chunk], *, said_done: bool) -> None:
        end = self._shaper.end(said_done=said_done)
        self._over = True
        chunks = await self._begin(chunks)
        self._call.outcome.usage = _with_spent(end.usage, self._asked.tally)
        _note(self._call, self._asked.tally, self._route, end.usage)
        await self._reply.finish(end, chunks)

    async def _begin(self, chunks: list[Chunk]) -> list[Chunk]:
        """Begin the reply, once; what is to be written, with what waited."""
        if self._begun:
            return chunks
        self._begun = True
        self._call.outcome.attempts = self._asked.tally.attempts
        await self._reply.begin(_origin(self._route, self._shaper.model))
        held, self._held = self._held, []
        return held + chunks


def says_something(chunk: Chunk) -> bool:
    """Whether a chunk has a text, a tool call, or the end of a choice, and not only a role."""
    for choice in chunk.document.get("choices") or ():
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


def _with_spent(usage: Usage, tally: Tally) -> Usage:
    """What was used, with what targets used that failed before."""
    return usage if tally.spent is None else usage.plus(tally.spent)


def _note(call: Call, tally: Tally, route: Route, used: Usage | None) -> None:
    """What the call came to, for the record and for whoever settles it: ``used`` at this target."""
    outcome = call.outcome
    outcome.attempts = tally.attempts
    outcome.upstream_time = tally.waited
    if used is not None and route.price is not None:
        outcome.cost = NanoDollars(route.price.cost(used) + tally.spent_cost)
    elif tally.spent_cost:
        outcome.cost = tally.spent_cost
