"""A gateway for chat and embeddings: its models and keys differ in what is special about them."""

from __future__ import annotations

from typing import Any

from tests.harness.configuration import NOT_VERIFIED, PRICE, key, openai, target
from tests.harness.credentials import KEY
from tests.harness.gateway import free_port
from tests.harness.upstream import Upstream

EVERYTHING = ["completions", "chat", "embeddings"]
BUDGET = 10  # dollars: ten thousand tokens at the tests' price


def configuration(url: str, upstream: Upstream) -> dict[str, Any]:
    """Every model but those of `nobody` asks the upstream for `up`."""
    quick = {"connect": "1s", "first_byte": "250ms", "idle": "250ms", "total": "20s"}
    semantic = {"enabled": True, "sampled": "reuse", "verify": NOT_VERIFIED}
    stale = {"exact": {"ttl": "150ms", "stale_if_error": "1h"}}

    def model(provider: str = "main", **settings: Any) -> dict[str, Any]:
        return target(provider, "up", price=PRICE) | settings

    return {
        "log": {"format": "json"},
        "store": {"url": url},
        "cache": {"shelf_size": 0},
        "providers": {
            "main": openai(upstream.base_url),
            "quick": openai(upstream.base_url, timeouts=quick),
            "newer": openai(upstream.base_url, max_tokens_field="max_completion_tokens"),
            "poor": openai(upstream.base_url, unsupported=["n", "logprobs", "tools"]),
            "strict": openai(upstream.base_url, forward_members=["known"]),
            "narrow": openai(upstream.base_url, embedding_inputs=2),
            "legacy": openai(upstream.base_url, endpoints=["completions"]),
            "nobody": openai(f"http://127.0.0.1:{free_port()}/v1"),
            "sim": {"kind": "simulator"},
        },
        "models": {
            "plain": model(),
            "cached": model(cache={}),
            "shared": model(cache={"coalesce": "all"}),
            "backed": model("quick", cache=stale),
            "meant": model(cache={"semantic": semantic}),
            "newer": model("newer", max_output_tokens=100),
            "poor": model("poor"),
            "strict": model("strict"),
            "narrow": model("narrow", max_calls=3, fan_out=2),
            "legacy": model("legacy"),
            "nobody": model("nobody"),
            "sim": target("sim", "simulator-1"),
            "cached-sim": target("sim", "simulator-1", cache={}),
        },
        "tenants": {"acme": {}},
        "limits": {"tokens": {"tokens_per_minute": 10_000}},
        "budgets": {"small": {"usd": BUDGET, "per": "day"}},
        "keys": [
            {"id": "all", "tenant": "acme", "secret": KEY, "capabilities": EVERYTHING},
            key("colleague"),
            key("embedder", capabilities=["embeddings"]),
            key("team", capabilities=EVERYTHING, budget="small"),
            key("hashed", capabilities=EVERYTHING, limits="tokens"),
            key("later", capabilities=EVERYTHING, max_output_tokens=50),
        ],
    }
