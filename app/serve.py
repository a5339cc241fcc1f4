"""Running the gateway: Granian's workers, and the main process that keeps their configuration."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer as Granian

from app import logs
from app.config import ConfigError, Loaded, load, read
from app.connections.tcp import SUPPORTED
from app.main import DRAIN_SIGNAL, RELOAD_SIGNAL, Gateway
from app.settings import Server

MAX_HEADER_BYTES = 64 << 10


class Snapshot:
    """The configuration that every worker runs on: one file that only the main process writes.

    Workers never read the operator's file, so that all of them change to the same bytes, and one
    that is started anew after a bad edit gets the last good ones.
    """

    def __init__(self, text: str, source: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="headgate-")
        self.path = Path(self._directory.name) / "configuration.yaml"
        self.source = source
        self.write(text)

    def write(self, text: str) -> None:
        """Replace the bytes atomically, readable by this user only."""
        fresh = self.path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        fresh.replace(self.path)

    def remove(self) -> None:
        self._directory.cleanup()


def load_snapshot(path: Path, source: str) -> Loaded:
    return load(read(path), source)


def load_worker(path: Path, source: str, port: int) -> Gateway:
    """A worker's application; runs in the worker, before its loop does."""
    loaded = load_snapshot(path, source)
    writer = logs.configure(loaded.settings.log.format, loaded.settings.log.level)
    return Gateway(partial(load_snapshot, path, source), writer, port)


class Main:
    """The main process: starts workers, hands on signals, decides whether a new file is good."""

    def __init__(self, loaded: Loaded, text: str, source: str, file: str | None) -> None:
        # Until the workers are there, a reload asked for must not end us.
        signal.signal(RELOAD_SIGNAL, signal.SIG_IGN)
        self._file = file
        self._generation = loaded.generation
        self._server_settings = server = loaded.settings.server
        self._fixed = (load(text, source).settings.server, loaded.settings.store)
        self._snapshot = Snapshot(text, source)
        self._granian = Granian(
            "headgate",
            address=server.host,
            port=server.port,
            interface=Interfaces.ASGI,
            workers=server.workers,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            websockets=False,
            backlog=4096,
            backpressure=server.max_connections,
            http1_settings=HTTP1Settings(
                header_read_timeout=_head_timeout_ms(server), max_buffer_size=MAX_HEADER_BYTES
            ),
            log_level=LogLevels.warning,
            respawn_failed_workers=True,
            workers_kill_timeout=max(1, int(server.shutdown_grace)),
        )
        self._granian.on_startup(self._take_signals)
        self._pid = os.getpid()
        self._reloading = threading.Lock()
        self._stopping = False

    def run(self) -> None:
        """Serve until told to stop.

        Raises OSError where the address cannot be listened on.
        """
        _try_address(self._server_settings.host, self._server_settings.port)
        target = partial(
            load_worker,
            self._snapshot.path,
            self._snapshot.source,
            self._server_settings.port,
        )
        try:
            self._granian.serve(target_loader=target, wrap_loader=False)
        finally:
            self._snapshot.remove()

    def _take_signals(self) -> None:
        """Ours in place of Granian's, which would replace every worker on SIGHUP."""
        signal.signal(RELOAD_SIGNAL, self._on_reload)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)

    def _on_reload(self, *_: Any) -> None:
        if os.getpid() == self._pid:
            threading.Thread(target=self._reload, daemon=True).start()

    def _on_stop(self, *_: Any) -> None:
        if os.getpid() != self._pid:
            sys.exit(0)
        if self._stopping:  # asked twice: no more patience
            self._granian.signal_handler_interrupt()  # type: ignore[no-untyped-call]
            return
        self._stopping = True
        self._signal_workers(DRAIN_SIGNAL)
        delay = float(self._server_settings.shutdown_delay)
        timer = threading.Timer(delay, self._granian.signal_handler_interrupt)
        timer.daemon = True
        timer.start()

    def _reload(self) -> None:
        with self._reloading:
            self._reload_once()

    def _reload_once(self) -> None:
        if self._file is None:
            _say("reload: this gateway runs on its built-in configuration; nothing to read anew")
            return
        try:
            text = read(self._file)
            loaded = load(text, self._file)
        except ConfigError as error:
            _say(f"reload refused, {self._generation} stays; {len(error.problems)} problem(s):")
            for problem in error.problems:
                _say(f"  {problem}")
            return
        for warning in loaded.warnings:
            _say(f"warning: {warning}")
        if (loaded.settings.server, loaded.settings.store) != self._fixed:
            _say("warning: changes under `server` and `store` take effect only after a restart")
        self._snapshot.write(text)
        self._generation = loaded.generation
        self._signal_workers(RELOAD_SIGNAL)
        _say(f"reload: configuration {loaded.generation}")

    def _signal_workers(self, number: signal.Signals) -> None:
        for worker in self._granian.wrks:
            pid = worker.inner.pid
            if pid is not None and worker.inner.is_alive():
                os.kill(pid, number)


def _head_timeout_ms(server: Server) -> int:
    """How long Granian waits for a head. It starts the same clock for an idle connection.

    Where each worker guards its connections, the guard ends heads sooner than idle connections.
    """
    seconds = float(server.head_timeout)
    if SUPPORTED:
        seconds = max(seconds, float(server.keepalive_timeout))
    return int(seconds * 1000)


def _try_address(host: str, port: int) -> None:
    """Bind once and let go: below us the same mistake would end in a crash, or go unseen."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
