"""What kept answers mean, over every kind of store; neighbours over those that have vectors."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.core.usage import Usage
from cache.answers.entry import CacheEntry, encode
from cache.answers.shared_tier import Place, Responses
from cache.semantic import index as module
from cache.semantic.index import KEEP_VERDICTS, Near, Samples, SemanticIndex
from cache.semantic.plan import Tier
from cache.store import key_names as names
from cache.store.base import Store, StoreUnavailable
from cache.store.sealing import Seal
from tests.cache.stores import of_servers, on, server_of, settled

MINUTE = 60_000
PLACE = Place.of("acme", "house", "")
A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
KEY, OTHER_KEY = b"k" * 32, b"l" * 32
PART, OTHER = b"p" * 32, b"q" * 32
MODEL = b"m" * 16

Body = Callable[[Store, SemanticIndex, int], Awaitable[Any]]
TIER_KEYS: list[tuple[Tier, bytes]] = [("1", KEY), ("1b", OTHER_KEY)]


def over(url: str, body: Body) -> Any:
    """What ``body`` returns, given an empty store's index and its time."""

    async def run(store: Store) -> Any:
        now = (await Responses(store, 1 << 20).look_up(PLACE, [])).now
        return await body(store, SemanticIndex(store), now)

    return on(url, run)


