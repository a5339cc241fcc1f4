"""What a server says when it cannot, and what the store takes for the reason."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from cache.store import redis_store
from cache.store.base import Store
from cache.store.command import Pending
from cache.store.redis_store import Line, RedisStore
from tests.cache.store.test_store import TIMEOUT, _answers
from tests.cache.stores import fails, on, server_of, until
from tests.harness.redis_server import RedisServer


@pytest.mark.parametrize(
    "error",
    [
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "MISCONF Redis is configured to save RDB snapshots, but it cannot persist to disk",
        "NOREPLICAS Not enough good replicas to write.",
        "BUSY Redis is busy running a script.",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "NOAUTH Authentication required.",
        "READONLY You can't write against a read only replica.",
    ],
    ids=lambda error: error.partition(" ")[0],
)
def test_what_a_server_says_when_it_cannot_is_an_outage(error: str) -> None:
    async def run() -> None:
        async def dial(store: RedisStore) -> Line:
            return Answering(store, error)

        store = RedisStore(dial, 1.0)
        assert await fails(store.command("GET", "k"))
        assert store.breaker.open
        await store.aclose()

    asyncio.run(run())


class Answering:
    """Says one thing, whatever it is asked."""

    def __init__(self, store: RedisStore, error: str) -> None:
        self._store = store
        self._error = error

    def send(self, batch: Sequence[Pending]) -> None:
        for pending in batch:
            self._store.answered(pending, Exception(self._error))

    def close(self) -> None:
        return

    async def closed(self) -> None:
        return


def test_a_server_with_no_room_for_a_client_is_an_outage() -> None:
    with server_of("7", ("--maxclients", "1")) as server:

        async def body(store: Store) -> bool:
            return await fails(store.command("GET", "k"))

        with socket.create_connection(("127.0.0.1", server.port)) as other:
            other.sendall(b"PING\r\n")
            other.recv(7)  # the one place is taken
            assert on(server.url, body, TIMEOUT)


def test_a_connection_that_was_cut_is_made_again(server: RedisServer) -> None:
    # By a firewall, or by a server that has had enough of an idle client.
    async def body(store: Store) -> Any:
        await store.command("SET", "k", 1)
        server.cli("CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: _answers(store, "PING"), patience=1)
        return await store.command("INCR", "k")

    assert on(server.url, body, TIMEOUT) == 2


def test_the_reason_of_an_outage_stays_what_it_was(server: RedisServer) -> None:
    # Whoever looks at the health page must read what is wrong with the store.
    async def body(store: Store) -> list[str | None]:
        await store.command("SET", "k", 1)
        server.cli("REPLICAOF", "127.0.0.1", "1")
        await fails(store.command("SET", "k", 2))
        reasons = []
        for _ in range(6):
            await asyncio.sleep(redis_store.PROBE_SECONDS / 3)
            reasons.append(store.breaker.reason)
        return reasons

    assert set(on(server.url, body)) == {"readonly"}
