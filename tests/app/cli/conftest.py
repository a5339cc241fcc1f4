"""A real `headgate serve` as a child process, its lines, and free ports."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

PATIENCE = 20.0  # seconds that anything may take on a busy machine
KEY = "0123456789abcdef-cli"
MODULE = [sys.executable, "-m", "headgate"]

# A speed at which a stream of 40 tokens takes two seconds.
CONFIG = """\
server: {{port: {port}, workers: {workers}, shutdown_grace: 15s, shutdown_delay: {delay}{more}}}
store: {{url: "{store}"}}
providers:
  slow: {{kind: simulator, tokens_per_second: 20}}
  fast: {{kind: simulator}}
models:
  slow: {{targets: [{{provider: slow, model: simulator-1}}]}}
  {alias}: {{targets: [{{provider: fast, model: simulator-1}}]}}
tenants: {{t: {{}}}}
keys: [{{id: k, tenant: t, secret: {key}}}]
"""


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of ``condition``, asked again and again."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not happen: {what}")


class Lines:
    """The lines of a pipe, as they come."""

    def __init__(self, pipe: Any) -> None:
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: Any) -> None:
        with pipe:
            for line in pipe:
                with self._news:
                    self._lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def all(self) -> list[str]:
        with self._news:
            return list(self._lines)

    def text(self) -> str:
        return "\n".join(self.all())

    def wait(self, part: str, times: int = 1) -> str:
        """The line with ``part`` in it, once there are so many of them."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [line for line in self._lines if part in line]
            return len(found) >= times or self._over

        with self._news:
            self._news.wait_for(there, PATIENCE)
            assert len(found) >= times, f"no line with {part!r} in {self._lines}"
        return found[times - 1]

    def join(self) -> None:
        self._thread.join(PATIENCE)


class Gateway:
    """One running `headgate serve`."""

    def __init__(self, port: int, arguments: list[str], environment: dict[str, str]) -> None:
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        inherited = {name: v for name, v in os.environ.items() if name != "HEADGATE_CONFIG"}
        self.process = subprocess.Popen(
            [*MODULE, "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=inherited | environment,
            start_new_session=True,
        )
        self.out = Lines(self.process.stdout)
        self.err = Lines(self.process.stderr)

    def ready(self) -> Gateway:
        wait_for(self._answers, "the gateway answers")
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.err.text()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.base}/health/live", trust_env=False).status_code == 200
        return False

    def get(self, path: str, key: str = KEY) -> httpx.Response:
        """A request over its own connection."""
        headers = {"authorization": f"Bearer {key}"}
        return httpx.get(self.base + path, headers=headers, trust_env=False, timeout=PATIENCE)

    def generation(self) -> str:
        return self.get("/health/live").headers["x-headgate-config"]

    def complete(self, **members: Any) -> httpx.Response:
        body = {"model": "slow", "prompt": "p"} | members
        headers = {"authorization": f"Bearer {KEY}"}
        return httpx.post(
            f"{self.base}/v1/completions",
            json=body,
            headers=headers,
            trust_env=False,
            timeout=PATIENCE,
        )

    @contextlib.contextmanager
    def stream(self, tokens: int) -> Iterator[tuple[httpx.Response, Iterator[str]]]:
        """A stream that has begun: its answer, and its events from the second on."""
        body = {"model": "slow", "prompt": "p", "stream": True, "max_tokens": tokens}
        headers = {"authorization": f"Bearer {KEY}"}
        with httpx.stream(
            "POST",
            f"{self.base}/v1/completions",
            json=body,
            headers=headers,
            trust_env=False,
            timeout=PATIENCE,
        ) as response:
            events = (line for line in response.iter_lines() if line)
            assert next(events).startswith("data: {")
            yield response, events

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def workers(self) -> list[int]:
        """The process ids of the workers: children that listen, not Python's own helpers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [
            int(child)
            for child in children
            if "resource_tracker" not in Path(f"/proc/{child}/cmdline").read_text()
        ]

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        self.out.join()
        self.err.join()
        return code

    def stop(self) -> None:
        """End it and whatever it left behind in its own process group."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.out.join()
        self.err.join()


class ConfigFile:
    """A configuration in a file, whose alias can be changed."""

    def __init__(self, path: Path, **facts: Any) -> None:
        self.path = path
        self._facts = {"key": KEY} | facts
        self.write("first")

    def write(self, alias: str) -> None:
        self.path.write_text(CONFIG.format(alias=alias, **self._facts))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path]]:
    """One gateway on its built-in configuration, greeted, and where it keeps its files."""
    place, port = tmp_path_factory.mktemp("files"), free_port()
    gateway = Gateway(port, ["--port", str(port)], {"TMPDIR": str(place)})
    try:
        gateway.ready().err.wait("Ctrl-C stops it")
        yield gateway, place
    finally:
        gateway.stop()


@pytest.fixture
def config(tmp_path: Path, port: int) -> Callable[..., ConfigFile]:
    def make(
        workers: int = 1, store: str = "memory://", delay: str = "0s", **server: Any
    ) -> ConfigFile:
        more = "".join(f", {name}: {value}" for name, value in server.items())
        return ConfigFile(
            tmp_path / "gateway.yaml",
            port=port,
            workers=workers,
            store=store,
            delay=delay,
            more=more,
        )

    return make


@pytest.fixture
def serve(port: int) -> Iterator[Callable[..., Gateway]]:
    running: list[Gateway] = []

    def start(*arguments: Any, **environment: str) -> Gateway:
        gateway = Gateway(port, [str(argument) for argument in arguments], environment)
        running.append(gateway)
        return gateway

    yield start
    for gateway in running:
        gateway.stop()


@pytest.fixture
def until() -> Callable[[Callable[[], Any], str], Any]:
    return wait_for
