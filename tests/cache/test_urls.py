"""Which store a URL means; nothing is connected yet, so nothing need be there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cache import redis_store
from cache.connection import open_store


class Sentinels:
    """What redis-py's Sentinel was asked for."""

    def __init__(self, hosts: list[tuple[str, int]], sentinel_kwargs: dict[str, Any]) -> None:
        Sentinels.hosts = hosts

    hosts: list[tuple[str, int]]
    asked: tuple[str, dict[str, Any]]

    def master_for(self, service: str, **options: Any) -> Any:
        Sentinels.asked = service, options
        return object()


@pytest.mark.parametrize(
    ("url", "hosts", "service", "database", "credentials"),
    [
        ("redis+sentinel://h/main", [("h", 26379)], "main", 0, (None, None)),
        ("redis+sentinel://a:1,b:2,c/main/3", [("a", 1), ("b", 2), ("c", 26379)], "main", 3, None),
        ("redis+sentinel://u:p%40ss@a:1/main", [("a", 1)], "main", 0, ("u", "p@ss")),
        ("redis+sentinel://:p@a:1,b:2/main", [("a", 1), ("b", 2)], "main", 0, (None, "p")),
    ],
)
def test_sentinels_are_found_in_a_url(
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    hosts: list[tuple[str, int]],
    service: str,
    database: int,
    credentials: tuple[str | None, str | None] | None,
) -> None:
    monkeypatch.setattr(redis_store, "Sentinel", Sentinels)
    redis_store.connect(url, 0.05)
    assert Sentinels.hosts == hosts
    name, options = Sentinels.asked
    assert (name, options["db"]) == (service, database)
    if credentials is not None:
        assert (options["username"], options["password"]) == credentials
    assert options["socket_timeout"] == 0.05


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/",
        "http://h",
        "postgres://h/db",
        "redis",
        "",
        "h:6379",
    ],
)
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        open_store(url, 0.05)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", {"host": "h", "port": None, "db": None}),
        ("redis://h:1/2", {"host": "h", "port": 1, "db": 2}),
        ("redis://u:p%40@h:1", {"username": "u", "password": "p@"}),
        ("unix:///run/redis.sock", {"path": "/run/redis.sock"}),
    ],
)
def test_a_plain_url_is_read_as_redis_reads_it(
    monkeypatch: pytest.MonkeyPatch, url: str, expected: dict[str, Any]
) -> None:
    seen: list[dict[str, Any]] = []
    plain = redis_store.aioredis.Redis

    def spy(connection_pool: Any) -> Any:
        seen.append(connection_pool.connection_kwargs)
        return plain(connection_pool=connection_pool)

    monkeypatch.setattr(redis_store.aioredis, "Redis", spy)
    redis_store.connect(url, 0.05)
    [options] = seen
    assert {name: options.get(name) for name in expected} == expected


def test_rediss_speaks_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        redis_store.aioredis,
        "Redis",
        lambda connection_pool: seen.append(connection_pool.connection_class),
    )
    redis_store.connect("rediss://h:1", 0.05)
    assert [kind.__name__ for kind in seen] == ["SSLConnection"]


def test_a_store_opens_where_nothing_is_there_yet() -> None:
    async def run() -> None:
        for url in ("redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1", "unix:///nowhere"):
            store = open_store(url, 0.05)
            assert store.shared
            await store.aclose()

    asyncio.run(run())
