"""What a purge covers, over every kind of store."""

from __future__ import annotations

from typing import Any

import pytest

from cache.answers.shared_tier import ENTRIES_AT_ONCE, Place, Responses
from cache.store import key_names as names
from cache.store.base import Store
from tests.cache.answers.keeping import MINUTE, PLACE, A, B, answer, holder, kept, on_empty
from tests.cache.stores import settled

# Purging

WHERE = [
    (tenant, alias, namespace)
    for tenant in ("acme", "other", "")
    for alias in ("a", "b", "a/b", "namespace=x", "*")
    for namespace in ("", "x", "y")
]


@pytest.mark.parametrize(
    "scope",
    [
        ("acme", None, None),
        ("acme", "a", None),
        ("acme", None, "x"),
        ("acme", None, ""),
        ("acme", "a", "x"),
        ("acme", "a", ""),
        ("acme", "a/b", None),
        ("acme", "namespace=x", None),
        ("acme", "*", None),
        ("", None, None),
        ("", "b", "y"),
        ("nobody", None, None),
    ],
    ids=repr,
)
def test_a_purge_covers_what_it_names_and_nothing_else(url: str, scope: Any) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        # One digest a place: what is kept under several would overwrite each other.
        gone = []
        for number, where in enumerate(WHERE):
            responses.keep(Place.of(*where), [(b"%032d" % number, answer(now))])
        await settled(store)
        await responses.purge(*scope)
        for number, where in enumerate(WHERE):
            found = await responses.look_up(Place.of(*where), [b"%032d" % number])
            if found.entries == [None]:
                gone.append(where)
        return gone

    tenant, alias, namespace = scope
    expected = [
        where
        for where in WHERE
        if where[0] == tenant and alias in (None, where[1]) and namespace in (None, where[2])
    ]
    assert on_empty(url, body) == expected


def test_a_purge_covers_an_answer_that_was_under_way(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await responses.purge("acme", None, None)
        await kept(store, responses, (A, answer(now, asked=now, stored=now + 50)))
        return (await responses.look_up(PLACE, [A])).entries

    assert on_empty(url, body) == [None]


def test_what_is_asked_for_after_a_purge_counts(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await responses.purge("acme", "house", "")
        at = int(await store.command("HGET", names.purged("acme"), PLACE.fields[3]))
        await kept(store, responses, (A, answer(now, asked=at + 1)), (B, answer(now, asked=at)))
        return [entry is None for entry in (await responses.look_up(PLACE, [A, B])).entries]

    assert on_empty(url, body) == [False, True]


def test_the_widest_of_several_purges_does_not_undo_a_later_one(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await responses.purge("acme", "house", None)
        await store.command("HSET", names.purged("acme"), "*", now - 10 * MINUTE)
        await kept(store, responses, (A, answer(now)))
        return (await responses.look_up(PLACE, [A])).entries

    assert on_empty(url, body) == [None]


def test_more_prompts_than_fit_one_trip_are_purged_too(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        digests = [b"%032d" % number for number in range(2 * ENTRIES_AT_ONCE)]
        await kept(store, responses, *((digest, answer(now)) for digest in digests))
        await responses.purge("acme", None, None)
        return set((await responses.look_up(PLACE, digests)).entries)

    assert on_empty(url, body) == {None}


def test_who_finds_only_purged_answers_may_ask_the_upstream(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await kept(store, responses, (A, answer(now)))
        await responses.purge("acme", None, None)
        return await holder(responses, "w.1", [A])

    assert on_empty(url, body) == "w.1"


def test_those_who_keep_copies_can_tell_that_something_was_purged(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        before = await store.command("GET", names.PURGES)
        await responses.purges_done()
        return before, await store.command("GET", names.PURGES)

    before, after = on_empty(url, body)
    assert before != after
