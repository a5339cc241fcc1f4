"""A shared store: one pipelined connection a worker, a breaker, and a watchman over both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from cache.breaker import Breaker
from cache.connection import Script, StoreFull, StoreUnavailable, script
from cache.names import PROBE
from cache.pending import Pending
from cache.wire import Address, Wire, open_wire

MAX_WAITING = 10_000  # commands not yet answered, in this process
PROBE_SECONDS = 0.25
CONNECT_SECONDS = (
    1.0  # nobody's request waits behind a connection being made for longer than theirs
)

# What a server says when it cannot take writes; the rest are mistakes of ours and go on as such. Not
# OOM: a full server goes on with limits and budgets, whose scripts run there too.
_OUTAGES = frozenset(
    {"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "NOREPLICAS", "BUSY",
     "NOAUTH", "NOPERM", "TRYAGAIN", "MOVED", "ASK"}
)  # fmt: skip


class Line(Protocol):
    """What carries commands to a server: a Wire, or a cluster's client."""

    def send(self, batch: Sequence[Pending]) -> None: ...

    def close(self) -> None: ...

    async def closed(self) -> None:
        """Wait until everything behind it is closed too."""
        ...


Dial = Callable[["RedisStore"], Awaitable[Line]]


class RedisStore:
    """See cache.connection.Store. ``dial`` opens a line, anew after each loss."""

    shared = True

    def __init__(self, dial: Dial, timeout: float) -> None:
        self.breaker = Breaker()
        self.full = 0
        self._dial = dial
        self._timeout = timeout
        self._line: Line | None = None
        self._left: list[Line] = []  # given up, and perhaps not wholly closed
        self._queue: list[Pending] = []
        self._waiting: dict[int, Pending] = {}
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._watchman: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._watchman = self._loop.create_task(self._watch())

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return await self._ask(("EVALSHA", script.sha, len(keys), *keys, *args), script)

    async def command(self, *args: Any) -> Any:
        return await self._ask(args, None)

    def tell(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        failed: Callable[[], None] | None = None,
    ) -> None:
        try:
            self._enqueue(("EVALSHA", script.sha, len(keys), *keys, *args), script, None, failed)
        except StoreUnavailable:
            if failed is not None:
                failed()

    async def aclose(self) -> None:
        if self._waiting and not self.breaker.open:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(self._timeout * 4):
                    await self._ask(("PING",), None)  # answered after everything before it
        if self._watchman is not None:
            self._watchman.cancel()
            with suppress(asyncio.CancelledError):
                await self._watchman
        if self._timer is not None:
            self._timer.cancel()
        line, self._line = self._line, None
        if line is not None:
            line.close()
            self._left.append(line)
        await self._see_off()
        self._fail_all("closing")

    def _ask(self, args: tuple[Any, ...], script: Script | None) -> asyncio.Future[Any]:
        if self._loop is None:
            self.start()
        assert self._loop is not None
        answer = self._loop.create_future()
        self._enqueue(args, script, answer, None)
        return answer

    def _enqueue(
        self,
        args: tuple[Any, ...],
        script: Script | None,
        answer: asyncio.Future[Any] | None,
        failed: Callable[[], None] | None,
    ) -> None:
        if self.breaker.open:
            raise StoreUnavailable(self.breaker.reason or "open")
        if len(self._waiting) >= MAX_WAITING:
            raise StoreUnavailable("busy")
        loop = self._loop
        assert loop is not None
        pending = Pending(args, script, answer, failed, loop.time())
        self._waiting[id(pending)] = pending
        self._queue.append(pending)
        if not self._scheduled and self._line is not None:
            self._scheduled = True
            loop.call_soon(self._flush)
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._look_for_late_ones)

    def _flush(self) -> None:
        """Send everything that this turn of the loop asked for."""
        self._scheduled = False
        if self._line is not None and self._queue:
            queue, self._queue = self._queue, []
            self._line.send(queue)

    def _look_for_late_ones(self) -> None:
        """The oldest command speaks for all: a connection answers in order."""
        self._timer = None
        assert self._loop is not None
        oldest = next(iter(self._waiting.values()), None)
        if oldest is None:
            return
        left = oldest.asked + self._timeout - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look_for_late_ones)
            return
        self.breaker.failed("slow")
        line, self._line = self._line, None
        self._wake.set()
        if line is not None:
            self._left.append(line)
            line.close()  # what it still brings would be answers to questions given up
        self._fail_all("slow")

    def answered(self, pending: Pending, answer: Any) -> None:
        """One answer has come; an exception stands for an error."""
        if self._waiting.pop(id(pending), None) is None:
            return
        if not isinstance(answer, Exception):
            self.breaker.succeeded()
            if pending.answer is not None and not pending.answer.done():
                pending.answer.set_result(answer)
            return
        word = str(answer).split(" ", 1)[0]
        if word == "NOSCRIPT" and pending.script is not None:
            self._teach(pending, pending.script)
            return
        if word == "OOM":
            self.full += 1
            self._fail(pending, StoreFull("full"))
            return
        # A managed server forbids CONFIG; nothing is wrong with it.
        if word in _OUTAGES and pending.args[0] != "CONFIG":
            self.breaker.failed(word.lower(), at_once=True)
            self._fail(pending, StoreUnavailable(word))
            if self._line is not None:
                self._line.close()  # a new one may lead to a new primary
            return
        self._fail(pending, answer)  # a mistake of ours: it must be seen, not taken for an outage

    def lost(self, line: Line) -> None:
        """A line ended; what it had not answered will not be answered."""
        if line is self._line:
            self._line = None
            self._left.append(line)
            self._wake.set()
            self.breaker.failed("unreachable", at_once=True)
            self._fail_all("unreachable")

    def _teach(self, pending: Pending, script: Script) -> None:
        """The store does not know the script (a new one, or a new primary): send it whole."""
        again = pending._replace(args=("EVAL", script.text, *pending.args[2:]), script=None)
        # First in line again, because it was asked first: it has no second timeout.
        self._waiting = {id(again): again, **self._waiting}
        self._queue.append(again)
        self._flush()

    def _fail_all(self, reason: str) -> None:
        self._queue.clear()
        waiting, self._waiting = self._waiting, {}
        for pending in waiting.values():
            self._fail(pending, StoreUnavailable(reason))

    def _fail(self, pending: Pending, error: Exception) -> None:
        if pending.answer is None:
            if pending.failed is not None:
                pending.failed()
        elif not pending.answer.done():
            pending.answer.set_exception(error)

    async def _watch(self) -> None:
        """Keep a line open; while the breaker is open, close it when a write succeeds."""
        while True:
            if self._line is None:
                await self._reconnect()
            if self._line is not None and self.breaker.open:
                await self._probe()
            await self._see_off()
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._wake.wait()

    async def _see_off(self) -> None:
        """Wait for lines that were given up to be closed."""
        while self._left:
            line = self._left[0]
            await line.closed()
            if line in self._left:  # kept until it is done: we may be cancelled
                self._left.remove(line)

    async def _reconnect(self) -> None:
        try:
            line = await self._dial(self)
        except (OSError, ValueError):
            self.breaker.failed("unreachable", at_once=True)
            self._fail_all("unreachable")
            return
        self._line = line
        self._flush()

    async def _probe(self) -> None:
        assert self._loop is not None
        assert self._line is not None
        answer = self._loop.create_future()
        # By a script, because that also runs on a full server.
        probe = ("EVAL", script("probe", on_full_server=True).text, 1, PROBE)
        pending = Pending(probe, None, answer, None, self._loop.time())
        self._waiting[id(pending)] = pending
        self._line.send([pending])
        try:
            async with asyncio.timeout(self._timeout):
                await answer
        except Exception:  # noqa: BLE001 - whatever it is, the store does not take writes yet
            self._waiting.pop(id(pending), None)
            if self._line is not None:
                self._line.close()
        else:
            self.breaker.close()


def to_server(find: Callable[[], Awaitable[Address]]) -> Dial:
    """A dial for a single server, wherever ``find`` says it is now."""

    async def dial(store: RedisStore) -> Line:
        address = await find()

        def lost(wire: Wire) -> None:
            store.lost(wire)

        return await open_wire(address, store.answered, lost, within=CONNECT_SECONDS)

    return dial
