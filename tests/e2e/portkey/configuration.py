"""A gateway whose callers bring routes of their own: two providers, one upstream."""

from __future__ import annotations

from typing import Any

from tests.harness.configuration import key, openai, target
from tests.harness.upstream import Upstream

ALIASES = ["m0", "a", "b", "c", "x", "kept"]


def configuration(url: str, upstream: Upstream) -> dict[str, Any]:
    """Each alias is asked for by its own name; no key may use `hidden`."""
    capabilities = ["completions", "chat"]
    may = {"models": ALIASES, "capabilities": capabilities}
    return {
        "log": {"format": "json"},
        "store": {"url": url},
        "providers": {
            "openai": openai(upstream.base_url),
            "other": openai(upstream.base_url, custom_host=True),
        },
        "models": {
            **{name: target("openai", name) for name in ("m0", "a", "b", "c", "hidden")},
            "x": target("other", "x"),
            "kept": target("openai", "kept", cache={}),
        },
        "configs": {
            "pc-known": {
                "strategy": {"mode": "fallback"},
                "targets": [
                    {"provider": "openai", "override_params": {"model": name}} for name in "ab"
                ],
            }
        },
        "limits": {"few": {"requests_per_minute": 1, "request_burst": 1}},
        "tenants": {"acme": {}, "other": {}, "limited": {"limits": "few"}},
        "keys": [
            key("all", portkey=True, **may),
            key("stranger", tenant="other", portkey=True, **may),
            key("colleague", **may),
            key("team", tenant="limited", portkey=True, **may),
        ],
    }
