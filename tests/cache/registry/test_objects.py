"""The operators' objects over every kind of store: one step, one winner, nothing lost."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from cache.registry.objects import Change, Changed, Objects, Repeated, Stale, Taken
from cache.store import key_names as names
from cache.store.base import Store
from tests.cache.registry.making import digest_of, key_change, made, policy_change
from tests.cache.stores import on


def test_a_change_is_the_objects_next_revision(url: str) -> None:
    async def body(store: Store) -> Any:
        objects = Objects(store)
        first = await made(objects, key_change("web"))
        second = await made(objects, key_change("ci"))
        third = await made(objects, key_change("web", first))
        found = await objects.get("keys", "web")
        return first, second, third, found and found.revision, (await objects.state()).generation

    assert on(url, body) == (1, 2, 3, 3, 3)


def test_of_two_operators_one_wins(url: str) -> None:
    async def body(store: Store) -> Any:
        objects = Objects(store)
        before = await made(objects, key_change("web"))
        changes = [objects.change(key_change("web", before)) for _ in range(20)]
        return [type(done) for done in await asyncio.gather(*changes)], await objects.state()

    kinds, state = on(url, body)
    assert sorted(kinds, key=str) == sorted([Changed, *[Stale] * 19], key=str)
    assert state.generation == 2


def test_a_new_object_must_not_be_there(url: str) -> None:
    async def body(store: Store) -> Any:
        objects = Objects(store)
        await made(objects, key_change("web"))
        return await objects.change(key_change("web")), await objects.change(key_change("ci", 7))

    assert on(url, body) == (Stale(1), Stale(0))


def test_a_secret_opens_one_key(url: str) -> None:
    async def body(store: Store) -> Any:
        objects = Objects(store)
        web = await made(objects, key_change("web", 0, "a", "b"))
        taken = await objects.change(key_change("ci", 0, "b"))
        # The key gives one of its secrets up, and another may have it.
        await made(objects, key_change("web", web, "a", lost=[digest_of("b")]))
        await made(objects, key_change("ci", 0, "b"))
        owners = [await objects.owner(bytes.fromhex(digest_of(one))) for one in ("a", "b", "c")]
        return taken, owners

    assert on(url, body) == (Taken("web"), ["web", "ci", None])


def test_a_deleted_object_leaves_only_its_last_change(url: str) -> None:
    async def body(store: Store) -> Any:
        objects = Objects(store)
        web = await made(objects, key_change("web"))
        gone = Change("keys", "web", web, b"", b"{}", had="acme", lost=[digest_of("secret of web")])
        await made(objects, gone)
        changed = await objects.changed_since(web)
        left = [await objects.get("keys", "web"), await objects.page("keys", "", 9)]
        left += [await objects.page_of_tenant("keys", "acme", "", 9)]
        return left, changed, await objects.owner(bytes.fromhex(digest_of("secret of web")))

    assert on(url, body) == ([None, [], []], (2, [("keys", "web", None)]), None)


def test_a_repeated_request_gets_its_first_answer(url: str) -> None:
    async def body(store: Store) -> Any:
        objects = Objects(store)
        asked = key_change("web", request="r-1", asked="a body", answer=b"{}")
        before = await objects.answered("r-1")
        return (
            before,
            [await objects.change(asked) for _ in range(2)],
            await objects.answered("r-1"),
        )

    again = Repeated("a body", b"{}", 1)
    assert on(url, body) == (None, [Changed(1), again], again)


def test_lists_come_in_pages_in_order(url: str) -> None:
    async def body(store: Store) -> Any:
        objects = Objects(store)
        for name in ("d", "b", "a", "c"):
            await made(objects, key_change(name, tenant="acme" if name != "c" else "acme-2"))
        first = await objects.page("keys", "", 2)
        rest = await objects.page("keys", first[-1][0], 2)
        own = await objects.page_of_tenant("keys", "acme", "", 2)
        more = await objects.page_of_tenant("keys", "acme", own[-1][0], 2)
        return [[name for name, _ in page] for page in (first, rest, own, more)]

    assert on(url, body) == [["a", "b"], ["c", "d"], ["a", "b"], ["d"]]


def test_each_change_leaves_a_record_with_its_generation(url: str) -> None:
    async def body(store: Store) -> Any:
        objects = Objects(store)
        await made(objects, policy_change("limits", "slow")._replace(record=b'{"actor":"ops"}'))
        return await store.command("XRANGE", names.OPERATORS_AUDIT, "-", "+")

    [(_, fields)] = on(url, body)
    flat = fields if isinstance(fields, list) else [x for pair in fields.items() for x in pair]
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == {
        b"record": b'{"actor":"ops"}',
        b"generation": b"1",
    }


def test_everything_comes_once_at_least(url: str) -> None:
    async def body(store: Store) -> Any:
        objects = Objects(store)
        for number in range(600):
            await made(objects, key_change(f"k{number}"))
        found = [name async for page in objects.everything("keys") for name, _ in page]
        return len(set(found)), [
            orjson.loads(d.document) async for p in objects.everything("tenants") for _, d in p
        ]

    assert on(url, body) == (600, [])
