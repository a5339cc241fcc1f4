"""One gateway for all walks, before a simulator: what a stranger has after `headgate init`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.configuration import key
from tests.harness.gateway import Gateway, free_port

EVERYTHING = ["completions", "chat", "embeddings"]


def settings(management: int, nobody: int) -> dict[str, Any]:
    sim = {"provider": "sim", "model": "simulator-1"}
    return {
        "server": {"management": {"port": management}},
        "log": {"format": "json"},
        "providers": {
            "sim": {"kind": "simulator"},
            "slow": {"kind": "simulator", "tokens_per_second": 20},
            "gone": {"kind": "openai", "base_url": f"http://127.0.0.1:{nobody}/v1"},
        },
        "models": {
            "demo": {"targets": [sim], "cache": {}},
            "code": {"targets": [sim], "tokenizer": False},
            "typing": {"targets": [{"provider": "slow", "model": "simulator-1"}]},
            "gone": {"targets": [{"provider": "gone", "model": "x"}], "breaker": False},
        },
        "limits": {"two": {"requests_per_minute": 600, "request_burst": 2}},
        "tenants": {"acme": {}},
        "keys": [
            key("all", capabilities=EVERYTHING),
            key("colleague", capabilities=EVERYTHING, limits="two"),
        ],
    }


class Walked:
    """The gateway, and where its management listener is."""

    def __init__(self, gateway: Gateway, management: int, nobody: int) -> None:
        self.gateway = gateway
        self.management = f"http://127.0.0.1:{management}"
        self.nobody = nobody


@pytest.fixture(scope="package")
def walk() -> Iterator[Walked]:
    management, nobody = free_port(), free_port()
    with Gateway(settings(management, nobody)) as gateway:
        yield Walked(gateway, management, nobody)
