"""A worker's copy: in step whatever is lost, bounded in what it asks, serving while the store is out."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from cache.registry.objects import Change, Objects, Stored
from cache.registry.registry import LOOK_UPS_PER_SECOND, MAX_UNKNOWN, Registry
from cache.registry.snapshot import Snapshot
from cache.store import key_names as names
from cache.store.base import Store
from tests.cache.registry.making import key_change, made, policy_change
from tests.cache.stores import on, on_spied, until


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def opened(registry: Registry, *secrets: str) -> list[str | None]:
    """The keys that these secrets open by the copy alone."""
    found = [registry.snapshot.find(digest(secret)) for secret in secrets]
    return [one.id if one is not None else None for one in found]


def test_a_change_is_there_after_the_next_look(url: str) -> None:
    async def body(store: Store) -> Any:
        objects, registry = Objects(store), Registry(store)
        await registry.catch_up()
        web = await made(objects, key_change("web", 0, "a"))
        await registry.catch_up()
        first = opened(registry, "a", "b")
        gone = Change("keys", "web", web, b"", b"{}", had="acme", lost=[digest("a").hex()])
        await made(objects, gone)
        await made(objects, key_change("ci", 0, "b"))
        await registry.catch_up()
        return first, opened(registry, "a", "b"), registry.generation

    assert on(url, body) == (["web", None], [None, "ci"], 3)


def test_nothing_new_costs_one_command() -> None:
    async def body(store: Store) -> Any:
        registry = Registry(store)
        await made(Objects(store), key_change("web"))
        await registry.catch_up()
        asked: list[Any] = []
        command = store.command

        async def counted(*args: Any) -> Any:
            asked.append(args)
            return await command(*args)

        store.command = counted  # type: ignore[method-assign]
        await registry.catch_up()
        quiet = len(asked)
        await made(registry.objects, key_change("ci"))
        await registry.catch_up()
        return quiet, len(asked) - quiet

    # The generation; then that, the list of changes and the one object.
    assert on("memory://", body) == (1, 3)


def test_without_a_message_it_asks_twice_a_second() -> None:
    async def body(store: Store) -> Any:
        registry = Registry(store)
        task = asyncio.create_task(registry.keep_in_step())
        await until(lambda: registry.whole)
        begun = asyncio.get_running_loop().time()
        await made(registry.objects, key_change("web", 0, "a"))
        await until(lambda: opened(registry, "a") == ["web"])
        lost = asyncio.get_running_loop().time() - begun
        await made(registry.objects, key_change("ci", 0, "b"))
        registry.received(b"2")
        begun = asyncio.get_running_loop().time()
        await until(lambda: opened(registry, "b") == ["ci"])
        told = asyncio.get_running_loop().time() - begun
        task.cancel()
        return lost < 1.0, told < 0.4

    assert on("memory://", body) == (True, True)


def test_one_that_is_too_far_behind_reads_everything_anew(url: str) -> None:
    async def body(store: Store) -> Any:
        objects, registry = Objects(store), Registry(store)
        web = await made(objects, key_change("web", 0, "a"))
        await made(objects, key_change("stays", 0, "c"))
        await registry.catch_up()
        await made(objects, Change("keys", "web", web, b"", b"{}", lost=[digest("a").hex()]))
        await made(objects, key_change("ci", 0, "b"))
        # As if ten thousand other changes had come since.
        await store.command("DEL", names.OPERATORS_CHANGES)
        await store.command("HSET", names.OPERATORS_STATE, "trimmed", 4)
        await registry.catch_up()
        return opened(registry, "a", "b", "c"), len(registry.snapshot)

    assert on(url, body) == ([None, "ci", "stays"], 2)


def test_an_emptied_store_is_another_one(url: str) -> None:
    async def body(store: Store) -> Any:
        objects, registry = Objects(store), Registry(store)
        await made(objects, key_change("web", 0, "a"))
        await registry.catch_up()
        await store.command("FLUSHALL")
        await made(objects, key_change("ci", 0, "b"))
        await registry.catch_up()
        return opened(registry, "a", "b"), registry.generation

    assert on(url, body) == ([None, "ci"], 1)


def test_policies_are_told_of_and_keys_are_not() -> None:
    told: list[str] = []

    class Listener:
        def policies_changed(self) -> None:
            told.append("changed")

    async def body(store: Store) -> None:
        registry, listener = Registry(store), Listener()
        registry.watch(listener)
        await made(registry.objects, key_change("web"))
        await registry.catch_up()
        assert told == ["changed"]  # the first look is at another store
        await made(registry.objects, key_change("ci"))
        await registry.catch_up()
        assert told == ["changed"]
        await made(registry.objects, policy_change("limits", "slow"))
        await registry.catch_up()
        assert told == ["changed"] * 2

    on("memory://", body)


def test_a_key_made_just_now_is_looked_up_and_a_guess_once() -> None:
    async def body(store: Store) -> Any:
        registry = Registry(store)
        await registry.catch_up()
        await made(registry.objects, key_change("web", 0, "a"))
        found = await registry.look_up(digest("a"))
        asked: list[Any] = []
        owner = registry.objects.owner

        async def counted(secret: bytes) -> Any:
            asked.append(secret)
            return await owner(secret)

        registry.objects.owner = counted  # type: ignore[method-assign]
        for _ in range(5):
            assert await registry.look_up(digest("guess")) is None
        return found and found.id, len(asked)

    assert on("memory://", body) == ("web", 1)


def test_a_look_up_that_a_deletion_overtakes_brings_nothing_back() -> None:
    async def body(store: Store) -> Any:
        registry = Registry(store)
        web = await made(registry.objects, key_change("web", 0, "a"))
        await registry.catch_up()
        gone = Change("keys", "web", web, b"", b"{}", had="acme", lost=[digest("a").hex()])
        get = registry.objects.get

        async def overtaken(kind: str, name: str) -> Any:
            """As if the answer came late: everything is read before it arrives."""
            found = await get(kind, name)
            if found is not None:
                await made(registry.objects, gone)
                await registry.catch_up()
            return found

        registry.objects.get = overtaken  # type: ignore[method-assign]
        return await registry.look_up(digest("a")), opened(registry, "a")

    assert on("memory://", body) == (None, [None])


def test_many_guesses_cost_the_store_so_many_a_second_and_memory_is_bounded() -> None:
    async def body(store: Store) -> Any:
        now = [0.0]
        registry = Registry(store, lambda: now[0])
        asked: list[bytes] = []

        async def owner(secret: bytes) -> None:
            asked.append(secret)

        registry.objects.owner = owner  # type: ignore[method-assign]
        for number in range(1000):
            await registry.look_up(digest(str(number)))
        in_a_second = len(asked)
        for number in range(MAX_UNKNOWN + 100):
            now[0] += 1
            registry._remember_unknown(digest(str(number)))
        return in_a_second, len(registry._unknown)

    assert on("memory://", body) == (LOOK_UPS_PER_SECOND, MAX_UNKNOWN)


def test_with_the_store_out_the_last_copy_serves(server: Any) -> None:
    async def body(store: Store, _: Any) -> Any:
        registry = Registry(store)
        task = asyncio.create_task(registry.keep_in_step())
        await made(registry.objects, key_change("web", 0, "a"))
        await until(lambda: opened(registry, "a") == ["web"])
        server.kill()
        await until(lambda: store.breaker.open)
        assert await registry.look_up(digest("guess")) is None
        found = opened(registry, "a")
        task.cancel()
        return found

    assert on_spied(server.url, body) == ["web"]


def test_reads_may_arrive_in_any_order() -> None:
    snapshot = Snapshot()
    old, new = (Stored(n, b'{"secrets":[{"sha256":"%s"}]}' % (b"%02x" % n * 32)) for n in (1, 2))
    assert snapshot.put("keys", "web", new)
    assert not snapshot.put("keys", "web", old)
    assert snapshot.find(bytes([2] * 32)) is not None
    assert snapshot.find(bytes([1] * 32)) is None
    assert snapshot.put("keys", "web", None)
    assert snapshot.find(bytes([2] * 32)) is None
