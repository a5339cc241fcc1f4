"""A shared store: one pipelined connection a worker, a breaker, and a watchman over both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, Protocol

from app.concurrency.breaker import Breaker
from app.observability.metrics.families import TRIP
from app.observability.metrics.histogram import Histogram
from cache.store.base import CommandRefused, Script, StoreFull, StoreUnavailable, script
from cache.store.command import Pending, Waiting
from cache.store.key_names import PROBE
from cache.store.outages import outage_of
from cache.store.refusals import meaning_of

MAX_WAITING = 10_000  # commands not yet answered, in this process
PROBE_SECONDS = 0.25
CONNECT_SECONDS = (
    1.0  # nobody's request waits behind a connection being made for longer than theirs
)
CLOSE_SECONDS = 1.0  # for answers to what was told; nobody's request waits any more


class Line(Protocol):
    """What carries commands to a server: a Wire, or a cluster's client."""

    def send(self, batch: Sequence[Pending]) -> None: ...

    def close(self) -> None: ...

    async def closed(self) -> None:
        """Wait until everything behind it is closed too."""
        ...


Dial = Callable[["RedisStore"], Awaitable[Line]]


class RedisStore:
    """See cache.store.base.Store.

    ``dial`` opens a line, anew after each loss; ``where`` is the store's address for the log.
    """

    shared = True

    def __init__(self, dial: Dial, timeout: float, where: str = "the store") -> None:
        self.breaker = Breaker()
        self.full = 0
        self.trips = Histogram(TRIP)
        self._timed: tuple[int, float] | None = None  # a command's number, and when it was sent
        self._dial = dial
        self._where = where
        self._line: Line | None = None
        self._left: list[Line] = []  # given up, and perhaps not wholly closed
        self._queue: list[Pending] = []
        self._waiting = Waiting(timeout, self._is_late)
        self._scheduled = False
        self._closing = False
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
            self._enqueue(("EVALSHA", script.sha, len(keys), *keys, *args), script, failed=failed)
        except StoreUnavailable:
            if failed is not None:
                failed()

    def publish(self, channel: str, message: bytes) -> None:
        with suppress(StoreUnavailable):
            self._enqueue(("PUBLISH", channel, message), ordered=True)

    async def aclose(self) -> None:
        """Everything asked so far is answered first, unless the store is out or very late."""
        self._closing = True
        if not self.breaker.open:
            # Until nothing waits, and not until an answer to something asked now: a script that the
            # server did not know is sent again, behind whatever was sent meanwhile.
            self._waiting.timeout = max(self._waiting.timeout, CLOSE_SECONDS)
            await self._waiting.none_left()
        if self._watchman is not None:
            self._watchman.cancel()
            with suppress(asyncio.CancelledError):
                await self._watchman
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
        self._enqueue(args, script, answer)
        return answer

    def _enqueue(
        self,
        args: tuple[Any, ...],
        script: Script | None = None,
        answer: asyncio.Future[Any] | None = None,
        failed: Callable[[], None] | None = None,
        *,
        ordered: bool = False,
    ) -> None:
        if self.breaker.open:
            raise StoreUnavailable(self.breaker.reason or "open", self.breaker.detail)
        if self._closing:
            raise StoreUnavailable("closing")
        if len(self._waiting) >= MAX_WAITING:
            raise StoreUnavailable("busy")
        self._queue.append(self._waiting.add(args, script, answer, failed, ordered=ordered))
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Send what this turn of the loop asks for, all of it in one write."""
        if not self._scheduled and self._line is not None:
            assert self._loop is not None
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._line is not None and self._queue:
            queue, self._queue = self._queue, []
            if self._timed is None:
                self._timed = queue[0].number, perf_counter()
            self._line.send(queue)

    def _is_late(self) -> None:
        """The store has not answered in time: begin anew on another line."""
        seconds = f"{self._waiting.timeout * 1000:.0f} ms"
        self.breaker.failed("slow", detail=f"{self._where}: no answer within {seconds}")
        line, self._line = self._line, None
        self._wake.set()
        if line is not None:
            self._left.append(line)
            line.close()  # what it still brings would be answers to questions given up
        self._fail_all("slow")

    def answered(self, pending: Pending, answer: Any) -> None:
        """One answer has come; an exception stands for an error."""
        timed = self._timed
        if timed is not None and timed[0] == pending.number:
            self._timed = None
            self.trips.observe(perf_counter() - timed[1])
        if isinstance(answer, Exception):
            self._refused(pending, answer)
        elif self._waiting.done(pending):
            self.breaker.succeeded()
            if pending.answer is not None and not pending.answer.done():
                pending.answer.set_result(answer)

    def _refused(self, pending: Pending, answer: Exception) -> None:
        if pending not in self._waiting:
            return
        if pending.script is not None and str(answer).startswith("NOSCRIPT"):
            self._teach(pending, pending.script)
            return
        self._waiting.done(pending)
        error = meaning_of(answer)
        if isinstance(error, StoreFull):
            # No outage: limits and budgets go on, because their scripts run on a full server too.
            self.full += 1
        elif isinstance(error, StoreUnavailable) and pending.args[0] == "CONFIG":
            # A managed server forbids it; nothing is wrong with it.
            error = CommandRefused(str(error))
        elif isinstance(error, StoreUnavailable):
            word = str(error)
            detail = f"{self._where}: the server says {word}"
            self.breaker.failed(word.lower(), at_once=True, detail=detail)
            if self._line is not None:
                self._line.close()  # a new one may lead to a new primary
        self._fail(pending, error)  # a mistake of ours must be seen, not taken for an outage

    def lost(self, line: Line) -> None:
        """A line ended; what it had not answered will not be answered."""
        if line is self._line:
            self._line = None
            self._left.append(line)
            self._wake.set()
            detail = f"{self._where}: the connection was closed"
            self.breaker.failed("unreachable", at_once=True, detail=detail)
            self._fail_all("unreachable")

    def _teach(self, pending: Pending, script: Script) -> None:
        """The store does not know the script (a new one, or a new primary): send it whole."""
        again = pending._replace(args=("EVAL", script.text, *pending.args[2:]), script=None)
        self._waiting.replace(again)
        self._queue.append(again)
        self._flush_soon()

    def _fail_all(self, reason: str) -> None:
        self._queue.clear()
        self._timed = None
        for pending in self._waiting.give_up():
            self._fail(pending, StoreUnavailable(reason, self.breaker.latest[1]))

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
        except (OSError, ValueError) as error:
            outage = outage_of(error, self._where)
            self.breaker.failed(outage.reason, at_once=True, detail=outage.detail)
            self._fail_all(outage.reason)
            return
        self._line = line
        self._flush()

    async def _probe(self) -> None:
        """Try a write; it has the same time as any other command."""
        assert self._loop is not None
        assert self._line is not None
        answer = self._loop.create_future()
        # By a script, because that also runs on a full server.
        probe = ("EVAL", script("probe", on_full_server=True).text, 1, PROBE)
        self._line.send([self._waiting.add(probe, answer=answer)])
        try:
            await answer
        except Exception:  # noqa: BLE001 - whatever it is, the store does not take writes yet
            if self._line is not None:
                self._line.close()
        else:
            self.breaker.close()
