"""Children of the harness: started on a core, waited for, and ended by their own pid."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

from bench import procfs
from bench.failure import BenchFailureError

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
OK = 200
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Child:
    """A process that we started, where it listens, and when it was spawned (monotonic seconds)."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    spawned: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self) -> str:
        """The end of its output, for an error message."""
        lines = self.log.read_text(errors="replace").splitlines()[-8:]
        return "\n".join(f"    {line[:200]}" for line in lines) or "    (it printed nothing)"


@dataclass(frozen=True, slots=True)
class Cores:
    """The thing under test runs on `test`; load and mock upstream share `load`."""

    test: int
    load: int

    @classmethod
    def pick(cls) -> Self:
        """The first and the last core that this process may use; it moves itself to the last."""
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[-1]})
        return cls(cores[0], cores[-1])


def stop_on_signals() -> None:
    """Makes Ctrl-C and SIGTERM unwind the stack once, so that children are ended undisturbed."""
    asked = (signal.SIGINT, signal.SIGTERM)

    def stop(signum: int, frame: FrameType | None) -> NoReturn:
        for name in asked:
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt

    for name in asked:
        signal.signal(name, stop)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Children started inside inherit this core from their first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(
    name: str, argv: Sequence[str], *, port: int, core: int, folder: Path
) -> Iterator[Child]:
    """Runs a server for the length of the block; its output goes to a file in `folder`."""
    log = folder / f"{name}.log"
    with log.open("wb") as output, on_core(core):
        spawned = time.monotonic()
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=ROOT,
            process_group=0,  # Ctrl-C reaches us only; we end our children in order
        )  # fmt: skip
    child = Child(name, process, port, log, spawned)
    try:
        yield child
    finally:
        _stop(child)


def _stop(child: Child) -> None:
    family = procfs.tree(child.pid)
    child.process.terminate()
    try:
        child.process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.process.kill()
        child.process.wait()
    for pid in family[1:]:
        try:  # only what is still in the group that we opened
            if os.getpgid(pid) == child.pid:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def ready(child: Child, path: str) -> float:
    """Waits for the first 200 on `path`; returns seconds since the process was spawned."""
    deadline = child.spawned + _START_SECONDS
    while time.monotonic() < deadline:
        if child.process.poll() is not None:
            raise BenchFailureError(f"{child.name} ended at start:\n{child.last_words()}")
        try:
            if get(child.port, path)[0] == OK:
                return time.monotonic() - child.spawned
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(_POLL_SECONDS)
    raise BenchFailureError(
        f"{child.name} was not ready within {_START_SECONDS:.0f} s:\n{child.last_words()}"
    )


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """One GET on its own connection: status and body."""
    return _exchange(port, "GET", path, None, headers or {})


def post(port: int, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """One POST on its own connection: status and body, read to the end."""
    return _exchange(port, "POST", path, body, headers)


def _exchange(
    port: int, method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