@pytest.fixture(params=["memory", *of_servers("redis8")])
def vectors(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        yield "memory://"
        return
    with server_of("8") as server:
        yield server.url


def at(degrees: float) -> bytes:
    angle = math.radians(degrees)
    return struct.pack("<2f", math.cos(angle), math.sin(angle))


def answer(now: int, text: str = "t") -> CacheEntry:
    later = now + MINUTE
    body = b'{"text":"%s"}' % text.encode()
    return CacheEntry(body, "up", "m", Usage(1, 2), 7, now - 1000, now - 500, later, later, later)


async def kept(store: Store, *entries: tuple[bytes, CacheEntry], place: Place = PLACE) -> None:
    Responses(store, 1 << 20).keep(place, entries)
    await settled(store)


async def pointed(
    store: Store, semantic_index: SemanticIndex, now: int, served: bytes = A
) -> bytes:
    """An entry, and a key that points to it."""
    entry = answer(now)
    await kept(store, (served, entry))
    semantic_index.keep("acme", [KEY], served, MINUTE)
    await settled(store)
    return encode(entry, names.answer("acme", served.hex()))


# Keys


def test_a_key_leads_to_the_entry_it_was_kept_for(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        entry = await pointed(store, semantic_index, now)
        found = await semantic_index.equal(PLACE, [("1", KEY)], B, PART)
        assert found is not None
        return found == (A, entry, False, "1")

    assert over(url, body)


def test_the_strict_key_goes_before_the_wide_one(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        both: list[tuple[Tier, bytes]] = [("1", KEY), ("1b", OTHER_KEY)]
        await pointed(store, semantic_index, now)
        semantic_index.keep("acme", [OTHER_KEY], A, MINUTE)
        strict = await semantic_index.equal(PLACE, both, B, PART)
        await store.command("DEL", names.meaning("acme", KEY.hex()))
        wide = await semantic_index.equal(PLACE, both, B, PART)
        return strict and strict.tier, wide and wide.tier

    assert over(url, body) == ("1", "1b")


def test_a_wide_key_answers_where_the_strict_one_leads_to_what_was_asked(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now, B)
        await pointed(store, semantic_index, now, A)
        semantic_index.keep("acme", [OTHER_KEY], B, MINUTE)
        found = await semantic_index.equal(PLACE, [("1", KEY), ("1b", OTHER_KEY)], A, PART)
        return found and (found.digest, found.tier)

    assert over(url, body) == (B, "1b")


def test_a_closed_wide_tier_says_so_and_leaves_the_strict_one_open(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now)
        semantic_index.keep("acme", [OTHER_KEY], A, MINUTE)
        await semantic_index.change("acme", PART, "1b", Samples(closed=1, closures=1))
        found = [
            await semantic_index.equal(PLACE, [(tier, key)], B, PART) for tier, key in TIER_KEYS
        ]
        return [one and one.closed for one in found]

    assert over(url, body) == [False, True]


def test_a_key_leads_nowhere_else(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now)
        stranger = Place.of("other", "house", "")
        everybody = Place.of("", "house", "")
        return [
            await semantic_index.equal(PLACE, [("1", OTHER_KEY)], B, PART),
            await semantic_index.equal(stranger, [("1", KEY)], B, PART),
            await semantic_index.equal(everybody, [("1", KEY)], B, PART),
            await semantic_index.equal(PLACE, [("1", KEY)], A, PART),  # its own prompt is no other
        ]

    assert over(url, body) == [None] * 4


def test_the_last_entry_kept_for_a_key_is_the_one(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now, A)
        await pointed(store, semantic_index, now, B)
        found = await semantic_index.equal(PLACE, [("1", KEY)], C, PART)
        return found and found.digest

    assert over(url, body) == B


def test_a_key_goes_when_its_time_is_over(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now)
        return await store.command("PTTL", names.meaning("acme", KEY.hex()))

    assert 0 < over(url, body) <= MINUTE


def test_a_key_leads_nowhere_without_the_entry(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        semantic_index.keep("acme", [KEY], A, MINUTE)
        await settled(store)
        return await semantic_index.equal(PLACE, [("1", KEY)], B, PART)

    assert over(url, body) is None


@pytest.mark.parametrize("what", [(None, None), ("house", None), (None, ""), ("house", "")])
def test_a_purged_entry_answers_nothing(url: str, what: tuple[str | None, str | None]) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now)
        await Responses(store, 1 << 20).purge("acme", *what)
        return await semantic_index.equal(PLACE, [("1", KEY)], B, PART)

    assert over(url, body) is None


@pytest.mark.parametrize("what", [("elsewhere", None), (None, "elsewhere")])
def test_a_purge_of_others_leaves_it(url: str, what: tuple[str | None, str | None]) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now)
        await Responses(store, 1 << 20).purge("acme", *what)
        return await semantic_index.equal(PLACE, [("1", KEY)], B, PART)

    assert over(url, body) is not None


@pytest.mark.parametrize("command", [("SET", "garbage"), ("RPUSH", "x"), ("SET", "")])
def test_an_entry_that_nobody_can_read_is_no_crash(url: str, command: tuple[str, str]) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        semantic_index.keep("acme", [KEY], A, MINUTE)
        await settled(store)
        await store.command(command[0], names.answer("acme", A.hex()), command[1])
        found = await semantic_index.equal(PLACE, [("1", KEY)], B, PART)
        return found is None or found.entry == command[1].encode()

    assert over(url, body)


# Bans


def test_a_banned_pair_is_banned_and_no_other(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now)
        await semantic_index.ban("acme", B, A)
        pairs = [("acme", B, A), ("acme", A, B), ("acme", C, A), ("other", B, A), ("", B, A)]
        banned = [await semantic_index.is_banned(*pair) for pair in pairs]
        found = [await semantic_index.equal(PLACE, [("1", KEY)], asked, PART) for asked in (B, C)]
        return banned, [one is not None for one in found]

    assert over(url, body) == ([True, False, False, False, False], [False, True])


def test_an_entry_in_quarantine_answers_nobody_of_its_tenant(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now)
        await semantic_index.ban("other", C, A, quarantine=True)
        before = await semantic_index.equal(PLACE, [("1", KEY)], B, PART)
        await semantic_index.ban("acme", C, A, quarantine=True)
        banned = [await semantic_index.is_banned("acme", asked, A) for asked in (B, C)]
        return before is None, await semantic_index.equal(PLACE, [("1", KEY)], B, PART), banned

    assert over(url, body) == (False, None, [True, True])


def test_verdicts_are_kept_for_a_month(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await semantic_index.ban("acme", B, A, quarantine=True)
        await semantic_index.add_sample("acme", PART, MODEL, "1", differs=True, window=8)
        keys = [
            names.banned("acme", B.hex()),
            names.quarantined("acme", A.hex()),
            names.evidence("acme", PART.hex()),
            names.evidence("acme", MODEL.hex()),
            names.verdicts("acme"),
        ]
        return [await store.command("TTL", key) for key in keys]

    assert all(KEEP_VERDICTS - 60 < ttl <= KEEP_VERDICTS for ttl in over(url, body))


def test_the_verdicts_of_a_tenant_are_bounded_and_the_oldest_go(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_VERDICTS", 10)

    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        pairs = [(b"%032d" % number, b"%032d" % (100 + number)) for number in range(15)]
        for asked, served in pairs:
            await semantic_index.ban("acme", asked, served, quarantine=True)
            await semantic_index.add_sample("acme", asked, MODEL, "1", differs=True, window=8)
        await semantic_index.ban("other", A, B)
        kept = [await semantic_index.is_banned("acme", *pair) for pair in pairs]
        found = await store.command("KEYS", "hg1:{acme}:*")
        return kept, len(found), await semantic_index.is_banned("other", A, B)

    kept, count, others = over(url, body)
    assert (sum(kept) <= 5, kept[-1], others) == (True, True, True)
    assert count <= 10 + 2  # the model's counts, and the list of verdicts itself


def test_the_banned_answers_of_a_question_are_bounded(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BANNED", 5)

    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        for number in range(20):
            await semantic_index.ban("acme", A, b"%032d" % number)
            assert await semantic_index.is_banned("acme", A, b"%032d" % number)
        return await store.command("SCARD", names.banned("acme", A.hex()))

    assert over(url, body) == 5


def test_what_is_forgotten_leads_nowhere_and_the_entry_stays(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now)
        await semantic_index.probe()
        await semantic_index.keep_vector("acme", PART, Near(A, "text", 1.0), at(0), now + MINUTE)
        await semantic_index.forget("acme", [KEY], PART, A)
        near = await semantic_index.near("acme", PART, at(0), now) if semantic_index.vectors else []
        entry = (await Responses(store, 1 << 20).look_up(PLACE, [A])).entries[0]
        return await semantic_index.equal(PLACE, [("1", KEY)], B, PART), near, entry is not None

    assert over(url, body) == (None, [], True)


# Samples


def test_nothing_was_compared_in_the_beginning(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        return await semantic_index.samples("acme", PART, MODEL, "1")

    assert over(url, body) == Samples()


def test_comparisons_are_counted_by_partition_and_tier(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        for differs in (True, False, True):
            last = await semantic_index.add_sample(
                "acme", PART, MODEL, "1", differs=differs, window=100
            )
        read = await semantic_index.samples("acme", PART, MODEL, "1")
        rest = [
            await semantic_index.samples("acme", PART, MODEL, "2"),
            await semantic_index.samples("acme", OTHER, MODEL, "1"),
            await semantic_index.samples("other", PART, MODEL, "1"),
        ]
        return last, read, rest

    three = Samples(looked=3, differed=2, recent_looked=3, recent_differed=2)
    assert over(url, body) == (three, three, [Samples()] * 3)


def test_recent_ones_start_anew_after_each_window(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        return [
            (await semantic_index.add_sample("acme", PART, MODEL, "1", differs=True, window=3))[:4]
            for _ in range(7)
        ]

    recent = [1, 2, 3, 1, 2, 3, 1]
    assert over(url, body) == [(n + 1, n + 1, r, r) for n, r in enumerate(recent)]


def test_concurrent_comparisons_are_all_counted(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        others = [semantic_index, SemanticIndex(store)]
        await asyncio.gather(
            *(
                others[n % 2].add_sample("acme", PART, MODEL, "2", differs=n % 4 == 0, window=1000)
                for n in range(100)
            )
        )
        return (await semantic_index.samples("acme", PART, MODEL, "2"))[:4]

    assert over(url, body) == (100, 25, 100, 25)


def test_the_control_arm_is_the_models(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        semantic_index.count("acme", MODEL, {"control_looked": 5, "control_differed": 2})
        semantic_index.count("acme", MODEL, {"control_looked": 1, "control_differed": 0})
        await settled(store)
        both = [await semantic_index.samples("acme", part, MODEL, "2") for part in (PART, OTHER)]
        stranger = await semantic_index.samples("other", PART, MODEL, "2")
        return both, stranger

    arm = Samples(control_looked=6, control_differed=2)
    assert over(url, body) == ([arm, arm], Samples())


def test_a_model_has_the_counts_of_all_its_partitions(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        for part in (PART, OTHER):
            await semantic_index.add_sample(
                "acme", part, MODEL, "1", differs=part == PART, window=9
            )
        semantic_index.count("acme", MODEL, {"control_looked": 3})
        await settled(store)
        return await semantic_index.counts("acme", MODEL), await semantic_index.counts(
            "other", MODEL
        )

    counts = {"tier1_looked": 2, "tier1_differed": 1, "control_looked": 3}
    assert over(url, body) == (counts, {})


def test_a_closed_tier_is_closed_where_it_was_closed(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await pointed(store, semantic_index, now)
        closed = Samples(closed=1, closures=2, base_looked=30, base_differed=4)
        await semantic_index.change("acme", PART, "1", closed)
        equal = [await semantic_index.equal(PLACE, [("1", KEY)], B, part) for part in (PART, OTHER)]
        said = [
            await semantic_index.samples("acme", PART, MODEL, "1"),
            await semantic_index.samples("acme", PART, MODEL, "2"),
        ]
        await semantic_index.change("acme", PART, "1", closed._replace(closed=0))
        again = await semantic_index.equal(PLACE, [("1", KEY)], B, PART)
        return [one and one.closed for one in (*equal, again)], said == [closed, Samples()]

    assert over(url, body) == ([True, False, False], True)


def test_what_was_closed_is_not_closed_forever(url: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await semantic_index.add_sample("acme", PART, MODEL, "1", differs=True, window=8)
        await semantic_index.change("acme", PART, "1", Samples(closed=1, closures=1))
        return await store.command("TTL", names.evidence("acme", PART.hex()))

    assert over(url, body) > 0


# Vectors


@pytest.mark.server
def test_redis_7_has_no_vectors_and_says_so_once() -> None:
    with server_of("7") as server:

        async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
            found = await semantic_index.near("acme", PART, at(0), now)
            await semantic_index.keep_vector("acme", PART, Near(A, "a", 1.0), at(0), now + MINUTE)
            return found, await semantic_index.probe(), semantic_index.vectors

        assert over(server.url, body) == ([], False, False)


def test_a_store_with_vectors_has_them(vectors: str) -> None:
    assert over(vectors, lambda _, semantic_index, now: semantic_index.probe())


def test_neighbours_come_nearest_first_with_their_cosine(vectors: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        for digest, text, degrees in ((A, "a", 60), (B, 'b "\u00e9"', 10), (C, "c", 180)):
            near = Near(digest, text, 1.0)
            await semantic_index.keep_vector("acme", PART, near, at(degrees), now + MINUTE)
        found = await semantic_index.near("acme", PART, at(0), now)
        elsewhere = [
            await semantic_index.near("acme", OTHER, at(0), now),
            await semantic_index.near("other", PART, at(0), now),
        ]
        return [(one.digest, one.text) for one in found], [n.similarity for n in found], elsewhere

    texts, cosines, elsewhere = over(vectors, body)
    assert texts == [(B, 'b "\u00e9"'), (A, "a"), (C, "c")]
    wanted = [math.cos(math.radians(degrees)) for degrees in (10, 60, 180)]
    assert cosines == pytest.approx(wanted, abs=0.01)  # they are kept in eight bits
    assert elsewhere == [[], []]


def test_a_prompt_asked_again_is_there_once(vectors: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        for degrees, text in ((0, "old"), (90, "new")):
            near = Near(A, text, 1.0)
            await semantic_index.keep_vector("acme", PART, near, at(degrees), now + MINUTE)
        return [one.text for one in await semantic_index.near("acme", PART, at(90), now)]

    assert over(vectors, body) == ["new"]


def test_a_text_beside_a_vector_can_be_encrypted(vectors: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        sealed, other = (SemanticIndex(store, Seal([key * 32])) for key in (b"1", b"2"))
        await sealed.keep_vector("acme", PART, Near(A, "feed a wombat", 1.0), at(0), now + MINUTE)
        key = names.neighbours("acme", PART.hex())
        said = await store.command("VGETATTR", key, A.hex())
        near = [await who.near("acme", PART, at(0), now) for who in (sealed, other)]
        # What is said of one vector is nothing to another.
        await store.command("VADD", key, "FP32", at(0), B.hex(), "SETATTR", said)
        return said, near, await sealed.near("acme", PART, at(0), now)

    said, (mine, others), copied = over(vectors, body)
    assert b"wombat" not in said
    assert ([one.text for one in mine], others) == (["feed a wombat"], [])
    assert [one.digest for one in copied] == [A]


def test_neighbours_expire_and_are_given_up(vectors: str) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        for digest, until in ((A, now + MINUTE), (B, now + 2 * MINUTE)):
            await semantic_index.keep_vector("acme", PART, Near(digest, "t", 1.0), at(0), until)
        found = [
            {one.digest for one in await semantic_index.near("acme", PART, at(0), moment)}
            for moment in (now + MINUTE - 1, now + MINUTE)
        ]
        return found, await store.command("VCARD", names.neighbours("acme", PART.hex()))

    assert over(vectors, body) == ([{A, B}, {B}], 1)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_set_lives_as_long_as_its_longest_vector(vectors: str, order: tuple[int, int]) -> None:
    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        for digest, minutes in zip((A, B), order, strict=True):
            near, until = Near(digest, "t", 1.0), now + minutes * MINUTE
            await semantic_index.keep_vector("acme", PART, near, at(minutes), until)
        return await store.command("PTTL", names.neighbours("acme", PART.hex()))

    assert 2 * MINUTE - 5000 < over(vectors, body) <= 2 * MINUTE


def test_there_are_no_more_vectors_than_there_may_be(
    vectors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_VECTORS", 10)

    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        for number in range(30):
            near = Near(b"%032d" % number, "t", 1.0)
            await semantic_index.keep_vector("acme", PART, near, at(number), now + MINUTE)
        return await store.command("VCARD", names.neighbours("acme", PART.hex()))

    assert over(vectors, body) <= 10


def test_a_vector_of_other_dimensions_is_no_crash(vectors: str) -> None:
    wrong = struct.pack("<3f", 1, 0, 0)

    async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
        await semantic_index.keep_vector("acme", PART, Near(A, "t", 1.0), at(0), now + MINUTE)
        found = await semantic_index.near("acme", PART, wrong, now)
        await semantic_index.keep_vector("acme", PART, Near(B, "t", 1.0), wrong, now + MINUTE)
        right = await semantic_index.near("acme", PART, at(0), now)
        return found, A in [one.digest for one in right], semantic_index.vectors

    assert over(vectors, body) == ([], True, True)


@pytest.mark.server
def test_a_dead_store_is_unavailable() -> None:
    with server_of("7") as server:

        async def body(store: Store, semantic_index: SemanticIndex, now: int) -> Any:
            server.kill()
            asked: list[Awaitable[Any]] = [
                semantic_index.equal(PLACE, [("1", KEY)], B, PART),
                semantic_index.near("acme", PART, at(0), now),
                semantic_index.samples("acme", PART, MODEL, "1"),
                semantic_index.is_banned("acme", B, A),
                semantic_index.ban("acme", B, A),
                semantic_index.ban("acme", B, A, quarantine=True),
                semantic_index.counts("acme", MODEL),
                semantic_index.probe(),
            ]
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            return [type(outcome) for outcome in outcomes]

        assert over(server.url, body) == [StoreUnavailable] * 8
