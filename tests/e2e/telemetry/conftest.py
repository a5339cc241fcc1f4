"""A gateway of two workers over Redis, in which everything happened that metrics tell of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import httpx
import pytest

from tests.e2e.semantic.asking import PARAPHRASE, QUESTION
from tests.harness.configuration import PRICE, openai, target
from tests.harness.credentials import COLLEAGUE, KEY
from tests.harness.gateway import Gateway, free_port, open_gateway
from tests.harness.metrics import Series, parsed
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

VERIFY = {"tier1": 1, "control": 1, "usd_per_day": 100}


class Scraped(NamedTuple):
    """A gateway, and where its management listener is."""

    gateway: Gateway
    port: int

    def page(self, path: str) -> Series:
        url = f"http://127.0.0.1:{self.port}{path}"
        return parsed(httpx.get(url, trust_env=False, timeout=10).raise_for_status().text)


def configuration(upstream: Upstream, redis: RedisServer, port: int, dead: int) -> dict[str, Any]:
    meaning = {"enabled": True, "tier1b": False, "verify": VERIFY}
    return {
        "server": {"workers": 2, "shutdown_grace": "5s", "management": {"port": port}},
        "log": {"format": "json"},
        "store": {"url": redis.url, "timeout": "500ms"},
        "cache": {"shelf_size": 0},
        "providers": {
            "main": openai(upstream.base_url),
            "dead": openai(f"http://127.0.0.1:{dead}/v1"),
        },
        "models": {
            "house": target("main", "native", price=PRICE, cache={}),
            "meaning": target("main", "up", price=PRICE, cache={"semantic": meaning}),
            "down": {"targets": [{"provider": "dead", "model": "gone"}], "price": PRICE},
        },
        "limits": {"few": {"requests_per_minute": 1}},
        "budgets": {"daily": {"usd": 100, "per": "day"}},
        "guardrails": {"words": {"kind": "keywords", "words": ["forbidden"], "mode": "observe"}},
        "tenants": {"acme": {"budget": "daily"}},
        "keys": [
            {"id": "all", "tenant": "acme", "secret": KEY, "budget": "daily"},
            {"id": "colleague", "tenant": "acme", "secret": COLLEAGUE, "limits": "few"},
        ],
    }


@pytest.fixture(scope="module")
def scraped(the_upstream: Upstream, server: RedisServer, closed_port: int) -> Iterator[Scraped]:
    the_upstream.reset()
    port = free_port()
    settings = configuration(the_upstream, server, port, closed_port)
    with open_gateway(settings, the_upstream) as gateway:
        happen(gateway)
        found = Scraped(gateway, port)
        error = "headgate_semantic_shadow_error"
        eventually(lambda: any(name == error for name, _ in found.page("/metrics/shared")))
        yield found


def happen(gateway: Gateway) -> None:
    """One of everything: streams, hits, refusals, failures, hits by meaning."""
    for number in range(4):
        prompt = f"tell me {number}"
        for stream in (True, False):
            reply = gateway.complete(model="house", prompt=prompt, temperature=0, stream=stream)
            assert reply.status == 200, reply.body
        assert gateway.complete(model=f"junk-{number}").status == 404
    assert gateway.complete(model="house", prompt="what is forbidden").status == 200
    statuses = {gateway.complete(COLLEAGUE, model="house").status for _ in range(2)}
    assert 429 in statuses
    for _ in range(6):
        assert gateway.complete(model="down").status in (502, 503)
    for prompt in (QUESTION, PARAPHRASE):
        gateway.complete(model="meaning", prompt=prompt, temperature=0)
        eventually(partial(_cached, gateway, prompt), "hit")


def _cached(gateway: Gateway, prompt: str) -> str | None:
    reply = gateway.complete(model="meaning", prompt=prompt, temperature=0)
    found: str | None = reply.headers.get("x-headgate-cache")
    return found
