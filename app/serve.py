"""Running the gateway: Granian's workers, and the main process that keeps their configuration."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from app.config.loading import (
    ConfigError,
    Loaded,
    load,
    notify_socket_from_environment,
    read,
)
from app.config.secret_files import known
from app.config.settings import Management as ManagementSettings
from app.config.settings import Server, Settings
from app.config.values.quantities import Secret
from app.connections.tcp import SUPPORTED
from app.main import RELOAD_SIGNAL, Gateway
from app.observability import logs
from app.observability.audit.acts import NotRecorded
from app.observability.audit.lifecycle import Lifecycle
from app.observability.own_lines import sayer, server_logging, take_over
from app.supervision.control import Control, Serve
from app.supervision.listening import Listening, listen
from app.supervision.management import Management
from app.supervision.relay import Relay
from app.supervision.relay_mark import RelayMark
from app.supervision.service_manager import ServiceManager
from app.supervision.supervisor import Supervisor
from app.supervision.worker import Link

MAX_HEADER_BYTES = 64 << 10
NO_FOLDER = (
    "there is no folder for temporary files, and workers get their configuration in one: give the "
    "process a /tmp that it may write (docker run --tmpfs /tmp), or set TMPDIR"
)
BEAT_SECONDS = 1.0
BEATS_AT_LEAST = 5  # in `worker_timeout`, so that one late beat is not a hung worker

T = TypeVar("T")


class Snapshot:
    """The configuration that every worker runs on: one file that only the main process writes.

    Workers never read the operator's file, so that all of them change to the same bytes, and one
    that is started anew after a bad edit gets the last good ones.
    """

    def __init__(self, text: str, source: str, secret_files: Mapping[str, Secret]) -> None:
        try:
            self._directory = tempfile.TemporaryDirectory(prefix="headgate-")
        except FileNotFoundError:
            raise OSError(NO_FOLDER) from None
        self.path = Path(self._directory.name) / "configuration.json"
        self.source = source
        self.write(text, secret_files)

    def write(self, text: str, secret_files: Mapping[str, Secret]) -> None:
        """Replace the bytes atomically, readable by this user only."""
        files = {file: secret.reveal() for file, secret in secret_files.items()}
        content = orjson.dumps({"text": text, "secret_files": files})
        fresh = self.path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        fresh.replace(self.path)

    def remove(self) -> None:
        self._directory.cleanup()


def load_snapshot(path: Path, source: str) -> Loaded:
    """What the main process has read, secrets in files of their own included."""
    content = orjson.loads(path.read_bytes())
    files = {file: Secret(text) for file, text in content["secret_files"].items()}
    return load(content["text"], source, read_secret=known(files))


def load_worker(path: Path, source: str, port: int, mark: RelayMark, link: Link) -> Gateway:
    """A worker's application; runs in the worker, before its loop does.

    ``mark`` stands on the requests that the management listener hands on.
    """
    link.enter()
    loaded = load_snapshot(path, source)
    link.say = sayer(loaded.settings.log.format)
    writer = logs.configure(loaded.settings.log.format, loaded.settings.log.level)
    return Gateway(partial(load_snapshot, path, source), writer, port, link, mark)


class Main:
    """The main process: starts workers, hands on signals, decides whether a new file is good."""

    def __init__(self, loaded: Loaded, text: str, source: str, file: str | None) -> None:
        """Raises OSError where an address cannot be listened on; its text names the address."""
        # Until the workers are there, a reload asked for must not end us.
        signal.signal(RELOAD_SIGNAL, signal.SIG_IGN)
        multiprocessing.set_start_method("fork", force=True)  # workers inherit what is open
        self._file = file
        self._generation = loaded.generation
        server, form = loaded.settings.server, loaded.settings.log.format
        self.say = take_over(form)
        self._fixed = _fixed(load(text, source).settings)
        listening = _named(server, partial(Listening, server.host, server.port, server.workers))
        self._mark = RelayMark()
        admin = loaded.settings.admin
        self._has_operators = admin is not None and bool(admin.keys)
        management, descriptors = self._management(server)
        self._snapshot = Snapshot(text, source, loaded.secret_files)
        interval = min(BEAT_SECONDS, float(server.worker_timeout) / BEATS_AT_LEAST)
        self._supervisor = Supervisor(
            listening,
            Control(server.workers, interval, management),
            self.say,
            ServiceManager(notify_socket_from_environment()),
            worker_timeout=float(server.worker_timeout),
            shutdown_delay=float(server.shutdown_delay),
            shutdown_grace=float(server.shutdown_grace),
            foreign=descriptors,
            **_granian_settings(server, form),
        )
        self._supervisor.on_startup(self._take_signals)
        self._port, self._pid = server.port, os.getpid()
        self._reloading = threading.Lock()
        self._lifecycle = Lifecycle(loaded)

    @property
    def sign_in_link(self) -> str:
        """What a link to the dashboard ends with, to sign in once; empty without an admin key."""
        return self._mark.link if self._has_operators else ""

    def run(self) -> bool:
        """Serve until told to stop; False where no worker could start."""
        snapshot = self._snapshot
        target = partial(load_worker, snapshot.path, snapshot.source, self._port, self._mark)
        try:
            self._supervisor.serve(target_loader=target, wrap_loader=False)
        finally:
            self._snapshot.remove()
            self._lifecycle.stop()
        return not self._supervisor.failed

    def _management(self, server: Server) -> tuple[Serve | None, list[int]]:
        settings = server.management
        if settings is None:
            return None, []
        listener = _named(settings, partial(listen, settings.host, settings.port))
        relay = Relay(server.host, server.port, self._mark)
        management = Management(listener, lambda: self._generation, relay)
        return management.serve, [listener.fileno()]

    def _take_signals(self) -> None:
        """Ours in place of Granian's, which would replace every worker on SIGHUP."""
        signal.signal(RELOAD_SIGNAL, self._on_reload)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)

    def _on_reload(self, *_: Any) -> None:
        if os.getpid() == self._pid:
            threading.Thread(target=self._reload, daemon=True).start()

    def _on_stop(self, number: int, _: Any) -> None:
        if os.getpid() != self._pid:
            sys.exit(0)
        # Whoever presses Ctrl-C has no balancer that must notice first.
        self._supervisor.stop(at_once=number == signal.SIGINT)

    def _reload(self) -> None:
        with self._reloading:
            self._reload_once()

    def _reload_once(self) -> None:
        if self._file is None:
            self.say(
                "reload: this gateway runs on its built-in configuration; nothing to read anew"
            )
            return
        try:
            text = read(self._file)
            loaded = load(text, self._file)
        except ConfigError as error:
            self.say(f"reload refused, {self._generation} stays; {len(error.problems)} problem(s):")
            for problem in error.problems:
                self.say(f"  {problem}")
            self._lifecycle.reload_refused(len(error.problems))
            return
        for warning in loaded.warnings:
            self.say(f"warning: {warning}")
        if _fixed(loaded.settings) != self._fixed:
            self.say(
                "warning: changes under `server`, `store`, `audit` and `tracing` take effect only after a restart"
            )
        try:
            self._lifecycle.reload(loaded)
        except NotRecorded as error:
            self.say(f"reload refused, {self._generation} stays: {error}")
            return
        self._snapshot.write(text, loaded.secret_files)
        self._generation = loaded.generation
        self._supervisor.signal_workers(RELOAD_SIGNAL)
        self.say(f"reload: configuration {loaded.generation}")


