"""What the main process knows of its workers, from what they say of themselves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec

from app.observability.metrics.snapshot import Snapshot
from app.supervision.frames import Frames, frame
from app.supervision.worker import Beat

MISSED_BEATS = 3  # so many missing make a worker one that does not answer


class Hearing(asyncio.Protocol):
    """One worker as the main process hears it; lives in the control thread's loop.

    ``silent`` is the time since its last beat, ``beats`` how many came.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.beat: Beat | None = None
        self.silent = 0.0
        self.beats = 0
        self.gone = False
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._asked: dict[str, asyncio.Future[Any]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._frames.feed(data)
        except ValueError:  # not what a worker of ours says; its silence will end it
            self.close()
            return
        for message in messages:
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        if "beat" in message:
            self.beat = msgspec.convert(message["beat"], Beat)
            self.silent = 0.0
            self.beats += 1
        for what in message.keys() & self._asked.keys():
            self._asked.pop(what).set_result(message[what])

    def connection_lost(self, _: Exception | None) -> None:
        self.gone = True
        for asked in self._asked.values():
            asked.set_result(None)
        self._asked.clear()

    def ask(self, what: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame({"ask": what}))

    async def metrics(self, timeout: float) -> Snapshot | None:
        """What the worker measured, or None where it does not answer in time."""
        snapshot: Snapshot | None = await self._answer("metrics", timeout)
        return snapshot

    async def shared_metrics(self, timeout: float) -> str | None:
        """The page of what all replicas counted, or None where the worker gives none in time."""
        page: str | None = await self._answer("shared_metrics", timeout)
        return page

    async def _answer(self, what: str, timeout: float) -> Any:
        if self.gone:
            return None
        asked = self._asked.get(what)
        if asked is None:
            asked = self._asked[what] = asyncio.get_running_loop().create_future()
            self.ask(what)
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(asked), timeout)
        return None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def descriptor(self) -> int | None:
        if self._transport is None or self._transport.is_closing():
            return None
        return int(self._transport.get_extra_info("socket").fileno())

    def problem(self, interval: float) -> str | None:
        """Why no request should be sent to this worker, or None."""
        if self.gone or self.beat is None:
            return "starting"
        if self.silent > MISSED_BEATS * interval:
            return "not_answering"
        return self.beat.reason
