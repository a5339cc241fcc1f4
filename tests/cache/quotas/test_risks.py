"""Which settings of a server can make it forget money."""

from __future__ import annotations

import pytest

from cache.quotas.risks import Risks, risks_of
from cache.store.base import Store
from tests.cache.stores import on
from tests.harness.redis_server import RedisServer

POLICIES = ("noeviction", "volatile-lru", "volatile-ttl", "allkeys-lru", "allkeys-random")


def test_what_a_server_may_forget(server: RedisServer) -> None:
    async def body(store: Store) -> None:
        for appendonly, save in (("no", ""), ("yes", ""), ("no", "900 1"), ("yes", "900 1")):
            server.cli("CONFIG", "SET", "appendonly", appendonly)
            server.cli("CONFIG", "SET", "save", save)
            for maxmemory in ("0", "100mb"):
                server.cli("CONFIG", "SET", "maxmemory", maxmemory)
                for policy in POLICIES:
                    server.cli("CONFIG", "SET", "maxmemory-policy", policy)
                    evicts = policy if maxmemory != "0" and policy.startswith("allkeys") else ""
                    forgets = appendonly == "no" and save == ""
                    assert await risks_of(store) == Risks(evicts, forgets)

    on(server.url, body)


@pytest.mark.parametrize("forbidden", ["-config", "-config|get"])
def test_what_a_server_does_not_say_is_no_risk(server: RedisServer, forbidden: str) -> None:
    server.cli("ACL", "SETUSER", "default", forbidden)

    async def body(store: Store) -> tuple[Risks, bool]:
        return await risks_of(store), store.breaker.open

    assert on(server.url, body) == (Risks(), False)


def test_a_cluster_says_it_as_its_client_has_read_it() -> None:
    class Cluster:
        async def command(self, *args: str) -> object:
            return {
                ("INFO", "memory"): {"maxmemory_policy": "allkeys-lru", "maxmemory": 1000},
                ("INFO", "persistence"): {"aof_enabled": 0},
                ("CONFIG", "GET", "save"): {"save": ""},
            }[args]

    import asyncio

    assert asyncio.run(risks_of(Cluster())) == Risks("allkeys-lru", True)
