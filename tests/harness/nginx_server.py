"""A real nginx in front of a gateway, with kept-alive connections to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.nginx import proxy
from tests.harness.gateway import free_port
from tests.harness.waiting import PATIENCE


@contextmanager
def nginx_before(port: int) -> Iterator[str]:
    """The address of an nginx that hands everything on to ``port`` of this machine."""
    install()
    own = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # started by root, nginx reads and writes as somebody else
        command = proxy(Path(folder), own, port, streams=False)
        configuration = Path(folder) / "nginx.conf"
        # Bodies of any size, because it is the gateway that should refuse them.
        limit = "client_max_body_size 16m;"
        text = configuration.read_text()
        assert limit in text
        configuration.write_text(text.replace(limit, "client_max_body_size 0;"))
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{own}/health/ready")
            yield f"http://127.0.0.1:{own}"
        finally:
            process.terminate()
            process.wait(PATIENCE)


def install() -> None:
    """Debian's nginx where there is none and the tests run as root, as on a machine of CI."""
    if shutil.which("nginx") or shutil.which("/usr/sbin/nginx") or os.geteuid() != 0:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", "nginx-light"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=90, check=False
        )
        if command is install and done.returncode == 0:
            return


def _wait_for(url: str) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.02)  # polling a start, not a race
    raise AssertionError("nginx did not get ready")
