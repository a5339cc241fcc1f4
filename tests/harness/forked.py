"""Starts gateways as forks of a process that has imported them; see preloaded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from tests.harness.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
LOADED = 60.0  # seconds within which the first is forked, on a busy machine

# Where these are others than here, a process begins in another way than a fork can.
_NEEDS_A_START = ("LD_PRELOAD", "PYTHON")


class Forked:
    """What ``subprocess.Popen`` is, as far as the tests use it."""

    def __init__(self, pid: int, stdout: IO[str], stderr: IO[str]) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._ended = threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(["headgate"], timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def end(self, code: int) -> None:
        """It has ended so."""
        self.returncode = code
        self._ended.set()


class Forks:
    """The process that forks, and those that it forked; made when the first is wanted."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._channel = ours
        self._lock = threading.Lock()
        self._said = threading.Condition()
        self._pids: list[int] = []
        self._running: dict[int, Forked] = {}
        self._codes: dict[int, int] = {}
        command = [sys.executable, "-m", "tests.harness.preloaded", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT)
        theirs.close()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Forked:
        """``headgate`` with these arguments and nothing else in its environment."""
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        asked = {"arguments": list(arguments), "environment": dict(environment)}
        try:
            with self._lock:
                socket.send_fds(self._channel, [orjson.dumps(asked)], [its_out, its_err])
                with self._said:
                    assert self._said.wait_for(lambda: self._pids, LOADED), "nothing was forked"
                    pid = self._pids.pop()
        finally:
            os.close(its_out)
            os.close(its_err)
        made = Forked(pid, os.fdopen(out), os.fdopen(err))
        with self._said:
            if pid in self._codes:
                made.end(self._codes.pop(pid))
            else:
                self._running[pid] = made
        return made

    def _listen(self) -> None:
        with self._channel.makefile("rb") as lines:
            for line in lines:
                self._heard(orjson.loads(line))

    def _heard(self, said: dict[str, Any]) -> None:
        with self._said:
            if "pid" in said:
                self._pids.append(said["pid"])
                self._said.notify_all()
                return
            ended = self._running.pop(said["ended"], None)
            if ended is None:
                self._codes[said["ended"]] = said["code"]
            else:
                ended.end(said["code"])

    def close(self) -> None:
        """End the process that forks, and with it whatever still runs."""
        self._channel.shutdown(socket.SHUT_RDWR)
        self._process.wait(PATIENCE)
        self._listener.join(PATIENCE)
        self._channel.close()


_forks: list[Forks] = []


def start(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> Forked | subprocess.Popen[str]:
    """``headgate`` with these arguments: a fork where that makes no difference."""
    here = os.environ
    if any(
        name.startswith(_NEEDS_A_START) and environment.get(name) != here.get(name)
        for name in {*environment, *here}
    ):
        return subprocess.Popen(
            [sys.executable, "-m", "headgate", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
    if not _forks:
        _forks.append(Forks())
    return _forks[0].start(arguments, environment)


def close() -> None:
    """After the last test."""
    while _forks:
        _forks.pop().close()
