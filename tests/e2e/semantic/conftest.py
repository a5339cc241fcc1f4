"""Gateways that answer by meaning, over each kind of store, and an upstream that also embeds."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cache.stores import server_of
from tests.e2e.cache.conftest import COLLEAGUE, ONLY_CACHED, PRICE, STRANGER, eventually
from tests.e2e.wire.conftest import openai, target
from tests.harness.gateway import KEY, PRIVATE, Gateway, Reply
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Script, Upstream

QUESTION = f"How do I feed a {PRIVATE} in winter?"
PARAPHRASE = f"please, how do i feed {PRIVATE}s in winter"  # one canonical key with QUESTION
STRESSED = f"How do I actually feed a {PRIVATE} in winter?"  # another key; the guard allows it

ODD = 'say "it"\\once'  # an alias as bad for a label as a file can hold

_numbers = itertools.count()


@pytest.fixture(scope="session")
def redis7() -> Iterator[RedisServer]:
    with server_of("7") as server:
        yield server


@pytest.fixture(scope="session")
def redis8() -> Iterator[RedisServer]:
    with server_of("8") as server:
        yield server


@pytest.fixture(scope="session")
def semantic_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(semantic_upstream: Upstream) -> Iterator[Upstream]:
    """It embeds every text alike, so that only the guard is in the way of a hit."""
    semantic_upstream.reset()
    semantic_upstream.on("embed-same", embedding(lambda text: [1.0, 2.0, 3.0]))
    yield semantic_upstream
    semantic_upstream.reset()


@pytest.fixture
def space() -> dict[str, str]:
    """A namespace where nothing was asked before."""
    return {"x-headgate-cache-namespace": f"n-{os.getpid()}-{next(_numbers)}"}


def model(name: str = "up", cache: dict[str, Any] | None = None, **semantic: Any) -> dict[str, Any]:
    """A model with answers by meaning; nothing of it is verified, unless that is asked."""
    off = {"tier1": 0, "tier2": 0, "control": 0}
    chosen = {"enabled": True, "verify": off} | semantic
    return target("main", name, price=PRICE, cache={"semantic": chosen} | (cache or {}))


def remote(name: str, timeout: str = "2s") -> dict[str, Any]:
    return {"kind": "openai", "provider": "main", "model": name, "timeout": timeout}


def configuration(url: str, upstream: Upstream, **sections: Any) -> dict[str, Any]:
    return {
        "server": {"shutdown_grace": "5s"},
        "log": {"format": "json"},
        "store": {"url": url, "timeout": "500ms"},
        "cache": {"shelf_size": 0},
        "providers": {"main": openai(upstream.base_url)},
        "encoders": {
            "local": {"kind": "local"},
            "same": remote("embed-same"),
            "angles": remote("embed-angles"),
            "odd": remote("embed-odd", "150ms"),
        },
        "models": {
            "tier1": model(),
            "twin": model(),
            "alone": model(cache={"coalesce": "off"}),
            "by-key": model(cache={"scope": "key"}),
            "everybody": model(cache={"scope": "global"}),
            "sampled": model(sampled="reuse"),
            "chat": model() | {"completions": "chat"},
            "local": model(encoder="local", threshold=0.7),
            "same": model(encoder="same"),
            "same-chat": model(encoder="same") | {"completions": "chat"},
            "same-everybody": model(encoder="same", cache={"scope": "global"}),
            "angles": model(encoder="angles", threshold=0.9),
            "odd": model(encoder="odd", threshold=0.5),
            "odd-alone": model(encoder="odd", threshold=0.5, cache={"coalesce": "off"}),
            "dry": model(dry_run=True),
            "dry-same": model(dry_run=True, encoder="same"),
            "brief": model(cache={"exact": {"ttl": "1s", "stale_if_error": "0s"}}),
            "renewed": model(cache={"exact": {"ttl": "1s", "stale_while_revalidate": "1h"}}),
            "off": model(enabled=False),
            ODD: model(),
        },
        "tenants": {"acme": {}, "other": {}},
        "keys": [
            {"id": "all", "tenant": "acme", "secret": KEY},
            {"id": "colleague", "tenant": "acme", "secret": COLLEAGUE},
            {"id": "stranger", "tenant": "other", "secret": STRANGER},
        ],
    } | sections


def open_gateway(settings: dict[str, Any], upstream: Upstream) -> Gateway:
    return Gateway(settings, [upstream.address, COLLEAGUE, STRANGER])


# Over the stores that have vectors; and where the store makes no difference.
BOTH_TIERS = pytest.mark.parametrize(
    "store_url", ["memory", "redis8"], indirect=True, scope="session"
)
ANY_STORE = pytest.mark.parametrize("store_url", ["memory"], indirect=True, scope="session")


@pytest.fixture(scope="session", params=["memory", "redis7", "redis8"])
def store_url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    server: RedisServer = request.getfixturevalue(request.param)
    return server.url


@pytest.fixture(scope="session")
def the_gateway(store_url: str, semantic_upstream: Upstream) -> Iterator[Gateway]:
    with open_gateway(configuration(store_url, semantic_upstream), semantic_upstream) as gateway:
        yield gateway


@pytest.fixture
def gateway(the_gateway: Gateway, upstream: Upstream) -> Iterator[Gateway]:
    """Over each of the stores; a test fails where anything private stood in what it wrote."""
    yield the_gateway
    leaks, the_gateway.leaks = the_gateway.leaks, []
    assert leaks == []


def ask(
    gateway: Gateway, prompt: Any, headers: dict[str, str], key: str = KEY, **fields: Any
) -> Reply:
    """A request that is not sampled, to `tier1` unless another model is named."""
    body = {"model": "tier1", "prompt": prompt, "temperature": 0} | fields
    return gateway.send(body, key, headers)


def only(
    gateway: Gateway, prompt: Any, headers: dict[str, str], key: str = KEY, **fields: Any
) -> Reply:
    """The same, from the cache alone."""
    return ask(gateway, prompt, headers | ONLY_CACHED, key, **fields)


def served(reply: Reply) -> str | None:
    """What of the cache answered: `exact`, `tier 1`, `tier 2`, or None."""
    if reply.status == 504:
        assert reply.error["code"] == "not_cached"
        return None
    assert reply.status == 200, reply.body
    if reply.headers["x-headgate-cache"] != "hit":
        assert "x-headgate-cache-tier" not in reply.headers
        return None
    layer: str = reply.headers["x-headgate-cache-layer"]
    if layer == "exact":
        return layer
    assert layer == "semantic"
    return f"tier {reply.headers['x-headgate-cache-tier']}"


def keep(
    gateway: Gateway, prompt: Any, headers: dict[str, str], key: str = KEY, **fields: Any
) -> Reply:
    """Ask, and wait until the answer is kept for this very question."""
    reply = ask(gateway, prompt, headers, key, **fields)
    assert reply.status == 200, reply.body
    eventually(lambda: served(only(gateway, prompt, headers, key, **fields)) == "exact")
    return reply


def teach(
    gateway: Gateway,
    headers: dict[str, str],
    key: str = KEY,
    question: Any = QUESTION,
    paraphrase: Any = PARAPHRASE,
    **fields: Any,
) -> Reply:
    """Ask the question, and wait until its paraphrase is answered by it."""
    reply = ask(gateway, question, headers, key, **fields)
    assert reply.status == 200, reply.body
    eventually(lambda: served(only(gateway, paraphrase, headers, key, **fields)) is not None)
    return reply


def barrier(gateway: Gateway) -> None:
    """Whatever was asked before, its meaning is kept by now if it ever is."""
    teach(gateway, {"x-headgate-cache-namespace": f"b-{os.getpid()}-{next(_numbers)}"})


def message(text: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": text}


def embedding(vector_of: Callable[[str], list[float]]) -> Script:
    """A script of an embeddings endpoint."""

    async def script(request, wire):
        assert request.target.endswith("/embeddings")
        vector = vector_of(request.document["input"])
        item = {"object": "embedding", "index": 0, "embedding": vector}
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        await wire.answer({"object": "list", "data": [item], "model": "e", "usage": usage})

    return script


def embedded(upstream: Upstream) -> list[str]:
    """The texts that were embedded so far."""
    return [r.document["input"] for r in upstream.requests if r.target.endswith("/embeddings")]


_SERIES = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*"'
    r'(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*")*)\})? (?P<value>[-+0-9.eE]+|NaN|[+-]Inf)'
)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\n"])*)"')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_COMMENT = re.compile(r"# (HELP [a-zA-Z_:]\w* [^\n]+|TYPE [a-zA-Z_:]\w* (counter|gauge))")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Series:
    """Prometheus text, version 0.0.4; fails where a line is none of its."""
    assert text == "" or text.endswith("\n")
    found: Series = {}
    types: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            assert _COMMENT.fullmatch(line), line
            if line.startswith("# TYPE"):
                types.append(line.split(" ")[2])
            continue
        match = _SERIES.fullmatch(line)
        assert match, line
        assert types, "a sample before its type"
        assert match["name"] == types[-1], "a family in two places"
        labels = frozenset(
            (name, re.sub(r"\\.", lambda escape: _ESCAPES[escape[0]], value))
            for name, value in _LABEL.findall(match["labels"] or "")
        )
        assert (match["name"], labels) not in found, "one series twice"
        found[match["name"], labels] = float(match["value"])
    assert len(types) == len(set(types)), "a family in two places"
    return found


def metric(gateway: Gateway, name: str, **labels: str) -> float:
    """The sum of a counter's series that have these labels."""
    series = parsed(gateway.get("/metrics", None).body.decode())
    wanted = set(labels.items())
    full = f"headgate_semantic_{name}"
    return sum(value for (n, has), value in series.items() if n == full and wanted <= has)
