"""A real redis-server in a process of its own, which tests may kill, stop, pause and restart."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from tests.harness import redis_install

PATIENCE = 10.0


def servers() -> dict[str, Path]:
    """The redis-server of each major version, ``{"7": …, "8": …}``; gets what is missing.

    One that cannot be had is absent, and ``redis_install.problems`` says why.
    """
    return redis_install.servers()


def newest() -> Path:
    """The newest redis-server there is."""
    found = servers()
    assert found, f"no redis-server at all: {redis_install.problems}"
    return found[max(found)]


class RedisServer:
    """One redis-server on a free loopback port: empty, quiet, nothing kept on disk."""

    def __init__(self, binary: Path, args: tuple[str, ...], port: int, folder: str) -> None:
        self.binary = binary
        self.port = port
        self.folder = folder
        self._args = args
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, binary: Path | None = None, args: tuple[str, ...] = ()) -> Self:
        """A server that answers; ``args`` are its options, ``("--maxmemory", "3mb")``."""
        for _ in range(10):
            # Between asking for a free port and taking it, another may take it.
            server = cls(binary or newest(), tuple(args), _free_port(), tempfile.mkdtemp())
            try:
                server._launch()
            except _Died:
                server.stop()
            else:
                return server
        raise AssertionError(f"{binary} does not start with {args}")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL; connections to it are reset, new ones refused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """The same port, a new and empty process; kills the old one where it still runs."""
        self.kill()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._launch()
            except _Died:
                assert time.monotonic() < deadline, "the port was taken meanwhile"
            else:
                return

    def pause(self) -> None:
        """SIGSTOP: it accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def cli(self, *args: object) -> str:
        """One command's answer, as ``redis-cli`` prints simple ones; raises for an error."""
        answer = self._ask(*args)
        return "\n".join(map(str, answer)) if isinstance(answer, list) else str(answer)

    def info(self, section: str) -> dict[str, str]:
        """What ``INFO`` says in one section."""
        lines = self.cli("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "save": "",
            "appendonly": "no",
            "dir": self.folder,
            "loglevel": "warning",
            "logfile": str(Path(self.folder) / "log"),
            "daemonize": "no",
            "repl-diskless-load": "swapdb",
        }
        if "--sentinel" in self._args:
            settings = {name: settings[name] for name in ("bind", "port", "dir", "logfile")}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        # A file of settings stands first, where there is one.
        files = [arg for arg in self._args[:1] if not arg.startswith("--")]
        self._process = subprocess.Popen(
            [self.binary, *files, *options, *self._args[len(files) :]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            if self._process.poll() is not None:
                self._process = None
                raise _Died
            try:
                if self._ask("INFO", "server").find(f"process_id:{self._process.pid}") >= 0:
                    return
                raise _Died  # somebody else's server has the port
            except (OSError, EOFError, ReplyError):
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.005)

    def _ask(self, *args: object) -> str | int | list[object] | None:
        """A client of thirty lines, so that what is tested does not test itself."""
        parts = [str(arg).encode() for arg in args]
        command = b"*%d\r\n" % len(parts)
        command += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(command)
            with connection.makefile("rb") as answers:
                return _read(answers)


def wait_for(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Returns once it is so; fails when it does not come to be."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


class ReplyError(Exception):
    """The server answered with an error."""


class _Died(Exception):
    """The process ended while it started."""


def _read(answers: BinaryIO) -> str | int | list[object] | None:
    line = answers.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    kind, text = line[:1], line[1:-2].decode()
    if kind == b"-":
        raise ReplyError(text)
    if kind == b":":
        return int(text)
    if kind == b"$":
        return None if int(text) < 0 else answers.read(int(text) + 2)[:-2].decode()
    if kind == b"*":
        return [_read(answers) for _ in range(int(text))]
    return text


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
