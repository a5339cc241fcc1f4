"""What the main process knows of its workers, from what they say of themselves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec

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
        self._metrics: asyncio.Future[str | None] | None = None

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
        elif "metrics" in message and self._metrics is not None and not self._metrics.done():
            self._metrics.set_result(message["metrics"])

    def connection_lost(self, _: Exception | None) -> None:
        self.gone = True
        if self._metrics is not None and not self._metrics.done():
            self._metrics.set_result(None)

    def ask(self, what: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame({"ask": what}))

    async def metrics(self, timeout: float) -> str | None:
        """The worker's page of metrics, or None where it does not give one in time."""
        if self.gone:
            return None
        if self._metrics is None or self._metrics.done():
            self._metrics = asyncio.get_running_loop().create_future()
            self.ask("metrics")
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._metrics), timeout)
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
