"""A gateway whose models differ in what is special about their cache."""

from __future__ import annotations

from typing import Any

from tests.harness.configuration import PRICE, openai, target
from tests.harness.credentials import COLLEAGUE, KEY, KEYS, STRANGER
from tests.harness.gateway import free_port
from tests.harness.upstream import Upstream


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
