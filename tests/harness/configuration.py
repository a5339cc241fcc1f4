"""The parts that configurations of the tests are made of."""

from __future__ import annotations

from typing import Any

from tests.harness.credentials import KEYS, PROVIDER_KEY

PRICE = {"input_per_million": 1000, "output_per_million": 1000}
TOKEN = 1_000_000  # nano-dollars a token costs at that price
NOT_VERIFIED = {"tier1": 0, "tier1b": 0, "tier2": 0, "control": 0}  # of the answers by meaning


def openai(base_url: str, **settings: Any) -> dict[str, Any]:
    timeouts = {"connect": "2s", "first_byte": "8s", "idle": "8s", "total": "20s"}
    return {
        "kind": "openai",
        "base_url": base_url,
        "api_key": PROVIDER_KEY,
        "timeouts": timeouts,
    } | settings


def target(provider: str, model: str, **settings: Any) -> dict[str, Any]:
    # The tests make targets fail again and again, and want to hear it each time.
    return {"targets": [{"provider": provider, "model": model}], "breaker": False} | settings


def key(name: str, tenant: str = "acme", **settings: Any) -> dict[str, Any]:
    return {"id": name, "tenant": tenant, "secret": KEYS[name]} | settings
