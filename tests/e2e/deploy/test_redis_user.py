"""The Redis user of docs/redis.md may all that a gateway needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.haproxy import ROOT
from tests.harness.redis_server import RedisServer, newest
from tests.harness.waiting import eventually

PASSWORD = "a-password-of-redis-51f0a9d2"
TARGET = {"provider": "sim", "model": "simulator-1"}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    text = (ROOT / "docs" / "redis.md").read_text()
    [line] = re.findall(r"<!-- users.acl.*?```text\n(.*?)\n```", text, re.DOTALL)
    file: Path = tmp_path_factory.mktemp("redis") / "users.acl"
    file.write_text(
        line.replace("CHANGE-THIS", PASSWORD) + "\nuser default on nopass ~* &* +@all\n"
    )
    with RedisServer.start(newest(), ("--aclfile", str(file))) as server:
        yield server


def configuration(server: RedisServer) -> dict[str, Any]:
    cache = {"exact": {}, "coalesce": "all", "semantic": {}}
    return {
        "log": {"format": "json"},
        "server": {"workers": 2},
        "store": {"url": f"redis://headgate:{PASSWORD}@127.0.0.1:{server.port}"},
        "providers": {"sim": {"kind": "simulator"}},
        "models": {
            "native": {
                "targets": [TARGET, TARGET | {"model": "simulator-2"}],
                "cache": cache,
                "price": {"input_per_million": 1, "output_per_million": 1},
            }
        },
        "limits": {"all": {"requests_per_minute": 600, "tokens_per_minute": 9999, "concurrent": 9}},
        "budgets": {"some": {"usd": 5, "per": "day"}},
        "tenants": {"acme": {"limits": "all", "budget": "some"}},
        "keys": [{"id": "all", "tenant": "acme", "secret": KEY, "limits": "all", "budget": "some"}],
    }


def test_a_gateway_does_its_work_and_is_refused_nothing(redis_server: RedisServer) -> None:
    with Gateway(configuration(redis_server), [PASSWORD]) as gateway:
        for _ in range(3):
            assert gateway.complete(max_tokens=3, temperature=0).status == 200
        with gateway.stream(max_tokens=3) as events:
            assert list(events)[-1] == b"[DONE]"
        eventually(lambda: gateway.get("/v1/usage").document["models"][0]["requests"], 4)
    assert redis_server.cli("ACL", "LOG") == ""


def test_it_may_not_manage_the_server(redis_server: RedisServer) -> None:
    for command in (("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "1"), ("GET", "others:key")):
        said = redis_server.cli("ACL", "DRYRUN", "headgate", *command)
        assert "no permissions" in said or "NOPERM" in said, said
    assert redis_server.cli("ACL", "DRYRUN", "headgate", "GET", "hg1:probe") == "OK"
