"""The answer of one target of a config, on its way to the caller: named, and added up with the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from app.core.call import Call
from app.core.errors import HeaderList, UpstreamError
from app.core.exchange import Attempt
from app.core.reply import Answer, Chunk, Origin, ReplyWriter, StreamEnd
from app.core.units import NanoDollars
from app.core.usage import Usage

_STATUS = {
    "hit": b"HIT",
    "stale": b"HIT",
    "coalesced": b"HIT",
    "miss": b"MISS",
    "partial": b"MISS",
}
_CACHE = b"x-headgate-cache"


class Before(NamedTuple):
    """What a request had come to before this target was asked."""

    usage: Usage | None
    cost: NanoDollars | None
    charged: NanoDollars | None
    attempts: int
    upstream_time: float
    trail: list[Attempt] | None


class LegReply:
    """A writer over the caller's. ``leg`` is the call of this target, ``call`` the caller's own.

    ``steering`` knows the extra calls so far; ``path`` is the target's place in the config.
    """

    def __init__(
        self,
        call: Call,
        leg: Call,
        reply: ReplyWriter,
        *,
        path: str,
        steering: Any,
        trace_id: bytes | None,
        refresh: bool,
    ) -> None:
        self._call = call
        self._leg = leg
        self._reply = reply
        self._path = path
        self._steering = steering
        self._trace_id = trace_id
        self._refresh = refresh
        outcome = call.outcome
        self._before = Before(
            outcome.usage,
            outcome.cost,
            outcome.charged,
            outcome.attempts,
            outcome.upstream_time,
            outcome.trail,
        )
        self._named = False

    async def answer(self, origin: Origin, answer: Answer) -> None:
        self.name(origin.provider)
        await self._reply.answer(origin, answer)

    async def begin(self, origin: Origin) -> None:
        self.name(origin.provider)
        await self._reply.begin(origin)

    async def write(self, chunks: Sequence[Chunk]) -> None:
        await self._reply.write(chunks)

    async def finish(self, end: StreamEnd, chunks: Sequence[Chunk] = ()) -> None:
        self.add_up()
        await self._reply.finish(end, chunks)

    async def fail(self, error: UpstreamError) -> None:
        await self._reply.fail(error)

    def name(self, provider: str | None) -> None:
        """Say which target it was, in the reply's headers, and what it all came to so far."""
        self.add_up()
        if self._named:
            return
        self._named = True
        leg = self._leg
        headers: HeaderList = [
            (name, b"bypass") if self._refresh and name == _CACHE else (name, value)
            for name, value in leg.reply_headers
        ]
        headers += [
            (b"x-portkey-last-used-option-index", self._path.encode()),
            (b"x-portkey-retry-attempt-count", self._steering.count),
            (b"x-portkey-cache-status", self._cache_status()),
        ]
        if provider is not None:
            headers.append((b"x-portkey-provider", provider.encode()))
        if self._trace_id is not None:
            headers.append((b"x-portkey-trace-id", self._trace_id))
        self._call.reply_headers += headers

    def add_up(self) -> None:
        """Note in the caller's outcome what all targets came to, this one included."""
        outcome, own, before = self._call.outcome, self._leg.outcome, self._before
        outcome.usage = _usage(before.usage, own.usage)
        outcome.cost = _money(before.cost, own.cost)
        outcome.charged = _money(before.charged, own.charged)
        outcome.attempts = before.attempts + own.attempts
        outcome.upstream_time = before.upstream_time + own.upstream_time
        outcome.alias, outcome.saved = own.alias, own.saved
        outcome.retrieval = own.retrieval
        outcome.cache = "bypass" if self._refresh and own.cache is not None else own.cache
        outcome.cache_layer = own.cache_layer
        if own.trail is not None:
            outcome.trail = [*(before.trail or ()), *own.trail]
        if own.provider is not None:
            outcome.provider, outcome.model = own.provider, own.model

    def _cache_status(self) -> bytes:
        if self._refresh:
            return b"REFRESH"
        return _STATUS.get(self._leg.outcome.cache or "", b"DISABLED")


def _usage(before: Usage | None, own: Usage | None) -> Usage | None:
    return before.plus(own) if before is not None and own is not None else own or before


def _money(before: NanoDollars | None, own: NanoDollars | None) -> NanoDollars | None:
    if before is None or own is None:
        return own if before is None else before
    return NanoDollars(before + own)
