"""A request that is refused before its body was read harms nobody: not the next, nor its neighbour."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import httpx

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.nginx_server import nginx_before
from tests.harness.raw_connection import RawConnection, raw_request
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE

SIZES = [10, 1_000, 60_000, 300_000, 900_000]
KINDS = {
    401: {"key": "hg-nobody"},
    404: {"path": "/nowhere"},
    405: {"method": "PUT"},
    413: {},
    415: {"headers": ["content-encoding: gzip"]},
}


def refused(status: int, size: int) -> bytes:
    """A request that is refused with ``status`` whatever its body of ``size`` bytes says."""
    kind: dict[str, Any] = dict(KINDS[status])
    key = kind.pop("key", KEY)
    if status == 413:
        size += 1 << 20
    return raw_request(b"x" * size, **kind).replace(KEY.encode(), key.encode(), 1)


class Caller:
    """Asks on one connection for as long as the gateway keeps it; counts what fails."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._connection: RawConnection | None = None
        self.failures: Counter[str] = Counter()

    def ask(self, data: bytes, status: int) -> None:
        connection = self._connection or self._gateway.connect()
        self._connection = None
        try:
            connection.send(data)
        except OSError:
            self.failures[f"{status} not sent"] += 1
        answer = connection.answer()
        if answer is None or answer.status != status:
            self.failures[f"{status} answered {answer and answer.status}"] += 1
        if answer is not None and answer.headers.get("connection") != "close":
            self._connection = connection
        else:
            connection.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def test_of_1000_refused_bodies_none_breaks_what_follows(gateway: Gateway) -> None:
    caller = Caller(gateway)
    live = raw_request(method="GET", path="/health/live")
    for turn in range(500):
        caller.ask(refused(list(KINDS)[turn % 5], SIZES[turn // 5 % 5]), list(KINDS)[turn % 5])
        caller.ask(live, 200)
    caller.close()
    assert caller.failures == {}


def test_refused_bodies_behind_nginx_harm_nobody_else(gateway: Gateway, upstream: Upstream) -> None:
    """nginx gives the connection of one caller's refused request to the next caller."""
    failures: Counter[str] = Counter()
    good = {"model": "native", "prompt": "x"}

    def ask(client: httpx.Client, status: int, size: int) -> int:
        kind: dict[str, Any] = {"path": "/v1/completions", "method": "POST"} | KINDS[status]
        headers = {"authorization": f"Bearer {kind.get('key', KEY)}"}
        headers |= dict(line.split(": ") for line in kind.get("headers", ()))
        content = b"x" * (size + (status == 413) * (1 << 20))
        url = kind["path"]
        return client.request(kind["method"], url, content=content, headers=headers).status_code

    def crowd(url: str) -> None:
        key = {"authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
            for turn in range(150):
                status, size = list(KINDS)[turn % 5], SIZES[turn // 5 % 5]
                if (said := ask(client, status, size)) != status:
                    failures[f"{status} of {size} bytes: {said}"] += 1
                if (
                    said := client.post("/v1/completions", json=good, headers=key).status_code
                ) != 200:
                    failures[f"good: {said}"] += 1

    with nginx_before(gateway.port) as url:
        threads = [threading.Thread(target=crowd, args=(url,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == {}
