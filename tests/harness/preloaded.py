"""A process that has imported the gateway, and forks one for each message: `python -m … DESCRIPTOR`.

A gateway's start is mostly its imports, half a second of CPU each time, and the tests start
hundreds. What is forked is told its arguments, its environment and its output, as a program is.
tests/app/cli starts it the usual way.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import orjson

MOST = 1 << 20
ROOT = Path(__file__).parents[2]


class Preloaded:
    """Forks what is asked for over ``channel``, says the ids, and how each process ended."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._running: set[int] = set()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started us

    def serve(self) -> None:
        """Until the channel is closed; what still runs then is ended."""
        while True:
            ready, _, _ = select.select([self._channel, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(4096)
                self._reap()
            if self._channel in ready:
                message, descriptors, _, _ = socket.recv_fds(self._channel, MOST, 2)
                if not message:
                    break
                self._fork(orjson.loads(message), descriptors)
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)

    def _fork(self, asked: dict[str, Any], descriptors: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            self._become(asked, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._running.add(pid)
        self._channel.sendall(orjson.dumps({"pid": pid}) + b"\n")

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._running.discard(pid)
            ended = {"ended": pid, "code": os.waitstatus_to_exitcode(status)}
            self._channel.sendall(orjson.dumps(ended) + b"\n")

    def _become(self, asked: dict[str, Any], descriptors: list[int]) -> None:
        """Be the program, in the forked process; does not return."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for place, descriptor in enumerate([nothing, *descriptors]):
                os.dup2(descriptor, place)
                os.close(descriptor)
            for end in (self._channel, self._woken, self._waker):
                end.close()
            os.environ.clear()
            os.environ.update(asked["environment"])
            sys.argv = ["headgate", *asked["arguments"]]
            code = _run()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _run() -> int:
    from headgate import main

    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    return 0


def _preload() -> None:
    sys.path.insert(0, str(ROOT))
    from app.lean_imports import import_lean

    import_lean()
    import app.cli
    import app.serve

    assert app.cli
    assert app.serve
    gc.collect()
    gc.freeze()  # so that a collection in a fork does not copy every page


if __name__ == "__main__":
    os.chdir(ROOT)
    _preload()
    Preloaded(socket.socket(fileno=int(sys.argv[1]))).serve()
