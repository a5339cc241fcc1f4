"""The answers that replicas keep for each other, over every kind of store."""

from __future__ import annotations

from typing import Any

import pytest

from cache.answers.entry import encode
from cache.answers.entry_bytes import Entries
from cache.answers.shared_tier import ENTRIES_AT_ONCE, Place, Responses
from cache.store import key_names as names
from cache.store.base import Store
from cache.store.sealing import Seal
from tests.cache.answers.keeping import (
    MINUTE,
    NAME_OF_A,
    PLACE,
    A,
    B,
    answer,
    holder,
    kept,
    on_empty,
    stale,
)
from tests.cache.stores import on, server_of, settled

# Looking up


def test_what_was_kept_is_found_and_nothing_else(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        mine = answer(now)
        await kept(store, responses, (A, mine))
        return mine, (await responses.look_up(PLACE, [B, A, b"c" * 32])).entries

    mine, entries = on_empty(url, body)
    assert entries == [None, mine, None]


def test_nothing_is_found_in_an_empty_store(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        return (await responses.look_up(PLACE, [A, B])).entries

    assert on_empty(url, body) == [None, None]


def test_the_time_is_the_stores(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        seconds, micros = await store.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000 - now

    assert 0 <= on_empty(url, body) < 2000


def test_a_stale_answer_is_found_too(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await kept(store, responses, (A, stale(now)))
        return stale(now), (await responses.look_up(PLACE, [A])).entries

    mine, entries = on_empty(url, body)
    assert entries == [mine]


def test_a_large_answer_comes_back(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        mine = answer(now, "x" * 100_000)
        await kept(store, responses, (A, mine))
        return mine, (await responses.look_up(PLACE, [A])).entries

    mine, entries = on_empty(url, body)
    assert entries == [mine]


def test_who_does_not_want_to_read_finds_nothing(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await kept(store, responses, (A, answer(now)))
        return (await responses.look_up(PLACE, [A, B], read=False)).entries

    assert on_empty(url, body) == [None, None]


@pytest.mark.parametrize("count", [ENTRIES_AT_ONCE, ENTRIES_AT_ONCE + 1, 3 * ENTRIES_AT_ONCE + 5])
def test_any_number_of_prompts_is_found_in_order(url: str, count: int) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        digests = [b"%032d" % number for number in range(count)]
        mine = [(digest, answer(now, digest.decode())) for digest in digests[::2]]
        await kept(store, responses, *mine)
        found = await responses.look_up(PLACE, digests)
        return [entry and entry.body for entry in found.entries], [e.body for _, e in mine]

    entries, bodies = on_empty(url, body)
    assert len(entries) == count
    assert entries[::2] == bodies
    assert set(entries[1::2]) <= {None}


def test_tenants_do_not_see_each_other(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await kept(store, responses, (A, answer(now)))
        others = [Place.of(tenant, "house", "") for tenant in ("other", "", "~x", "acme2")]
        return [(await responses.look_up(place, [A])).entries for place in others]

    assert on_empty(url, body) == [[None]] * 4


def test_an_entry_goes_when_nothing_can_be_done_with_it_any_more(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await kept(store, responses, (A, answer(now, stored=now)))
        return await store.command("PTTL", names.answer("acme", A.hex()))

    assert 2 * MINUTE - 5000 < on_empty(url, body) <= 2 * MINUTE


# Entries that nobody can read


def _spoilt(now: int) -> dict[str, bytes]:
    whole = encode(answer(now, "x" * 200), NAME_OF_A)
    return {
        "garbage": b"garbage",
        "empty": b"",
        "cut": whole[:-1],
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
        "head-only": whole.split(b"\n")[0],
        "not-utf-8": b"\xff\xfe\x00",
        "numbers": b"[1,2,3]",
        "numbers-of-now": b"[%d,%d,%d,0]" % (now, now, now + MINUTE),
        "of-another-name": encode(answer(now), names.answer("acme", B.hex())),
        "of-another-tenant": encode(answer(now), names.answer("evil", A.hex())),
        "encrypted": Entries(Seal([bytes(32)])).encode(NAME_OF_A, answer(now)),
        "huge-numbers": b"[%b,%b,%b," % ((b"9" * 400,) * 3),
    }


@pytest.mark.parametrize("kind", _spoilt(0))
def test_an_entry_that_cannot_be_read_is_a_miss_dropped_and_counted(url: str, kind: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        key = names.answer("acme", A.hex())
        await store.command("SET", key, _spoilt(now)[kind])
        await kept(store, responses, (B, answer(now)))
        found = await responses.look_up(PLACE, [A, B])
        await settled(store)
        missing = [entry is None for entry in found.entries]
        return missing, responses.undecodable, await store.command("EXISTS", key)

    assert on_empty(url, body) == ([True, False], 1, 0)


@pytest.mark.parametrize("command", ["RPUSH", "SADD"])
def test_an_entry_of_another_type_is_a_miss_dropped_and_counted(url: str, command: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        key = names.answer("acme", A.hex())
        await store.command(command, key, "x")
        await kept(store, responses, (B, answer(now)))
        found = await responses.look_up(PLACE, [A, B])
        await settled(store)
        missing = [entry is None for entry in found.entries]
        return missing, responses.undecodable, await store.command("EXISTS", key)

    assert on_empty(url, body) == ([True, False], 1, 0)


def test_who_cannot_read_an_entry_may_ask_the_upstream(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await store.command("SET", names.answer("acme", A.hex()), "garbage")
        return await holder(responses, "w.1", [A])

    assert on_empty(url, body) == "w.1"


def test_an_entry_whose_head_says_fresh_but_cannot_be_read_does_not_bar_the_upstream(
    url: str,
) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        whole = encode(answer(now), NAME_OF_A)
        await store.command("SET", names.answer("acme", A.hex()), whole[:-1])
        found = await responses.look_up(PLACE, [A], flight="w.1", flight_digest=A)
        await settled(store)
        again = await responses.look_up(PLACE, [A], flight="w.2", flight_digest=A)
        return found.entries, again.holder

    assert on_empty(url, body) == ([None], "w.2")


# Encrypted


def test_what_is_kept_encrypted_is_found_by_who_has_the_key(url: str) -> None:
    async def body(store: Store) -> Any:
        mine, rotated, other = (
            Responses(store, 1 << 30, Entries(Seal(keys)))
            for keys in ([b"1" * 32], [b"2" * 32, b"1" * 32], [b"2" * 32])
        )
        now = (await mine.look_up(PLACE, [])).now
        entry = answer(now, "private text")
        mine.keep(PLACE, [(A, entry)])
        await settled(store)
        value = await store.command("GET", NAME_OF_A)
        found = [(await who.look_up(PLACE, [A])).entries for who in (mine, rotated, other)]
        return entry, found, value

    entry, found, value = on(url, body)
    assert found == [[entry], [entry], [None]]
    assert not any(word in value for word in (b"private text", b"up", b'"m"'))


def test_a_fresh_encrypted_entry_is_fresh_to_the_scripts(url: str) -> None:
    async def body(store: Store) -> Any:
        mine = Responses(store, 1 << 30, Entries(Seal([b"1" * 32])))
        now = (await mine.look_up(PLACE, [])).now
        mine.keep(PLACE, [(A, answer(now))])
        mine.keep(PLACE, [(B, stale(now))])
        await settled(store)
        return await holder(mine, "w.1", [A]), await holder(mine, "w.2", [A, B])

    assert on(url, body) == (None, "w.2")


# Room


def test_an_embedded_store_stays_under_its_bound() -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        for number in range(300):
            responses.keep(PLACE, [(b"%032d" % number, answer(now, "x" * 1000))])
        kept_keys = await store.command("KEYS", "*:answer:*")
        return sum([await store.command("STRLEN", key) for key in kept_keys])

    assert 15_000 < on_empty("memory://", body, size=20_000) <= 20_000


def test_an_embedded_store_gives_up_the_oldest_first() -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        digests = [b"%032d" % number for number in range(50)]
        for digest in digests:
            responses.keep(PLACE, [(digest, answer(now, "x" * 1000))])
        found = await responses.look_up(PLACE, digests)
        return [entry is not None for entry in found.entries]

    there = on_empty("memory://", body, size=20_000)
    assert there == sorted(there)
    assert there[-1]


def test_an_answer_kept_again_and_again_counts_once() -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        responses.keep(PLACE, [(A, answer(now))])
        for _ in range(100):
            responses.keep(PLACE, [(B, answer(now, "x" * 1000))])
        return [e is not None for e in (await responses.look_up(PLACE, [A, B])).entries]

    assert on_empty("memory://", body, size=20_000) == [True, True]


def test_an_answer_larger_than_an_embedded_store_is_not_kept() -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        large = answer(now)._replace(body=bytes(range(256)) * 15)
        responses.keep(PLACE, [(A, large)])
        return (await responses.look_up(PLACE, [A])).entries

    assert on_empty("memory://", body, size=2000) == [None]


def test_a_batch_is_bounded_too() -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        entries = [(b"%032d" % number, answer(now, "x" * 1000)) for number in range(50)]
        responses.keep(PLACE, entries)
        kept_keys = await store.command("KEYS", "*:answer:*")
        return sum([await store.command("STRLEN", key) for key in kept_keys])

    assert on_empty("memory://", body, size=20_000) <= 20_000


@pytest.mark.server
def test_a_store_that_is_out_is_known_to_be() -> None:
    with server_of("7") as server:

        async def body(store: Store) -> tuple[bool, bool]:
            responses = Responses(store, 0)
            await responses.look_up(PLACE, [A])
            before = responses.out
            store.breaker.failed("gone", at_once=True)
            return before, responses.out

        assert on(server.url, body) == (False, True)
