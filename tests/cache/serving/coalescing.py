"""Callers that ask together."""

from __future__ import annotations

import asyncio
from typing import Any

from app.core.call import Call, Handler
from app.core.errors import UpstreamOverloaded
from app.core.reply import ReplyWriter
from cache.serving.coalesced import CoalescedRequest
from cache.serving.lookup import CacheLookup
from cache.serving.resolution import Resolution
from tests.cache.serving.serving import Worker, lookup_of
from tests.harness.chain import (
    Answering,
    RecordingWriter,
    call_of,
    turns,
)


class Asking:
    """A request on its way through: its look-up, what it got, and its task."""

    def __init__(
        self, lookup: CacheLookup, reply: RecordingWriter, task: asyncio.Task[Any]
    ) -> None:
        self.lookup = lookup
        self.reply = reply
        self.task = task

    @property
    def status(self) -> str | None:
        return self.lookup.call.outcome.cache


async def ask(
    worker: Worker,
    inner: Handler,
    lookup: CacheLookup | None = None,
    resolution: Resolution | None = None,
    reply: RecordingWriter | None = None,
) -> Asking:
    """Begin a request; it goes as far as it can."""
    lookup, reply = lookup or lookup_of(), reply or RecordingWriter()
    if resolution is None:
        resolution = await worker.services.resolver.share(lookup)
    request = CoalescedRequest(inner, worker.services, lookup, reply)
    task = asyncio.create_task(request.run(resolution))
    await turns()
    return Asking(lookup, reply, task)


async def together(
    worker: Worker, inner: Handler, count: int, gate: asyncio.Event, **members: Any
) -> list[Asking]:
    """Several who ask the same while the first one's call runs."""
    asked = [await ask(worker, inner, lookup_of(call_of(**members))) for _ in range(count)]
    gate.set()
    await asyncio.gather(*(one.task for one in asked), return_exceptions=True)
    return asked


def streamed() -> CacheLookup:
    return lookup_of(call_of(stream=True))


class Failing(Answering):
    """Fails the first calls, once they are let go."""

    def __init__(self, times: int, gate: asyncio.Event, error: Exception | None = None) -> None:
        super().__init__(gate=gate)
        self.left = times
        self.error = error or UpstreamOverloaded("no", headers=[(b"retry-after", b"7")])

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        if self.left:
            self.left -= 1
            self.calls.append(call)
            await self._wait()
            await turns()  # as long as an upstream takes at least
            raise self.error
        await super().__call__(call, reply)
