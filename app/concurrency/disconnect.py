"""When the caller disconnects, what is done for it stops."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from app.concurrency.coarse_timer import CoarseTimer
from app.core.asgi import Receive
from app.core.call import Caller

# Most calls to a fast upstream end sooner and then cost no watcher; the promise is 100 ms.
WATCH_AFTER_SECONDS = 0.02


class ClientDisconnect(Exception):
    """The caller closed its connection before the answer was whole."""


class DisconnectGuard:
    """Cancels the current task when the caller disconnects; ``with`` raises ClientDisconnect.

    If the call says so (``caller.linger``), cancellation waits until that returns, because others
    may still be reading what this call brings.
    """

    __slots__ = (
        "_answered",
        "_begin",
        "_caller",
        "_delay",
        "_gone",
        "_leaver",
        "_receive",
        "_task",
        "_watcher",
        "give_up",
    )

    def __init__(self, receive: Receive, delay: CoarseTimer, caller: Caller) -> None:
        self._caller = caller
        self._leaver: asyncio.Task[None] | None = None
        self._receive = receive
        self._delay = delay
        self._gone = False
        self._answered = False
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._begin = self._watch_from_now
        # For whoever finds out in another way, such as a caller that does not read.
        self.give_up = self._give_up
        self._delay.begin(self._begin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._delay.end(self._begin)
        del self._begin, self.give_up  # cycles: only the collector would find them
        for task in (self._watcher, self._leaver):
            if task is not None:
                task.cancel()
        if self._gone and kind is not None and issubclass(kind, asyncio.CancelledError):
            assert self._task is not None
            self._task.uncancel()
            raise ClientDisconnect from None

    def answered(self) -> None:
        """The caller is being sent the last of its answer.

        From now on a disconnect is no reason to stop, because servers report one too when they
        have sent everything.
        """
        self._answered = True

    def _watch_from_now(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._answered:
            await self._leave_when_free()

    def _give_up(self) -> None:
        if self._caller.linger is None:
            self._leave()
        elif self._leaver is None:
            self._leaver = asyncio.get_running_loop().create_task(self._leave_when_free())

    async def _leave_when_free(self) -> None:
        if self._caller.linger is not None:
            await self._caller.linger()
        self._leave()

    def _leave(self) -> None:
        assert self._task is not None
        if not self._gone:
            self._gone = True
            self._task.cancel()
