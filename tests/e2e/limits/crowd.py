"""Many callers at once, each on a connection of its own, with what it costs to wait measured."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from tests.harness.gateway import Gateway

LONGEST = 30.0  # seconds after which an answer that does not come counts as a hang


class Answer(NamedTuple):
    """One answer; ``status`` is 0 where the connection ended instead. ``seconds`` is its latency."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    at: float  # time.perf_counter() when it was whole

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.document["error"]

    @property
    def code(self) -> str:
        """``200``, or status and error code: ``429 rate_limit_exceeded``."""
        return "200" if self.status == 200 else f"{self.status} {self.error['code']}"


def request(secret: str, body: dict[str, Any]) -> bytes:
    """A request as bytes; its connection closes after it."""
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {secret}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + content


async def ask(gateway: Gateway, secret: str, body: dict[str, Any]) -> Answer:
    """One request; TimeoutError where the gateway hangs."""
    data = request(secret, body)
    begun = time.perf_counter()
    async with asyncio.timeout(LONGEST):
        try:
            raw = await _exchange(gateway.port, data)
        except OSError:
            raw = b""
    now = time.perf_counter()
    gateway.check_leaks(raw)
    return _answer(raw, now - begun, now)


async def _exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read(-1)
    finally:
        writer.close()


def _answer(raw: bytes, seconds: float, at: float) -> Answer:
    head, mark, body = raw.partition(b"\r\n\r\n")
    if not mark:
        return Answer(0, {}, b"", seconds, at)
    line, *fields = head.decode("latin-1").split("\r\n")
    pairs = (field.partition(":") for field in fields)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    elif len(body) != int(headers["content-length"]):
        return Answer(0, headers, body, seconds, at)
    return Answer(int(line.split(" ")[1]), headers, body, seconds, at)


def _unchunked(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body += data[:length]
        data = data[length + 2 :]
    return body


async def volley(
    gateways: Sequence[Gateway], secret: str, bodies: Iterable[dict[str, Any]]
) -> list[Answer]:
    """All of them at once, spread over the gateways."""
    turns = itertools.cycle(gateways)
    return await asyncio.gather(*(ask(next(turns), secret, body) for body in bodies))


def shoot(
    gateways: Sequence[Gateway], secret: str, body: dict[str, Any], count: int
) -> list[Answer]:
    """``count`` identical requests at once, waited for."""
    return asyncio.run(volley(gateways, secret, [body] * count))


class Volley:
    """A volley on a thread, so that the test can act while it is under way."""

    def __init__(
        self, gateways: Sequence[Gateway], secret: str, body: dict[str, Any], count: int
    ) -> None:
        self.answers: list[Answer] = []
        self._came = threading.Condition()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(gateways, secret, body, count))
        self._thread.start()

    def wait_for(self, count: int) -> list[Answer]:
        """The answers so far, once there are that many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.answers) >= count, LONGEST), tally(
                self.answers
            )
            return list(self.answers)

    def finish(self) -> list[Answer]:
        self._thread.join(LONGEST * 2)
        assert not self._thread.is_alive()
        if self._failed is not None:
            raise self._failed
        return self.answers

    def _run(
        self, gateways: Sequence[Gateway], secret: str, body: dict[str, Any], count: int
    ) -> None:
        async def one(gateway: Gateway) -> None:
            answer = await ask(gateway, secret, body)
            with self._came:
                self.answers.append(answer)
                self._came.notify_all()

        async def everyone() -> None:
            turns = itertools.cycle(gateways)
            await asyncio.gather(*(one(next(turns)) for _ in range(count)))

        try:
            asyncio.run(everyone())
        except BaseException as error:  # noqa: BLE001 - raised again where the test waits
            self._failed = error


class Load:
    """Callers that ask again as soon as they are answered, from entry to exit.

    ``asks`` are (secret, body); each is asked by ``callers`` callers in turn over the gateways.
    """

    def __init__(
        self,
        gateways: Sequence[Gateway],
        asks: dict[str, tuple[str, dict[str, Any]]],
        callers: int,
    ) -> None:
        self.answers: dict[str, list[Answer]] = {name: [] for name in asks}
        self._gateways = gateways
        self._asks = asks
        self._callers = callers
        self._stopped = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(LONGEST * 2)
        assert not self._thread.is_alive()
        if self._failed is not None:
            raise self._failed

    def since(self, name: str, moment: float) -> list[Answer]:
        """What was answered after a moment (time.perf_counter())."""
        return [answer for answer in self.answers[name] if answer.at > moment]

    def _run(self) -> None:
        async def caller(name: str, number: int) -> None:
            secret, body = self._asks[name]
            gateway = self._gateways[number % len(self._gateways)]
            while not self._stopped.is_set():
                self.answers[name].append(await ask(gateway, secret, body))
                await asyncio.sleep(0.005)  # a steady load, not a race

        async def everyone() -> None:
            await asyncio.gather(
                *(caller(name, number) for name in self._asks for number in range(self._callers))
            )

        try:
            asyncio.run(everyone())
        except BaseException as error:  # noqa: BLE001 - raised again at exit
            self._failed = error


def tally(answers: Iterable[Answer]) -> Counter[str]:
    """How many answers of each kind."""
    return Counter(answer.code if answer.status else "no answer" for answer in answers)
