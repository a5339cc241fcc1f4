"""A gateway whose models answer by meaning, each in its own way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.configuration import NOT_VERIFIED, PRICE, openai, target
from tests.harness.credentials import COLLEAGUE, KEY, STRANGER
from tests.harness.upstream import Upstream

ODD = 'say "it"\\once'  # an alias as bad for a label as a file can hold

# Over the stores that have vectors; and where the store makes no difference.
BOTH_TIERS = pytest.mark.parametrize(
    "store_url", ["memory", "redis8"], indirect=True, scope="session"
)
ANY_STORE = pytest.mark.parametrize("store_url", ["memory"], indirect=True, scope="session")


def model(name: str = "up", cache: dict[str, Any] | None = None, **semantic: Any) -> dict[str, Any]:
    """A model with answers by meaning; no wide key, and nothing verified, unless that is asked."""
    chosen = {"enabled": True, "tier1b": False, "verify": NOT_VERIFIED} | semantic
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
            "wide": model(tier1b=True),
            "wide-same": model(tier1b=True, encoder="same"),
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
            "ignoring": model(cache={"ignore": [r"request id \S+"]}),
            "german": model(languages=["en", "de"]),
            "dry-wide": model(dry_run=True, tier1b=True),
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
