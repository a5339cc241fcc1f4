"""Targets that answer as they are told, and calls put through them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import time
from typing import Any

from app.core.call import Call
from app.core.errors import GatewayError, UpstreamInvalid
from app.core.reply import Chunk
from app.core.usage import Usage
from app.providers.base import ChunkSink, UpstreamCall
from app.providers.client.failures import refusal
from app.providers.routing.failover import Failover
from app.providers.routing.routes import Route
from app.providers.routing.shared_health import SharedHealth
from cache.store.embedded import EmbeddedStore
from tests.harness.chain import USAGE, RecordingWriter, answer_of, call_of, chunk_of, in_loop
from tests.harness.routing import PRICE, Counted, failover_of, route_of

Says = Exception | str
COST = PRICE.cost(USAGE)


def status(code: int, body: bytes = b"", **headers: bytes) -> GatewayError:
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return refusal(code, named, body, ())


class Server:
    """Answers each call in turn as it is told, the last way from then on."""

    def __init__(self, *says: Says, used: Usage | None = None, after: float = 0.0) -> None:
        self.says = list(says) or ["yes"]
        self.asked: list[UpstreamCall] = []
        self._used = used
        self._after = after

    async def answer(self, call: UpstreamCall) -> bytes:
        said = await self._next(call)
        if isinstance(said, Exception):
            raise said
        return answer_of(said).body

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        said = await self._next(call)
        if isinstance(said, Exception):
            raise said
        await sink.write([chunk_of("", role="assistant")])
        if said == "cut early":
            raise UpstreamInvalid("cut")
        await sink.write([chunk_of(said)])
        if said == "cut late":
            raise UpstreamInvalid("cut")
        await sink.write([chunk_of("", reason="stop")])
        await sink.write([Chunk.of({"choices": [], "usage": USAGE.document()})], done=True)

    async def _next(self, call: UpstreamCall) -> Says:
        self.asked.append(call)
        call.tally.attempts += 1
        call.tally.unknown += 1
        if self._after:
            await asyncio.sleep(self._after)
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            call.tally.unknown -= 1
            if self._used is not None:
                call.tally.unknown += 1
                call.tally.used(self._used)
        return said


class Asked:
    """What became of one call."""

    def __init__(self, call: Call, reply: RecordingWriter, error: GatewayError | None) -> None:
        self.call, self.reply, self.error = call, reply, error
        self.trail = [str(one) for one in call.outcome.trail or ()]


def ask(
    *routes: Route, failover: Failover | None = None, call: Call | None = None, **body: Any
) -> Asked:
    """Put one call through some targets."""

    async def run() -> Asked:
        return await asking(failover or failover_of(), *routes, call=call, **body)

    found: Asked = in_loop(run, 20)
    return found


async def asking(
    failover: Failover, *routes: Route, call: Call | None = None, **body: Any
) -> Asked:
    call = call or call_of(**body)
    call.targets = routes
    reply, error = RecordingWriter(), None
    try:
        await failover(call, reply)
    except GatewayError as raised:
        error = raised
    return Asked(call, reply, error)


def both(first: Server, second: Server, **changes: Any) -> tuple[Route, Route]:
    return route_of(first, "a/m", **changes), route_of(second, "b/m", **changes)


def counts(*servers: Server) -> list[int]:
    return [len(server.asked) for server in servers]


def in_rounds(body: Callable[[Failover, SharedHealth], Any], **more: Any) -> Any:
    async def run() -> Any:
        store = EmbeddedStore()
        health = SharedHealth(store, time, Counted())
        return await body(failover_of(store=store, health=health, **more), health)

    return in_loop(run, 20)
