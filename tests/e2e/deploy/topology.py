"""What deploy/compose.yaml starts, as processes: its files, its commands, its names.

Each replica has a loopback address of its own, so that all of them listen on the same ports, as in
containers; HAProxy finds them by the names of their services, over a name server of ours.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from tests.harness.credentials import KEY
from tests.harness.haproxy import ROOT, SHIPPED, HAProxy
from tests.harness.name_server import NameServer
from tests.harness.redis_server import RedisServer, newest
from tests.harness.waiting import eventually

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
REPLICAS = sorted(name for name in SERVICES if name.startswith("headgate-"))
PORT, MANAGEMENT = 8080, 9090
STARTED = 60.0
# Of shutdown_delay; HAProxy takes a replica out within 1.5 s.
DELAY = "2s"


def fresh_address() -> str:
    """Of 127.0.0.0/8, which is all this machine's own."""
    return ".".join(map(str, (127, *(random.randint(1, 254) for _ in range(3)))))


class Replica:
    """One service ``headgate-N``; it can be started, killed and started again."""

    def __init__(self, address: str, file: Path, environment: Mapping[str, str]) -> None:
        self.address = address
        self._file = file
        self._environment = environment
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is removed
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, address: str | None = None) -> None:
        self.address = address or self.address
        serve = (sys.executable, "-m", "app.cli", "serve", "--host", self.address)
        self._process = subprocess.Popen(
            [*serve, "--config", self._file],
            cwd=ROOT,
            env={**os.environ, **self._environment, "HEADGATE_HOST": self.address},
            stdout=self._said,
            stderr=self._said,
            start_new_session=True,
        )

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.said()
            try:
                return self.health().status_code == 200
            except httpx.TransportError:
                return False

        eventually(ready, within=STARTED)

    def health(self) -> httpx.Response:
        return httpx.get(f"http://{self.address}:{MANAGEMENT}/health/ready", trust_env=False)

    @property
    def running(self) -> int:
        """Requests that its workers serve now, as they said within the last second."""
        return sum(worker["running"] for worker in self.health().json()["workers"])

    @property
    def served(self) -> int:
        """Requests that it has logged, since it was first started."""
        return self.said().count('"alias":"demo"')

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(STARTED)

    def kill(self) -> None:
        """The main process and its workers at once, as the end of a container is."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STARTED)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def remove(self) -> None:
        self.stop()
        self._said.close()

    def said(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace")


class Topology:
    """Redis, three replicas, HAProxy; use as a context manager."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.file = folder / "gateway.yaml"
        self.file.write_text((DEPLOY / "compose" / "gateway.yaml").read_text())
        options = tuple(SERVICES["redis"]["command"][1:])
        redis = stack.enter_context(RedisServer.start(newest(), options))
        own = {
            "HEADGATE_STORE": redis.url,
            "HEADGATE_KEY_SHA256": hashlib.sha256(KEY.encode()).hexdigest(),
            "HEADGATE_SHUTDOWN_DELAY": DELAY,
            "OPENAI_API_KEY": "",
        }
        assert (
            own.keys() - {"HEADGATE_SHUTDOWN_DELAY"} == SERVICES[REPLICAS[0]]["environment"].keys()
        )
        self.replicas = {name: Replica(fresh_address(), self.file, own) for name in REPLICAS}
        for replica in self.replicas.values():
            stack.callback(replica.remove)
            replica.start()
        table = {name: replica.address for name, replica in self.replicas.items()}
        self.names = stack.enter_context(NameServer(table))
        for replica in self.replicas.values():
            replica.wait_until_ready()
        self.haproxy = stack.enter_context(self._balancer(folder))

    def _balancer(self, folder: Path) -> HAProxy:
        text = SHIPPED.read_text()
        # Ours in place of the machine's, which does not know the services' names.
        for old, new in (
            ("parse-resolv-conf", f"nameserver ours 127.0.0.1:{self.names.port}"),
            ("init-addr last,libc,none", "init-addr none"),
        ):
            assert old in text
            text = text.replace(old, new)
        file = folder / "haproxy.cfg"
        file.write_text(text)
        given = dict(SERVICES["haproxy"]["environment"])
        assert given.pop("HEADGATE_BIND") == ":8000"
        return HAProxy(file, given, reloads=True)
