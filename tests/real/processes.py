"""Processes of our own: started, waited for within a bound, stopped with all their children."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

START_SECONDS = 180.0
STOP_SECONDS = 15.0


class NotStartedError(Exception):
    """A server ended, or stayed silent, before it was ready; carries the end of its log."""


@contextmanager
def running(
    command: Sequence[str], *, ready: str, log: Path, environment: Mapping[str, str], folder: Path
) -> Iterator[int]:
    """Run a server while the block lasts; yields its pid once `ready` answers 200."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            process_group=0,
        )
        try:
            _wait(process, ready, log)
            yield process.pid
        finally:
            _stop(process)


def finish(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and stop it with its children when it has not ended in time."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(environment),
        cwd=folder,
        process_group=0,
    )
    try:
        out, errors = process.communicate(timeout=seconds)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def _wait(process: subprocess.Popen[bytes], ready: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise NotStartedError(f"ended with {process.returncode}:\n{_last_lines(log)}")
        with suppress(httpx.TransportError):
            if httpx.get(ready, timeout=2, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.3)
    raise NotStartedError(f"not ready after {START_SECONDS:.0f} s:\n{_last_lines(log)}")


def _last_lines(log: Path, count: int = 25) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the group that the server leads: workers outlive a parent that is killed alone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
