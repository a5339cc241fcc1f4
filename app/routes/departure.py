"""When the caller goes away, what is done for it stops."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from app.core.asgi import Receive
from app.patience import Patience

# Most calls to a fast upstream end sooner and then cost no watcher; the promise is 100 ms.
PATIENCE_SECONDS = 0.02


class CallerGone(Exception):
    """The caller closed its connection before the answer was whole."""


class Departure:
    """Cancels the work of the current task when the caller leaves; ``with`` raises CallerGone."""

    __slots__ = ("_begin", "_gone", "_patience", "_receive", "_task", "_watcher", "give_up")

    def __init__(self, receive: Receive, patience: Patience) -> None:
        self._receive = receive
        self._patience = patience
        self._gone = False
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._begin = self._watch_from_now
        # For whoever finds out in another way, such as a caller that does not read.
        self.give_up = self._leave
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
        if self._watcher is not None:
            self._watcher.cancel()
        if self._gone and kind is not None and issubclass(kind, asyncio.CancelledError):
            assert self._task is not None
            self._task.uncancel()
            raise CallerGone from None

    def _watch_from_now(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        assert self._task is not None
        self._gone = True
        self._task.cancel()
