"""The main process's second thread: it hears the workers, and serves the management listener.

The first one only starts and ends workers. Neither does anything for callers, so both go on
whatever the workers are busy with.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from app.supervision.hearing import Hearing

TICK_SECONDS = 0.25
PARK_SECONDS = 5.0

Serve = Callable[["Control"], Awaitable[asyncio.Server]]


class Control:
    """Slots are the places of workers, 0 to ``workers`` - 1; a slot's worker may be a new one.

    Safe to call from the main thread. ``interval`` is the time between two beats of a worker.
    """

    def __init__(self, workers: int, interval: float, serve: Serve | None = None) -> None:
        self.interval = interval
        self.draining = False
        self.heard: list[Hearing | None] = [None] * workers
        self.restarts = [0] * workers
        self.relayed: Callable[[], list[int]] = list
        self._serve = serve
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._over = asyncio.Event()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(PARK_SECONDS)

    def adopt(self, slot: int, pid: int, channel: socket.socket) -> None:
        """Hear this worker from now on, in place of the slot's last one."""
        hearing = Hearing(pid)
        last, self.heard[slot] = self.heard[slot], hearing
        if last is not None:
            self.restarts[slot] += 1
        asyncio.run_coroutine_threadsafe(self._listen(hearing, last, channel), self._loop)

    def drain(self) -> None:
        """Tell all workers that the gateway is being stopped."""
        self.draining = True
        with suppress(RuntimeError):  # a signal so late that this thread is over
            self._loop.call_soon_threadsafe(self._ask_all, "drain")

    @contextmanager
    def parked(self) -> Iterator[None]:
        """Hold this thread still, because a fork copies whatever lock it may have taken."""
        parked, go_on = threading.Event(), threading.Event()

        def park() -> None:
            parked.set()
            go_on.wait(PARK_SECONDS)

        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(park)
            parked.wait(PARK_SECONDS)
        try:
            yield
        finally:
            go_on.set()

    def descriptors(self) -> list[int]:
        """What this thread has open, for workers and for operators; to be asked for while parked."""
        heard = [d for hearing in self.heard if hearing and (d := hearing.descriptor()) is not None]
        return [*heard, *self.relayed()]

    def _ask_all(self, what: str) -> None:
        for hearing in self.heard:
            if hearing is not None:
                hearing.ask(what)

    async def _listen(self, hearing: Hearing, last: Hearing | None, channel: socket.socket) -> None:
        if last is not None:
            last.close()
        await self._loop.create_unix_connection(lambda: hearing, sock=channel)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._work())
        self._loop.close()

    async def _work(self) -> None:
        server = await self._serve(self) if self._serve is not None else None
        ticking = self._loop.create_task(self._keep_ticking())
        await self._over.wait()
        if server is not None:
            server.close()
        for hearing in self.heard:
            if hearing is not None:
                hearing.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(ticking, *rest, return_exceptions=True)

    async def _keep_ticking(self) -> None:
        """Count the silence of workers in time that this thread was awake for.

        Where the machine or the whole container stood still, the workers did too.
        """
        before = monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = monotonic()
            awake, before = min(now - before, 2 * TICK_SECONDS), now
            for hearing in self.heard:
                if hearing is not None:
                    hearing.silent += awake
