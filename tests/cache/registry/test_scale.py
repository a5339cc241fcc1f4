"""A thousand revocations, one of six workers hearing nothing; and a hundred thousand keys."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest

from cache.registry.objects import Change, Changed, Objects
from cache.registry.registry import Registry
from cache.store import key_names as names
from cache.store.base import Store
from cache.store.opening import open_store
from cache.store.redis_urls import finder_for
from cache.store.subscriber import Mailbox
from tests.cache.registry.making import digest_of, key_change, made
from tests.cache.stores import on, server_of, until
from tests.harness.redis_server import RedisServer

REVOCATIONS = 1000
WORKERS = 6
SPREAD_SECONDS = 2.0
MANY = 100_000
BATCH = 1000

pytestmark = pytest.mark.alone  # all of it measures time


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with server_of("7") as server:
        yield server


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def test_a_thousand_revocations_are_everywhere_within_a_second(redis: RedisServer) -> None:
    async def body(store: Store) -> list[float]:
        objects = Objects(store)
        revisions = [await made(objects, key_change(f"k{n}")) for n in range(REVOCATIONS)]
        stores = [open_store(redis.url, 2.0) for _ in range(WORKERS)]
        registries = [Registry(one) for one in stores]
        tasks = [asyncio.create_task(one.keep_in_step()) for one in registries]
        for registry in registries[1:]:  # the first one's subscription is cut
            box = Mailbox(finder_for(redis.url), names.OPERATORS_CHANNEL, registry.received)
            tasks.append(asyncio.create_task(box.keep_listening()))
        await until(lambda: all(len(one.snapshot) == REVOCATIONS for one in registries))
        latest: list[float] = []
        loop = asyncio.get_running_loop()

        async def revoke(number: int) -> None:
            await asyncio.sleep(SPREAD_SECONDS * number / REVOCATIONS)
            secret = f"secret of k{number}"
            gone = Change(
                "keys", f"k{number}", revisions[number], b"", b"{}", lost=[digest_of(secret)]
            )
            assert isinstance(await objects.change(gone), Changed)
            begun, key = loop.time(), digest(secret)
            await until(lambda: not any(one.snapshot.find(key) for one in registries))
            latest.append(loop.time() - begun)

        await asyncio.gather(*(revoke(number) for number in range(REVOCATIONS)))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in stores:
            await one.aclose()
        return latest

    latest = on(redis.url, body)
    assert len(latest) == REVOCATIONS
    assert max(latest) < 1.0


async def fill(store: Store, count: int) -> None:
    """So many keys, as changes would have left them."""
    for start in range(0, count, BATCH):
        documents: list[Any] = []
        secrets: list[Any] = []
        ids: list[Any] = []
        for number in range(start, start + BATCH):
            name = f"key-{number:06d}"
            text = key_change(name)
            documents += [name, b"%d " % (number + 1) + text.document]
            secrets += [text.digests[0], name]
            ids += [0, name]
        await store.command("HSET", names.objects("keys"), *documents)
        await store.command("HSET", names.OPERATORS_SECRETS, *secrets)
        await store.command("ZADD", names.object_ids("keys"), *ids)
    state = ("generation", count, "trimmed", count, "since", "1.0")
    await store.command("HSET", names.OPERATORS_STATE, *state)


async def seconds(asked: Any) -> float:
    begun = perf_counter()
    await asked
    return perf_counter() - begun


async def costs(store: Store, count: int) -> dict[str, float]:
    """What a page, a look-up before the copy is there, and a revocation take with so many keys."""
    await store.command("FLUSHALL")
    await fill(store, count)
    registry = Registry(store)
    last = f"key-{count - 1:06d}"
    found = {"look-up": await seconds(registry.look_up(digest(f"secret of {last}")))}
    assert registry.snapshot.find(digest(f"secret of {last}")) is not None
    found["start"] = await seconds(registry.catch_up())
    assert len(registry.snapshot) == count
    pages = [registry.objects.page("keys", f"key-{count // 2:06d}", 200) for _ in range(5)]
    secrets = [digest(f"secret of key-{n:06d}") for n in range(0, count, count // 100)]
    begun = perf_counter()
    assert all(registry.snapshot.find(one) is not None for one in secrets)
    found["a call's look"] = (perf_counter() - begun) / len(secrets)
    found["page"] = min([await seconds(page) for page in pages])
    gone = Change("keys", last, count, b"", b"{}", lost=[digest_of(f"secret of {last}")])

    async def revoke() -> None:
        await registry.objects.change(gone)
        await registry.catch_up()

    found["revocation"] = await seconds(revoke())
    assert registry.snapshot.find(digest(f"secret of {last}")) is None
    return found


def test_a_hundred_thousand_keys_cost_what_a_thousand_do(redis: RedisServer) -> None:
    few = on(redis.url, lambda store: costs(store, 1000))
    many = on(redis.url, lambda store: costs(store, MANY))
    for what in ("look-up", "page", "revocation", "a call's look"):
        # Flat: a hundredfold would be 100. A machine that is busy doubles one or the other.
        assert many[what] < max(5 * few[what], 0.02), (what, few, many)
    assert many["start"] < 15, many
