"""A real gateway in a process of its own, and the ways in which tests speak to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Self

import httpx

from tests.harness import forked
from tests.harness.credentials import (
    KEY,
    KEYS,
    OPERATOR_SECRET,
    PROVIDER_KEY,
)
from tests.harness.prompts import PRIVATE, PROMPT
from tests.harness.raw_connection import RawConnection
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE

STARTED = 60.0  # seconds within which a gateway is ready, on a busy machine


class Gateway:
    """The process; use as a context manager, which fails where anything private was written."""

    def __init__(
        self,
        configuration: dict[str, Any],
        secrets: Sequence[str] = (),
        addresses: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """No ``secrets`` may leave it; ``addresses`` may stand in its log, and in no answer."""
        self.configuration = configuration
        self._environment = environment
        self.port = free_port()
        self._leaks: list[str] = []
        self._upstreams = frozenset(secrets) - {*KEYS.values()}
        self._secrets = [*secrets, *KEYS.values(), PROVIDER_KEY, OPERATOR_SECRET]
        self._addresses = addresses
        self._directory = tempfile.TemporaryDirectory()
        self.file = Path(self._directory.name) / "gateway.yaml"
        self._lines: list[str] = []
        self.errors: list[str] = []
        self._line_came = threading.Condition()
        self._process: forked.Forked | subprocess.Popen[str] | None = None
        self._threads: list[threading.Thread] = []
        self._client = httpx.Client(
            timeout=PATIENCE, trust_env=False, limits=httpx.Limits(max_connections=None)
        )

    def __enter__(self) -> Self:
        self.write(self.configuration)
        # A proxy in the environment must not be used; one that does not answer shows if it is.
        nowhere = "http://127.0.0.1:1"
        proxies = {"HTTP_PROXY": nowhere, "http_proxy": nowhere, "ALL_PROXY": nowhere}
        self._process = forked.start(
            ["serve", "--config", str(self.file), "--port", str(self.port)],
            os.environ | proxies | self._environment,
        )
        for stream, keep in (
            (self._process.stdout, self._keep_line),
            (self._process.stderr, self._keep_error),
        ):
            thread = threading.Thread(target=_read_lines, args=(stream, keep), daemon=True)
            thread.start()
            self._threads.append(thread)
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        self._stop()
        if kind is None:
            self.check_output()

    def _stop(self) -> None:
        assert self._process is not None
        self._client.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # which waits for no balancer
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._directory.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> httpx.Client:
        return self._client

    def write(self, configuration: dict[str, Any]) -> None:
        """Put this into the file that the gateway was started with."""
        self.file.write_text(json.dumps(configuration))  # JSON is YAML

    def memory(self) -> int:
        """Resident bytes of the process and its workers (Linux)."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        total = 0
        for pid in [str(self._process.pid), *children.read_text().split()]:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            total += pages * os.sysconf("SC_PAGE_SIZE")
        return total

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait_for_exit(self, seconds: float = PATIENCE) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    # Asking.

    def complete(self, key: str = KEY, headers: Any = (), **fields: Any) -> Reply:
        """POST /v1/completions with a good request, changed by ``fields``."""
        return self.send({"model": "native", "prompt": PROMPT} | fields, key, headers)

    def send(self, body: Any, key: str | None = KEY, headers: Any = ()) -> Reply:
        """POST /v1/completions with this body; bytes go out as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"content-type": "application/json"} | dict(headers)
        return self.ask("POST", "/v1/completions", key, fields, content)

    def get(self, path: str, key: str | None = KEY, headers: Any = ()) -> Reply:
        return self.ask("GET", path, key, headers)

    def ask(
        self,
        method: str,
        path: str,
        key: str | None = KEY,
        headers: Any = (),
        content: bytes | None = None,
    ) -> Reply:
        fields = list(dict(headers).items())
        if key is not None:
            fields.append(("authorization", f"Bearer {key}"))
        response = self._client.request(method, self.url + path, headers=fields, content=content)
        said = response.content + b"".join(v for _, v in response.headers.raw)
        self.check_leaks(said, to_operators=path.startswith("/health/"))
        return Reply(response)

    @contextmanager
    def stream(self, **fields: Any) -> Iterator[Iterator[bytes]]:
        """A streamed request; gives the payloads of its events one by one, as they come."""
        body = {"model": "native", "prompt": PROMPT, "stream": True} | fields
        headers = {"authorization": f"Bearer {KEY}"}
        with self._client.stream(
            "POST", self.url + "/v1/completions", json=body, headers=headers
        ) as response:
            assert response.status_code == 200, response.read()
            yield _payloads(response)

    def connect(self) -> RawConnection:
        """A bare socket to it, which the caller closes."""
        return RawConnection(self.port, self.check_leaks)

    @contextmanager
    def raw(self) -> Iterator[RawConnection]:
        connection = self.connect()
        try:
            yield connection
        finally:
            connection.close()

    # What it wrote.

    def line(self, request_id: str) -> dict[str, Any]:
        """The log line of a request, waited for."""
        return self.lines(request_id, 1)[0]

    def lines(self, request_id: str, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found[:] = [
                line
                for text in self._lines
                if request_id in text and (line := json.loads(text)).get("request_id") == request_id
            ]
            return len(found) >= count

        with self._line_came:
            assert self._line_came.wait_for(enough, PATIENCE), f"no log line for {request_id}"
        return found

    @property
    def output(self) -> list[str]:
        """Every line on standard output so far."""
        with self._line_came:
            return list(self._lines)

    def wait_for_error(self, text: str) -> str:
        """The first line on standard error that holds ``text``, waited for."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [line for line in self.errors if text in line]
            return bool(found)

        with self._line_came:
            assert self._line_came.wait_for(there, PATIENCE), f"never said {text!r}"
        return found[0]

    def check_leaks(self, data: bytes, *, to_operators: bool = False) -> None:
        """Fail where what left the gateway holds a secret or an address; operators are told those."""
        text = data.decode(errors="replace")
        forbidden = [*self._secrets, *self._addresses]
        if to_operators:
            known = {*self._upstreams, *self._addresses}
            forbidden = [word for word in forbidden if word not in known]
        assert not [word for word in forbidden if word in text]

    def check_output(self) -> None:
        """Fail where anything private stands in a line that was written since the last look."""
        with self._line_came:
            leaks, self._leaks = self._leaks, []
        assert leaks == []

    def _keep_line(self, line: str) -> None:
        forbidden = [*self._secrets, *([] if self._logs_prompts else [PRIVATE])]
        if '"event":"upstream_' in line:  # tells the operator which address is wrong
            forbidden = [word for word in forbidden if word not in self._upstreams]
        with self._line_came:
            self._lines.append(line)
            self._leaks += [f"{word} in {line}" for word in forbidden if word in line]
            self._line_came.notify_all()

    def _keep_error(self, line: str) -> None:
        with self._line_came:
            self.errors.append(line)
            self._leaks += [
                f"{word} in {line}" for word in [*self._secrets, PRIVATE] if word in line
            ]
            self._line_came.notify_all()

    @property
    def _logs_prompts(self) -> bool:
        return bool(self.configuration.get("log", {}).get("prompts"))

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + STARTED
        while time.monotonic() < end:
            assert self._process.poll() is None, "the gateway ended: " + "\n".join(self.errors)
            try:
                if self._client.get(self.url + "/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)  # polling a start, not a race
        raise AssertionError("the gateway did not get ready: " + "\n".join(self.errors))


def open_gateway(settings: dict[str, Any], upstream: Upstream) -> Gateway:
    """A gateway before an upstream whose address nobody is told."""
    return Gateway(settings, [upstream.address])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _payloads(response: httpx.Response) -> Iterator[bytes]:
    rest = b""
    for packet in response.iter_raw():
        *events, rest = (rest + packet).split(b"\n\n")
        for event in events:
            yield event.removeprefix(b"data: ")


def _read_lines(stream: IO[str] | None, keep: Any) -> None:
    assert stream is not None
    with stream:
        for line in stream:
            keep(line.rstrip("\n"))
