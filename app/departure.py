"""When the caller goes away, what is done for it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from app.core.asgi import PIECE_BYTES, Receive, Send
from app.core.exchange import CLIENT_CLOSED_REQUEST, Outcome
from app.patience import Patience

# Most calls to a fast upstream end sooner and then cost no watcher; the promise is 100 ms.
PATIENCE_SECONDS = 0.02


class CallerGone(Exception):
    """The caller closed its connection before the answer was whole."""


class Departure:
    """Cancels the work of the current task when the caller leaves; ``with`` raises CallerGone.

    Not before ``stay`` returns: others may want the work too.
    """

    __slots__ = (
        "_begin",
        "_gone",
        "_leaver",
        "_patience",
        "_receive",
        "_stay",
        "_task",
        "_watcher",
        "give_up",
    )

    def __init__(
        self,
        receive: Receive,
        patience: Patience,
        stay: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._stay = stay
        self._leaver: asyncio.Task[None] | None = None
        self._receive = receive
        self._patience = patience
        self._gone = False
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._begin = self._watch_from_now
        # For whoever finds out in another way, such as a caller that does not read.
        self.give_up = self._give_up
        self._patience.begin(self._begin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._patience.end(self._begin)
        del self._begin, self.give_up  # cycles: only the collector would find them
        for task in (self._watcher, self._leaver):
            if task is not None:
                task.cancel()
        if self._gone and kind is not None and issubclass(kind, asyncio.CancelledError):
            assert self._task is not None
            self._task.uncancel()
            raise CallerGone from None

    def _watch_from_now(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        await self._leave_when_free()

    def _give_up(self) -> None:
        if self._stay is None:
            self._leave()
        elif self._leaver is None:
            self._leaver = asyncio.get_running_loop().create_task(self._leave_when_free())

    async def _leave_when_free(self) -> None:
        if self._stay is not None:
            await self._stay()
        self._leave()

    def _leave(self) -> None:
        assert self._task is not None
        if not self._gone:
            self._gone = True
            self._task.cancel()


def patiently(send: Send, departure: Departure, stall: Patience, outcome: Outcome) -> Send:
    """A ``send`` that gives up a caller who does not read for longer than ``stall`` waits."""

    async def send_in_time(message: Any) -> None:
        give_up = departure.give_up
        if len(message.get("body", b"")) > PIECE_BYTES:
            # It goes out in pieces, each of which has this long; the outcome tells if one had not.
            await send(message)
            if outcome.status == CLIENT_CLOSED_REQUEST:
                give_up()
            return
        stall.begin(give_up)
        try:
            await send(message)
        finally:
            stall.end(give_up)

    return send_in_time
