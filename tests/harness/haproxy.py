"""A real HAProxy in front of gateways: what the machine has, else Debian's package."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Self

from tests.harness.gateway import free_port
from tests.harness.redis_install import FOLDER

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "haproxy.cfg"
SECONDS = 20.0
_HOME = "/usr/sbin/haproxy"  # not on every user's PATH


@cache
def program() -> str:
    """The program; installed with apt-get where the tests run as root on Debian."""
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "haproxy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may start at once
        found = shutil.which("haproxy") or shutil.which(_HOME)
        if found is None:
            _apt_install()
            found = shutil.which(_HOME)
    assert found is not None, "haproxy is missing: apt-get install haproxy (2.6 or newer)"
    return found


def _apt_install() -> None:
    install = ["apt-get", "install", "-y", "--no-install-recommends", "haproxy"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=180, check=False
        )
        if command is install and done.returncode == 0:
            return


class HAProxy:
    """The process on a file of configuration; use as a context manager."""

    def __init__(
        self, file: Path, environment: Mapping[str, str] = {}, *, reloads: bool = False
    ) -> None:
        """With ``reloads`` as its image and its packages run it: a master that keeps workers."""
        self._options = ["-W"] if reloads else []
        self.port = free_port()
        self._file = file
        self._environment = {"HEADGATE_BIND": f"127.0.0.1:{self.port}"} | dict(environment)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [program(), *self._options, "-db", "-f", self._file],
            stdout=self._said,
            stderr=self._said,
            env=os.environ | self._environment,
        )
        end = time.monotonic() + SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)  # polling a start, not a race
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()  # which a master hands on to its workers
        self._process.wait(SECONDS)
        self._said.close()

    def reload(self) -> None:
        """New workers read the file; the old ones finish what runs."""
        self._process.send_signal(signal.SIGUSR2)

    def said(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