def _fixed(settings: Settings) -> tuple[Any, ...]:
    """What changes only with a restart."""
    return settings.server, settings.store, settings.audit, settings.tracing


def _named(address: Server | ManagementSettings, opened: Callable[[], T]) -> T:
    """What ``opened`` gives; its OSError says which address cannot be listened on, and why."""
    try:
        return opened()
    except OSError as error:
        place = f"{address.host}:{address.port}"
        raise OSError(f"cannot listen on {place}: {error.strerror or error}") from None


def _granian_settings(server: Server, form: str) -> dict[str, Any]:
    """How the HTTP server listens and speaks; ``form`` is that of the log."""
    return {
        "address": server.host,
        "port": server.port,
        "interface": Interfaces.ASGI,
        "workers": server.workers,
        "loop": Loops.uvloop,
        "http": HTTPModes.http1,
        "websockets": False,
        "backpressure": server.max_connections,
        "http1_settings": HTTP1Settings(
            header_read_timeout=_head_timeout_ms(server), max_buffer_size=MAX_HEADER_BYTES
        ),
        "log_level": LogLevels.warning,
        "log_dictconfig": server_logging(form),
    }


def _head_timeout_ms(server: Server) -> int:
    """How long Granian waits for a head. It starts the same clock for an idle connection.

    Where each worker guards its connections, the guard ends heads sooner than idle connections.
    """
    seconds = float(server.head_timeout)
    if SUPPORTED:
        seconds = max(seconds, float(server.keepalive_timeout))
    return int(seconds * 1000)


def free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
