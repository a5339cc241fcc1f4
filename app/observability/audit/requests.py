"""One record of each request: taken on the event loop, written by a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic, sleep, time
from typing import NamedTuple, Protocol

import structlog

from app.observability.audit.canonical import Record
from app.observability.audit.chain import Position
from app.observability.audit.records import (
    Finished,
    TextHashes,
    bad_keys_record,
    gap_record,
    request_record,
)
from app.observability.audit.trail import Trail

TURN_SECONDS = 0.25
SYNC_SECONDS = 1.0
FLOOD_SECONDS = 60.0
SLICE = 64  # records between two chances for the event loop to run
MAX_TEXT_BYTES = 64 << 20  # of requests that wait to be written


class Signing(Protocol):
    """Keeps signed checkpoints of a chain."""

    def write(self, position: Position, /) -> bytes: ...

    def close(self) -> None: ...


class Keeping(Protocol):
    """Keeps the texts of requests."""

    def write(self, finished: Sequence[Finished], /) -> None: ...

    def close(self) -> None: ...


class Written(NamedTuple):
    """What a turn of the thread has done: records by kind, gaps, lines for others to have."""

    requests: int
    lost: int
    gaps: int
    lines: Sequence[bytes]
    checkpoint: bytes | None


class RequestAudit:
    """Queues finished requests, at most ``bound`` of them, and writes them within a second.

    What does not fit is lost and counted: a gap record says how many. With ``refuses`` requests are
    refused while the queue is full (``full``), so only those that were running then can be lost.
    ``told`` is called in the thread, after each turn that wrote something.
    """

    def __init__(
        self,
        trail: Trail,
        *,
        bound: int,
        refuses: bool = False,
        hashes: TextHashes | None = None,
        contents: Keeping | None = None,
        checkpoints: Signing | None = None,
        checkpoint_seconds: float = 10.0,
    ) -> None:
        self._trail = trail
        self._soft, self._bound = bound, bound * 2 if refuses else bound
        self._hashes = hashes
        self._contents = contents
        self._checkpoints = checkpoints
        self._checkpoint_seconds = checkpoint_seconds
        self.refuses = refuses
        self.wants_texts = hashes is not None or contents is not None
        self.told: Callable[[Written], None] | None = None
        self._queue: deque[Finished] = deque()
        self._taken: list[Finished] = []  # from the queue, not written yet: the thread's
        # Written on the loop only, read by the thread: totals, so that no count is lost between them.
        self._lost = self._refused = self._unlogged = self._text_in = 0
        # The thread's: what of them it has dealt with.
        self._lost_said = self._refused_said = self._unlogged_said = self._text_out = 0
        self._wake = threading.Event()
        self._stopping = False
        self._failed = ""
        self._wrote = self._flood_since = time()
        self._synced = self._signed_at = monotonic()
        self._signed: Position | None = None
        self._dirty = False
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    @property
    def full(self) -> bool:
        """Whether no more requests are to be let in."""
        return len(self._queue) + len(self._taken) >= self._soft

    def add(self, finished: Finished) -> None:
        """Take a request that is over; runs on the loop and never waits."""
        waiting = len(self._queue) + len(self._taken)
        if waiting >= self._bound:
            self._lost += 1
            return
        if finished.sent is not None:
            size = len(finished.sent)
            if self._text_in - self._text_out + size > MAX_TEXT_BYTES:
                finished = finished._replace(sent=None, shown=None, answer=())
            else:
                self._text_in += size
        self._queue.append(finished)
        if waiting == self._soft // 2:
            self._wake.set()

    def refused(self) -> None:
        """Count a request that was refused because the log is full; it gets no record."""
        self._refused += 1

    def unlogged(self) -> None:
        """Count a request without a valid key, of a flood of them; they get one record together."""
        self._unlogged += 1

    def start(self) -> None:
        """Write the chain's first record, and begin. Raises OSError where it cannot be written."""
        self._trail.write([])
        self._trail.sync()
        self._sign()
        self._thread.start()

    def stop(self) -> None:
        """Write what waits and the end of the chain; blocks until it is done."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(TURN_SECONDS)
            self._wake.clear()
            self._try(self.turn)
        self._try(self.turn)
        self._try(self._finish)

    def _try(self, work: Callable[[], None]) -> None:
        """Do a part of the work; a disk that fails is said once, and tried again in the next turn."""
        log = structlog.get_logger("headgate")
        try:
            work()
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._failed:
                log.warning("audit_failing", reason=reason, waiting=len(self._queue))
                self._failed = reason
        except Exception:  # an outermost door: a thread's
            log.exception("audit_failed")
            self._lost_said -= len(self._taken)  # what cannot be written must not be tried for ever
            self._taken = []
        else:
            if self._failed:
                log.warning("audit_back", spooling=self._trail.spooling)
                self._failed = ""

    def turn(self) -> None:
        """Write what waits; the thread's work. Raises OSError where nothing takes it."""
        while True:
            while self._queue and len(self._taken) < SLICE:
                self._taken.append(self._queue.popleft())
            gap, flood = self._gap(), self._flood()
            if not self._taken and gap is None and flood is None:
                break
            self._write(gap, flood)
            sleep(0)  # hand the interpreter over
        now = monotonic()
        if self._dirty and now - self._synced >= SYNC_SECONDS:
            self._trail.sync()
            self._synced, self._dirty = now, False
        if now - self._signed_at >= self._checkpoint_seconds:
            self._sign()

    def _write(self, gap: Record | None, flood: Record | None) -> None:
        taken = self._taken
        records = [request_record(one, self._hashes) for one in taken]
        lines = self._trail.write([*filter(None, (gap, flood)), *records])
        self._dirty = True
        self._wrote = time()
        self._taken = []
        self._text_out += sum(len(one.sent) for one in taken if one.sent is not None)
        lost = 0
        if gap is not None:
            lost = gap["lost"]
            self._lost_said += lost
            self._refused_said += gap["refused"]
        if flood is not None:
            self._unlogged_said += flood["count"]
            self._flood_since = time()
        self._tell(Written(len(records), lost, 1 if gap else 0, lines, None))
        if self._contents is not None:
            self._contents.write(taken)

    def _gap(self) -> Record | None:
        lost = self._lost - self._lost_said
        refused = self._refused - self._refused_said
        return gap_record(lost, refused, self._wrote) if lost or refused else None

    def _flood(self) -> Record | None:
        count = self._unlogged - self._unlogged_said
        due = self._stopping or time() - self._flood_since >= FLOOD_SECONDS
        return bad_keys_record(count, self._flood_since) if count and due else None

    def _sign(self) -> None:
        self._signed_at = monotonic()
        if self._checkpoints is None or self._trail.position == self._signed:
            return
        self._trail.sync()  # a checkpoint never says more than the disk holds
        line = self._checkpoints.write(self._trail.position)
        self._signed = self._trail.position
        self._tell(Written(0, 0, 0, (), line))

    def _finish(self) -> None:
        self._trail.end()
        self._sign()
        if self._checkpoints is not None:
            self._checkpoints.close()
        if self._contents is not None:
            self._contents.close()

    def _tell(self, written: Written) -> None:
        if self.told is not None:
            self.told(written)
