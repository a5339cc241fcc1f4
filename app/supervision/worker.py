"""A worker's end of the control channel: it tells its main how it is, and ends with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, cast

import msgspec

from app.observability.metrics.snapshot import Snapshot
from app.observability.own_lines import sayer
from app.supervision.frames import Frames, frame
from app.supervision.listening import BACKLOG

# Granian stops on SIGINT and on SIGTERM. We use SIGINT, because process managers send SIGTERM to
# every process of a service at once, while the main process still wants its workers to serve.
STOP_SIGNAL = signal.SIGINT
ORPHAN_LOOK_SECONDS = 0.5
ORPHAN_GRACE_SECONDS = 5.0
MAX_UNREAD_BYTES = 64 << 10


class Beat(msgspec.Struct, frozen=True):
    """How a worker is, said by its event loop: `reason` is why it is not ready, or None.

    `details` says in sentences what is wrong with stores and upstreams.
    """

    pid: int
    generation: str
    reason: str | None
    store: str
    running: int  # requests
    lag: float  # seconds that the loop was late for this beat
    details: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.reason is None


class Worker(Protocol):
    """What the main process asks of a worker's application."""

    def beat(self, lag: float) -> Beat: ...

    def drain(self) -> None: ...

    def metrics(self) -> Snapshot: ...

    async def shared_metrics(self) -> str | None: ...


class Link(asyncio.Protocol):
    """Beats every ``interval`` seconds from the worker's event loop, so that a hung loop is seen.

    ``listener`` is the descriptor of the socket that callers connect to. ``draining`` is whether the gateway is being stopped already when this worker starts. ``others``
    are descriptors of the main process and of other workers, which a fork copied into this one.
    """

    def __init__(
        self,
        channel: socket.socket,
        interval: float,
        *,
        listener: int,
        draining: bool,
        others: list[int],
    ) -> None:
        self._channel = channel
        self._listener = listener
        self._interval = interval
        self._main = os.getpid()
        self._others = others
        self.draining = draining
        self.say: Callable[[str], None] = sayer("console")
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._beating: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None

    def enter(self) -> None:
        """Called first in the worker: let go of what is not ours, and watch the main process."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # Not closed but replaced: the objects that this process copied still own their numbers.
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in self._others:
            os.dup2(nothing, descriptor)
        os.close(nothing)
        threading.Thread(target=self._end_with_main, name="main-watch", daemon=True).start()

    async def start(self, worker: Worker) -> None:
        """Begin to beat; the worker serves from now on."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: None)  # in place of Granian's, see above
        self._worker = worker
        if self.draining:
            worker.drain()
        await loop.create_unix_connection(lambda: self, sock=self._channel)
        with socket.socket(fileno=os.dup(self._listener)) as listener:
            listener.listen(BACKLOG)
        self._beating = loop.create_task(self._keep_beating())

    def stop(self) -> None:
        for task in (self._beating, self._answering):
            if task is not None:
                task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            if message.get("ask") == "drain":
                self._worker.drain()
            elif message.get("ask") == "metrics":
                self._send({"metrics": self._worker.metrics()})
            elif message.get("ask") == "shared_metrics" and (
                self._answering is None or self._answering.done()
            ):
                self._answering = asyncio.get_running_loop().create_task(self._tell_shared())

    async def _tell_shared(self) -> None:
        self._send({"shared_metrics": await self._worker.shared_metrics()})

    async def _keep_beating(self) -> None:
        due = time.monotonic()
        while True:
            lag = max(0.0, time.monotonic() - due)
            self._send({"beat": msgspec.to_builtins(self._worker.beat(lag))})
            due = time.monotonic() + self._interval
            await asyncio.sleep(self._interval)

    def _send(self, content: dict[str, Any]) -> None:
        transport = self._transport
        # A main process that does not read must not fill our memory.
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() < MAX_UNREAD_BYTES:
            with suppress(ValueError):  # too long a page: it is asked for in vain
                transport.write(frame(content))

    def _end_with_main(self) -> None:
        """Runs in a thread of its own, so that a worker whose loop hangs ends too.

        An orphan gets another parent. Asking for it twice a second also serves where the system
        could not tell us (``prctl``), and needs no descriptor that another process may hold open.
        """
        while os.getppid() == self._main:
            time.sleep(ORPHAN_LOOK_SECONDS)
        self.say("the main process is gone: this worker ends")
        os.kill(os.getpid(), STOP_SIGNAL)
        time.sleep(ORPHAN_GRACE_SECONDS)
        os._exit(1)
