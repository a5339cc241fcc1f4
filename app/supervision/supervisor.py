"""Granian's workers under our own care: started anew with patience, never given up, ended in order."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

from granian._granian import SocketHolder
from granian.server import MPServer

from app.supervision.backoff import Backoff
from app.supervision.control import Control
from app.supervision.hearing import Hearing
from app.supervision.listening import BACKLOG, Listening
from app.supervision.service_manager import READY, STOPPING, ServiceManager
from app.supervision.worker import STOP_SIGNAL, Link

TICK_SECONDS = 0.5
START_SECONDS = 60.0  # how long a worker may take to its first beat
KILL_SECONDS = 5.0

Load = Callable[[Link], Any]


class _Slot:
    """The place of one worker: who is there, since when, and when the next one may start."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: BaseProcess | None = None
        self.born = 0.0
        self.due = 0.0
        self.backoff = Backoff()
        self.failed = False  # before any worker was ready


class Supervisor(MPServer):
    """Granian's main process, with other rules for its workers' lives.

    A worker that ends is replaced: at once, then after 0.5, 1, 2 … 30 seconds while it goes on
    dying early. One that says nothing for ``worker_timeout`` seconds is killed and replaced. Only
    where no worker ever got ready, and each of them ended, `failed` is set and the loop is over.
    """

    def __init__(
        self,
        listening: Listening,
        control: Control,
        say: Callable[[str], None],
        manager: ServiceManager,
        *,
        worker_timeout: float,
        shutdown_delay: float,
        shutdown_grace: float,
        foreign: list[int],
        **granian: Any,
    ) -> None:
        """``foreign`` are descriptors of the main process that no worker may keep open."""
        super().__init__("headgate", backlog=BACKLOG, **granian)
        self._listening = listening
        self._control = control
        self._say = say
        self._manager = manager
        self._worker_timeout = worker_timeout
        self._delay = shutdown_delay
        self._grace = shutdown_grace
        self._foreign = foreign
        self._slots = [_Slot(number) for number in range(self.workers)]
        self._stop_at: float | None = None
        self._was_heard = False
        self.failed = False

    def stop(self, *, at_once: bool) -> None:
        """End: after the shutdown delay, or now. For a signal handler of the main thread."""
        now = monotonic()
        if self._stop_at is None:
            self._control.drain()
            self._stop_at = now if at_once else now + self._delay
        else:
            self._stop_at = now

    def signal_workers(self, number: signal.Signals) -> None:
        for process in self._running():
            assert process.pid is not None
            os.kill(process.pid, number)

    # What Granian calls.

    def _init_shared_socket(self) -> None:
        self._ssp = self._shd = self._sso = None

    def _start_ipc(self) -> None:
        """Granian's pipes carry its own metrics only, which we do not use."""

    def _stop_ipc(self) -> None:
        """See `_start_ipc`."""

    def _spawn_workers(self, spawn_target: Any, target_loader: Load) -> None:
        # A signal that comes while we wait for workers ends the waiting.
        self._woken, waker = socket.socketpair()
        for end in (self._woken, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        self._waker = waker
        self._control.start()
        for slot in self._slots:
            self._try_start(slot, spawn_target, target_loader)

    def _serve_loop(self, spawn_target: Any, target_loader: Load) -> None:
        told = False
        while not self._over():
            if self._stop_at is not None and not told:
                told = True
                self._say(f"stopping: requests are served for {self._delay:g}s more")
                self._manager.tell(STOPPING, "finishes running requests")
            for slot in self._slots:
                self._look_after(slot)
            self.failed = all(slot.failed for slot in self._slots)
            for slot in self._slots:
                if slot.process is None and monotonic() >= slot.due and not self._over():
                    self._try_start(slot, spawn_target, target_loader)
            self._wait()

    def _stop_workers(self) -> None:
        self._listening.close_all()
        running = self._running()
        self.signal_workers(STOP_SIGNAL)
        end = monotonic() + self._grace
        for process in running:
            process.join(max(0.0, end - monotonic()))
            if process.is_alive():
                self._say(f"worker pid {process.pid} did not end within {self._grace:g}s; killed")
                process.kill()
                process.join(KILL_SECONDS)
        self._control.stop()

    # The life of a slot.

    def _over(self) -> bool:
        return self.failed or (self._stop_at is not None and monotonic() >= self._stop_at)

    def _running(self) -> list[BaseProcess]:
        return [slot.process for slot in self._slots if slot.process and slot.process.is_alive()]

    def _try_start(self, slot: _Slot, spawn_target: Any, target_loader: Load) -> None:
        try:
            self._start(slot, spawn_target, target_loader)
        except OSError as error:  # no more processes or descriptors: that may pass
            slot.due = monotonic() + slot.backoff.after(0.0)
            self._say(f"worker {slot.number + 1} could not be started: {error.strerror or error}")

    def _start(self, slot: _Slot, spawn_target: Any, target_loader: Load) -> None:
        ours, theirs = socket.socketpair()
        holder: Any = SocketHolder  # its stub tells of another class
        listener = self._listening.descriptor(slot.number)
        self._shd = holder(listener, False, self.backlog)
        with self._control.parked():
            others = self._listening.descriptors(but=slot.number)
            link = Link(
                theirs,
                self._control.interval,
                listener=listener,
                draining=self._stop_at is not None,
                others=[*others, ours.fileno(), *self._foreign, *self._control.descriptors()],
            )
            loader = partial(target_loader, link)
            process = self._spawn_worker(slot.number, spawn_target, loader).inner
            process.start()
        theirs.close()
        slot.process, slot.born = process, monotonic()
        self._control.adopt(slot.number, process.pid, ours)

    def _look_after(self, slot: _Slot) -> None:
        process = slot.process
        if process is None:
            return
        heard = self._control.heard[slot.number]
        if heard is not None and heard.beats and not self._was_heard:
            # Not "ready", which needs the store: who waits for that must not end us meanwhile.
            self._was_heard = True
            self._manager.tell(READY, f"serves {self.bind_addr}:{self.bind_port}")
        if not process.is_alive():
            self._bury(slot, f"ended {_how(process.exitcode)}")
        elif heard is not None and heard.silent > self._silence_allowed(heard):
            process.kill()
            process.join(KILL_SECONDS)
            self._bury(slot, f"did not answer for {heard.silent:.1f}s and was killed")

    def _silence_allowed(self, heard: Hearing) -> float:
        return self._worker_timeout if heard.beats else max(START_SECONDS, self._worker_timeout)

    def _bury(self, slot: _Slot, how: str) -> None:
        assert slot.process is not None
        pid, slot.process = slot.process.pid, None
        if not self._was_heard:
            slot.failed = True
        delay = slot.backoff.after(monotonic() - slot.born)
        slot.due = monotonic() + delay
        if delay and len(self._running()) > 0:
            # Nobody would take what waits at this socket for so long; the others' sockets are open.
            self._listening.close(slot.number)
        when = f"in {delay:g}s" if delay else "now"
        self._say(f"worker {slot.number + 1} (pid {pid}) {how}; a new one starts {when}")

    def _wait(self) -> None:
        """Until a worker ends, a signal comes, or it is time to look again."""
        now = monotonic()
        due = [slot.due for slot in self._slots if slot.process is None]
        due += [self._stop_at] if self._stop_at is not None else []
        seconds = max(0.0, min([TICK_SECONDS, *(at - now for at in due)]))
        wait([self._woken, *(process.sentinel for process in self._running())], seconds)
        with suppress(BlockingIOError):
            self._woken.recv(4096)


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"with code {code}"
    names = {one.value: one.name for one in signal.Signals}
    return f"by {names.get(-code, f'signal {-code}')}"
