"""A real Prometheus, and its promtool: what the machine has, else Debian's package, unpacked only."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.harness.gateway import free_port
from tests.harness.redis_install import FOLDER
from tests.harness.waiting import eventually

SECONDS = 60.0


@cache
def program(name: str) -> Path:
    """``prometheus`` or ``promtool``; the test is skipped where neither way leads to it."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    folder = FOLDER / "prometheus"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "prometheus.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may start at once
        if not (folder / "usr/bin" / name).exists():
            _unpack(folder)
    return folder / "usr/bin" / name


def _unpack(folder: Path) -> None:
    """apt-get checks the package's signature and hash; nothing is installed."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as temporary:
        try:
            download = ["apt-get", "download", "prometheus"]
            subprocess.run(download, cwd=temporary, capture_output=True, timeout=180, check=True)
            [package] = Path(temporary).glob("prometheus_*.deb")
            whole = Path(temporary) / "whole"
            subprocess.run(["dpkg-deb", "-x", package, whole], capture_output=True, check=True)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            pytest.skip(f"no prometheus: {type(error).__name__}; apt-get install prometheus")
        whole.rename(folder)


class Prometheus:
    """The server, scraping ``jobs`` (path and port by the job's name) each half second."""

    def __init__(self, jobs: dict[str, tuple[str, int]], folder: Path) -> None:
        self._port = free_port()
        self._file = folder / "prometheus.yml"
        self._data = folder / "data"
        scrapes = [
            {
                "job_name": name,
                "metrics_path": path,
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
            for name, (path, port) in jobs.items()
        ]
        document = {"global": {"scrape_interval": "500ms"}, "scrape_configs": scrapes}
        self._file.write_text(json.dumps(document))  # JSON is YAML
        self._said = folder / "said"
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", trust_env=False)

    def __enter__(self) -> Self:
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={self._file}",
                    f"--storage.tsdb.path={self._data}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=said,
                stderr=said,
            )
        eventually(self._is_ready, within=SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait(SECONDS)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._said.read_text()
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def answers(self, expression: str) -> bool:
        return bool(self.ask(expression))

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series that answer an expression now; fails where it is none."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found
