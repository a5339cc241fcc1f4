"""The shared store of the steps that need one: a redis-server on the load core."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.failure import BenchFailureError
from bench.processes import HOST, free_port, running

_START_SECONDS = 5.0


@contextmanager
def store(folder: Path, core: int, *options: str) -> Iterator[str]:
    """Runs an empty Redis without persistence, with these options; gives its URL."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise BenchFailureError(
            "redis-server is missing; on Debian or Ubuntu: sudo apt-get install redis-server"
        )
    port = free_port()
    argv = [binary, "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
    argv += options
    with running("redis", argv, port=port, core=core, folder=folder):
        _wait(port)
        yield f"redis://{HOST}:{port}"


def _wait(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((HOST, port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            time.sleep(0.02)
    raise BenchFailureError("redis-server did not answer in time")
