"""Callers that guess keys are slowed and not logged one by one; good keys beside them are not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

FREE = 3


@pytest.fixture
def wary(upstream: Upstream) -> Iterator[Gateway]:
    configuration = {
        "server": {
            "bad_keys_per_minute": FREE,
            "trusted_proxies": ["127.0.0.0/8"],
            "max_connections_per_address": 2,
        },
        "log": {"format": "json"},
        "providers": {"up": {"kind": "openai", "base_url": upstream.base_url}},
        "models": {"up": {"targets": [{"provider": "up", "model": "scripted"}]}},
        "tenants": {"t": {}},
        "keys": [{"id": "k", "tenant": "t", "secret": KEY}],
    }
    with Gateway(configuration) as gateway:
        yield gateway


def seconds_of_bad_keys(gateway: Gateway, count: int, client: str = "198.51.100.1") -> float:
    began = time.monotonic()
    for _ in range(count):
        said = gateway.get("/v1/models", "hg-nobody", {"x-forwarded-for": client})
        assert said.status == 401
    return time.monotonic() - began


def test_whoever_guesses_keys_waits_longer_each_time(wary: Gateway) -> None:
    seconds_of_bad_keys(wary, FREE)
    assert seconds_of_bad_keys(wary, 5) > 0.05 + 0.10 + 0.15 + 0.20 + 0.25
    # Another address behind the same proxy has its own count.
    assert seconds_of_bad_keys(wary, 1, "198.51.100.2") < 0.3


def test_a_good_key_from_the_same_address_does_not_wait(wary: Gateway) -> None:
    seconds_of_bad_keys(wary, FREE + 2)
    guessing = threading.Thread(target=seconds_of_bad_keys, args=(wary, 4))
    guessing.start()
    began = time.monotonic()
    for _ in range(5):
        headers = {"x-forwarded-for": "198.51.100.1"}
        assert wary.get("/v1/models", KEY, headers).status == 200
    assert time.monotonic() - began < 0.5  # the guesser waits for more than a second meanwhile
    guessing.join()


def test_guesses_are_not_logged_one_by_one(wary: Gateway) -> None:
    seconds_of_bad_keys(wary, FREE + 5)
    wary.line(wary.get("/v1/models").headers["x-request-id"])  # what came before is written too
    assert sum('"error":"invalid_api_key"' in line for line in wary.output) == FREE


def test_an_address_behind_a_proxy_has_so_many_requests_at_once(
    wary: Gateway, upstream: Upstream
) -> None:
    gate = upstream.gate()

    async def held(request: Any, wire: Any) -> None:
        await gate.wait()
        choice = {"text": "x", "index": 0, "logprobs": None, "finish_reason": "stop"}
        await wire.answer({"id": "c", "model": "m", "created": 1, "choices": [choice]})

    upstream.on("scripted", held)
    said: list[int] = []

    def ask(client: str) -> None:
        headers = {"x-forwarded-for": f"203.0.113.9, {client}"}
        said.append(wary.complete(model="up", headers=headers).status)

    callers = [threading.Thread(target=ask, args=("198.51.100.1",)) for _ in range(2)]
    callers.append(threading.Thread(target=ask, args=("198.51.100.2",)))
    for caller in callers:
        caller.start()
    upstream.wait_for(3)
    # What a caller writes into the header itself, before what the proxy appends, does not count.
    refused = wary.complete(model="up", headers={"x-forwarded-for": "1.2.3.4, 198.51.100.1"})
    assert (refused.status, refused.error["code"]) == (429, "too_many_connections")
    gate.open()
    for caller in callers:
        caller.join()
    assert said == [200, 200, 200]
