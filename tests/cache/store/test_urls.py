"""Which store a URL means; nothing is connected yet, so nothing need be there."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from app.config.values.store_url import parse_store_url
from cache.store import redis_urls
from cache.store.opening import open_store
from cache.store.redis_connection import Address


class Sentinels:
    """What redis-py's Sentinel was asked for."""

    hosts: list[tuple[str, int]]
    sentinels: tuple[Any, ...] = ()  # the clients that must be closed

    def __init__(self, hosts: list[tuple[str, int]], **_: Any) -> None:
        Sentinels.hosts = hosts

    async def discover_master(self, service: str) -> tuple[str, int]:
        return f"the primary of {service}", 7


@pytest.mark.parametrize(
    ("url", "hosts", "expected"),
    [
        ("redis+sentinel://h/main", [("h", 26379)], {}),
        (
            "redis+sentinel://a:1,b:2,c/main/3",
            [("a", 1), ("b", 2), ("c", 26379)],
            {"database": 3},
        ),
        (
            "redis+sentinel://u:p%40ss@a:1/main",
            [("a", 1)],
            {"username": "u", "password": "p@ss"},
        ),
        ("redis+sentinel://:p@a:1,b:2/main", [("a", 1), ("b", 2)], {"password": "p"}),
    ],
)
def test_sentinels_are_asked_for_the_primary(
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    hosts: list[tuple[str, int]],
    expected: dict[str, Any],
) -> None:
    monkeypatch.setattr(redis_urls, "Sentinel", Sentinels)
    address = asyncio.run(redis_urls._asking_sentinels(parse_store_url(url))())
    assert Sentinels.hosts == hosts
    assert address == Address(host="the primary of main", port=7, **expected)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h:1",
        "redis+sentinel://h:1/",
        "redis+sentinel://h:port/main",
        "redis://h:port",
        "redis://h:1/database",
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
        ("redis://h", Address(host="h")),
        ("redis://h:1/2", Address(host="h", port=1, database=2)),
        ("redis://h?db=3", Address(host="h", database=3)),
        ("redis://u:p%40@h:1", Address(host="h", port=1, username="u", password="p@")),
        ("redis://:p@[::1]:1", Address(host="::1", port=1, password="p")),
        ("unix:///run/redis.sock", Address(path="/run/redis.sock")),
        ("unix:///run/redis.sock?db=3", Address(path="/run/redis.sock", database=3)),
        ("unix://:p@/run/redis.sock", Address(path="/run/redis.sock", password="p")),
    ],
)
def test_a_plain_url_is_read_as_redis_reads_it(url: str, expected: Address) -> None:
    assert redis_urls._address(parse_store_url(url)) == expected


def test_rediss_verifies_whom_it_speaks_to() -> None:
    context = redis_urls._address(parse_store_url("rediss://h:1")).tls
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_one_enters_before_anything_else() -> None:
    assert Address().greeting() == [("PING",)]
    assert Address(password="p").greeting() == [("AUTH", "p"), ("PING",)]
    entering = Address(username="u", password="p", database=2)
    assert entering.greeting() == [("AUTH", "u", "p"), ("SELECT", 2), ("PING",)]


def test_a_store_opens_where_nothing_is_there_yet() -> None:
    async def run() -> None:
        for url in ("redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1", "unix:///nowhere"):
            store = open_store(url, 0.05)
            assert store.shared
            await store.aclose()

    asyncio.run(run())
