"""A real gateway in a process of its own, and the ways in which tests speak to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Self

import httpx

from tests.harness.upstream import PATIENCE

PRIVATE = "wombat"  # stands in every prompt and answer, so that a log line with it is a leak
PROMPT = f"tell me of a {PRIVATE}"
PROVIDER_KEY = "sk-upstream-51f0a9d2c7e84b36"
OPERATOR_SECRET = "op-header-7d1c02b9e6f34a58"

KEY = "hg-all-3f9c1d7a5e2b4860"
KEYS = {
    "all": KEY,
    "expired": "hg-expired-71b2c3d4e5f60718",
    "later": "hg-later-0a1b2c3d4e5f6071",
    "embedder": "hg-embedder-9a8b7c6d5e4f3021",
    "team": "hg-team-5566778899aabbcc",
    "new-secret": "hg-rotated-new-1122334455667788",
    "old-secret": "hg-rotated-old-8877665544332211",
    "hashed": "hg-hashed-0123456789abcdef",
}


class Reply:
    """A whole HTTP answer."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.body = response.content

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error = self.document["error"]
        assert {"message", "type", "code", "param"} <= set(error)
        assert error["code"] is None or isinstance(error["code"], str)
        assert isinstance(error["message"], str)
        assert error["message"]
        return error

    @property
    def texts(self) -> list[str]:
        return [choice["text"] for choice in self.document["choices"]]

    @property
    def payloads(self) -> list[bytes]:
        """The events of a stream, each of which must be exactly `data: …` and an empty line."""
        *events, rest = self.body.split(b"\n\n")
        assert rest == b""
        assert all(event.startswith(b"data: ") and b"\n" not in event for event in events)
        return [event.removeprefix(b"data: ") for event in events]

    @property
    def done(self) -> bool:
        return self.payloads[-1:] == [b"[DONE]"]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The chunks of a stream that must have ended well."""
        *payloads, done = self.payloads
        assert done == b"[DONE]"
        assert b"[DONE]" not in payloads
        return [json.loads(payload) for payload in payloads]

    def streamed_texts(self) -> dict[int, str]:
        texts: dict[int, str] = {}
        for chunk in self.chunks:
            for choice in chunk["choices"]:
                texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        return texts


class RawAnswer:
    """An answer read from a bare socket; None of it is there where the peer only closed."""

    def __init__(self, head: bytes, body: bytes) -> None:
        line, *fields = head.split(b"\r\n")
        self.status = int(line.split(b" ")[1])
        self.headers = {
            name.decode().lower(): value.strip().decode()
            for name, _, value in (field.partition(b":") for field in fields)
        }
        self.body = body

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


class RawConnection:
    """A bare socket to the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._socket = socket.create_connection(("127.0.0.1", gateway.port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_all_it_takes(self, data: bytes) -> None:
        """Send; a peer that has had enough may close before it is all out."""
        try:
            self._socket.sendall(data)
        except OSError:
            return

    def answer(self, *, head_only: bool = False) -> RawAnswer | None:
        """The next answer, or None where the connection ends instead."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        answer = RawAnswer(head, b"")
        if head_only:
            return answer
        if "content-length" in answer.headers:
            answer.body = self._take(int(answer.headers["content-length"]))
        elif answer.headers.get("transfer-encoding") == "chunked":
            while size := int(self._line(), 16):
                answer.body += self._take(size)
                self._line()
            self._line()
        self._gateway.check_leaks(head + answer.body)
        return answer

    def answer_within(self, seconds: float) -> RawAnswer | None:
        """The next answer; TimeoutError where it takes longer."""
        self._socket.settimeout(seconds)
        try:
            return self.answer()
        finally:
            self._socket.settimeout(PATIENCE)

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with ``mark``, framing included."""
        while mark not in self._buffer:
            assert self._more(), f"the connection ended before {mark!r}"
        before, _, self._buffer = self._buffer.partition(mark)
        return before + mark

    def read_to_end(self) -> bytes:
        while self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    def read_to_end_within(self, seconds: float) -> bytes:
        """What comes until the end, or until nothing has come for so long."""
        self._socket.settimeout(seconds)
        try:
            return self.read_to_end()
        except TimeoutError:
            return self._buffer
        finally:
            self._socket.settimeout(PATIENCE)

    @property
    def ended(self) -> bool:
        """Whether the gateway closes without saying more; waits for one of the two."""
        return not self._buffer and not self._more()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            assert self._more(), "the connection ended inside a body"
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            assert self._more(), "the connection ended inside a body"
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line


class Gateway:
    """The process; use as a context manager."""

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
        self.leaks: list[str] = []
        self._upstreams = frozenset(secrets) - {*KEYS.values()}
        self._secrets = [*secrets, *KEYS.values(), PROVIDER_KEY, OPERATOR_SECRET]
        self._addresses = addresses
        self._directory = tempfile.TemporaryDirectory()
        self.file = Path(self._directory.name) / "gateway.yaml"
        self._lines: list[str] = []
        self.errors: list[str] = []
        self._line_came = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._threads: list[threading.Thread] = []
        self._client = httpx.Client(
            timeout=PATIENCE, trust_env=False, limits=httpx.Limits(max_connections=None)
        )

    def __enter__(self) -> Self:
        self.write(self.configuration)
        # A proxy in the environment must not be used; one that does not answer shows if it is.
        nowhere = "http://127.0.0.1:1"
        proxies = {"HTTP_PROXY": nowhere, "http_proxy": nowhere, "ALL_PROXY": nowhere}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "app.cli", "serve"),
                *("--config", str(self.file), "--port", str(self.port)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | proxies | self._environment,
            cwd=Path(__file__).parents[2],
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
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
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
        self.check_leaks(response.content + b"".join(v for _, v in response.headers.raw))
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

    @contextmanager
    def raw(self) -> Iterator[RawConnection]:
        connection = RawConnection(self)
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

    def check_leaks(self, data: bytes) -> None:
        """Fail where what left the gateway holds a secret or an upstream's address."""
        text = data.decode(errors="replace")
        assert not [word for word in [*self._secrets, *self._addresses] if word in text]

    def _keep_line(self, line: str) -> None:
        forbidden = [*self._secrets, *([] if self._logs_prompts else [PRIVATE])]
        if '"event":"upstream_not_found"' in line:  # tells the operator which address is wrong
            forbidden = [word for word in forbidden if word not in self._upstreams]
        with self._line_came:
            self._lines.append(line)
            self.leaks += [f"{word} in {line}" for word in forbidden if word in line]
            self._line_came.notify_all()

    def _keep_error(self, line: str) -> None:
        with self._line_came:
            self.errors.append(line)
            self.leaks += [
                f"{word} in {line}" for word in [*self._secrets, PRIVATE] if word in line
            ]
            self._line_came.notify_all()

    @property
    def _logs_prompts(self) -> bool:
        return bool(self.configuration.get("log", {}).get("prompts"))

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + PATIENCE * 2
        while time.monotonic() < end:
            assert self._process.poll() is None, "the gateway ended: " + "\n".join(self.errors)
            try:
                if self._client.get(self.url + "/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)  # polling a start, not a race
        raise AssertionError("the gateway did not get ready: " + "\n".join(self.errors))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raw_request(
    body: bytes = b"",
    *,
    method: str = "POST",
    path: str = "/v1/completions",
    headers: Sequence[str] = (),
    length: bool = True,
) -> bytes:
    """A request with a good key as bytes; ``headers`` are whole lines."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {KEY}",
        "content-type: application/json",
        *headers,
    ]
    if length:
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


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
