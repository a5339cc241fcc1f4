"""Gateways with caches, over a store in the process and over a real Redis, and how tests ask them."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.wire.conftest import openai, target
from tests.harness.gateway import KEY, KEYS, PROMPT, Gateway, Reply, free_port
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import PATIENCE, Upstream

PRICE = {"input_per_million": 1000, "output_per_million": 1000}
TOKEN = 1_000_000  # nano-dollars a token costs at that price

COLLEAGUE = "hg-colleague-0123456789abcdef"  # another key of the tenant of KEY
STRANGER = "hg-stranger-0123456789abcdef"  # a key of another tenant
ONLY_CACHED = {"cache-control": "only-if-cached"}

_numbers = itertools.count()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer.start() as server:
        yield server


@pytest.fixture(scope="session")
def cache_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(cache_upstream: Upstream) -> Iterator[Upstream]:
    cache_upstream.reset()
    yield cache_upstream
    cache_upstream.reset()


@pytest.fixture
def prompt() -> str:
    """A prompt that nobody asked before."""
    return unseen()


def unseen() -> str:
    return f"{PROMPT} {os.getpid()}-{next(_numbers)}"


def configuration(url: str, upstream: Upstream, **sections: Any) -> dict[str, Any]:
    """Models by what is special about their cache; all but two ask for the upstream's `up`."""
    quick = {"connect": "1s", "first_byte": "250ms", "idle": "250ms", "total": "20s"}

    def cached(provider: str = "main", name: str = "up", **cache: Any) -> dict[str, Any]:
        return target(provider, name, price=PRICE, cache=cache)

    return {
        "server": {"shutdown_grace": "5s"},
        "log": {"format": "json"},
        "store": {"url": url},
        "cache": {"shelf_size": 0},
        "providers": {
            "main": openai(upstream.base_url),
            "quick": openai(upstream.base_url, timeouts=quick),
            "nobody": openai(f"http://127.0.0.1:{free_port()}/v1"),
        },
        "models": {
            "cached": cached(),
            "twin": cached(),
            "uncached": target("main", "up", price=PRICE),
            "disabled": cached(exact={"enabled": False}),
            "chat": cached() | {"completions": "chat"},
            "loose": cached(normalize="loose"),
            "literal": cached(normalize="none"),
            "everybody": cached(scope="global"),
            "by-key": cached(scope="key"),
            "bypassed": cached(sampled="bypass"),
            "small": cached(exact={"max_entry": "2KiB"}),
            "brief": cached(exact={"ttl": "150ms", "stale_if_error": "0s"}),
            "capped": cached(exact={"ttl": "1s", "max_ttl": "1s", "stale_if_error": "0s"}),
            "renewed": cached(exact={"ttl": "150ms", "stale_while_revalidate": "1h"}),
            "backed": cached("quick", exact={"ttl": "150ms", "stale_if_error": "1h"}),
            "backed-chat": cached("quick", exact={"ttl": "150ms", "stale_if_error": "1h"})
            | {"completions": "chat"},
            "windowed": cached("quick", exact={"ttl": "100ms", "stale_if_error": "300ms"}),
        },
        "tenants": {"acme": {}, "other": {}},
        "keys": [
            {"id": "all", "tenant": "acme", "secret": KEY},
            {"id": "colleague", "tenant": "acme", "secret": COLLEAGUE},
            {"id": "stranger", "tenant": "other", "secret": STRANGER},
            {"id": "team", "tenant": "acme", "secret": KEYS["team"], "cache_ttl": "300ms"},
            {"id": "hashed", "tenant": "acme", "secret": KEYS["hashed"], "cache_ttl": "0s"},
        ],
    } | sections


@pytest.fixture(scope="session", params=["memory", "redis"])
def store_url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture(scope="session")
def the_gateway(store_url: str, cache_upstream: Upstream) -> Iterator[Gateway]:
    with open_gateway(configuration(store_url, cache_upstream), cache_upstream) as gateway:
        yield gateway


@pytest.fixture
def gateway(the_gateway: Gateway) -> Iterator[Gateway]:
    """Over each of the stores; a test fails where anything private stood in what it wrote."""
    yield the_gateway
    leaks, the_gateway.leaks = the_gateway.leaks, []
    assert leaks == []


def open_gateway(settings: dict[str, Any], upstream: Upstream) -> Gateway:
    return Gateway(settings, [upstream.address, COLLEAGUE, STRANGER])


def ask(gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any) -> Reply:
    """A request to `cached`, unless another model is named."""
    return gateway.send({"model": "cached", "prompt": prompt} | fields, key, headers)


def how(reply: Reply) -> str | None:
    """What the cache did."""
    assert reply.status == 200, reply.body
    found: str | None = reply.headers.get("x-headgate-cache")
    return found


def warm(gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any) -> Reply:
    """Ask, and wait until the answer is kept: that is not waited for by the gateway itself."""
    reply = ask(gateway, prompt, key, headers, **fields)
    assert reply.status == 200, reply.body
    wait_kept(gateway, prompt, key, headers, **fields)
    return reply


def wait_kept(gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any):
    only = dict(headers) | ONLY_CACHED
    eventually(lambda: ask(gateway, prompt, key, only, **fields).status == 200)


def is_kept(
    gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any
) -> bool:
    """Whether a fresh answer is there; another answer is kept first, so that it had its time."""
    warm(gateway, unseen(), key)
    reply = ask(gateway, prompt, key, dict(headers) | ONLY_CACHED, **fields)
    if reply.status == 504:
        assert reply.error["code"] == "not_cached"
    return reply.status == 200


def expired(gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any):
    """Wait until the kept answer is not fresh any more."""
    only = dict(headers) | ONLY_CACHED
    eventually(lambda: ask(gateway, prompt, key, only, **fields).status == 504)


def eventually(is_so: Callable[[], bool], within: float = PATIENCE) -> None:
    end = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.01)  # polling for an event, with a deadline


def saying(text: str, reason: str | None = "stop", **more: Any):
    """A script that answers so, plain or streamed as asked, and counts its tokens."""
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    body = {"id": "cmpl-9", "object": "text_completion", "created": 1700000000, "model": "up"}
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}

    async def script(request, wire):
        whole = body | {"choices": [choice]} | more
        if not request.document.get("stream"):
            await wire.answer({"usage": usage} | whole)
            return
        await wire.begin_stream()
        await wire.event(whole)
        await wire.event(body | {"choices": [], "usage": usage})
        await wire.event(b"[DONE]")
        await wire.end_stream()

    return script


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``headgate`` with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=PATIENCE * 3,
        check=False,
    )
