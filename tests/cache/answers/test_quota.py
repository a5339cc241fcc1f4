"""How much room the cache takes: counted exactly, bounded, and never the last of a server's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.usage import Usage
from cache.answers.entry import CacheEntry
from cache.answers.quota import NOT_COUNTED, UNIT, Quota, targets
from cache.answers.shared_tier import Place, Responses
from cache.quotas.counters import Counters
from cache.semantic.index import Near, SemanticIndex
from cache.store import key_names as names
from cache.store.base import Store
from cache.store.opening import open_store
from tests.cache.stores import fails, of_servers, on, server_of, settled, until
from tests.harness.redis_server import RedisServer

HOUR = 3_600_000
KIB, MIB = 1 << 10, 1 << 20
SIZE = 4000  # of a test's answer; with what stands around it 4.5 KiB

Body = Callable[[Store, Quota, Responses], Awaitable[Any]]


def over(url: str, body: Body, most: int = MIB, of_tenant: int | None = None) -> Any:
    """What ``body`` returns, given answers with a quota that knows how things stand."""

    async def run(store: Store) -> Any:
        quota = Quota(store, Counters(store), most, of_tenant)
        await quota.count()
        return await body(store, quota, Responses(store, 0, quota=quota))

    return on(url, run)


def digest(number: int) -> bytes:
    return b"%032d" % number


def answer(now: int, life: int = HOUR) -> CacheEntry:
    till = now + life
    return CacheEntry(b"x" * SIZE, "up", "m", Usage(1, 2), 7, now, now, till, till, till)


async def keep(
    store: Store, responses: Responses, tenant: str, numbers: Any, life: int = HOUR
) -> list[int]:
    """Which of these are there, after each was kept."""
    place = Place.of(tenant, "house", "")
    now = (await responses.look_up(place, [])).now
    for number in numbers:
        responses.keep(place, [(digest(number), answer(now, life=life))])
    await settled(store)
    found = await responses.look_up(place, [digest(number) for number in numbers])
    return [number for number, one in zip(numbers, found.entries, strict=True) if one is not None]


async def bytes_of(store: Store, tenant: str) -> int:
    """What the store counts for a tenant."""
    return UNIT * int(float(await store.command("ZSCORE", names.cached(tenant), "sum") or 0))


async def really(store: Store, tenant: str) -> int:
    """What is there: values, and 512 bytes around each."""
    total = 0
    for key in await store.command("KEYS", f"{names.prefix(tenant)}answer:*"):
        units = -(-(await store.command("STRLEN", key) + 512) // UNIT)
        total += units * UNIT
    return total


@pytest.fixture(params=of_servers("7", "8"))
def url(request: pytest.FixtureRequest) -> Any:
    with server_of(request.param) as server:
        yield server.url


# A tenant's share


def test_who_is_at_the_bound_gives_up_its_own_oldest(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        other = await keep(store, responses, "other", range(20))
        kept = await keep(store, responses, "acme", range(60))
        last = await keep(store, responses, "acme", range(60, 70))
        sums = await bytes_of(store, "acme"), await really(store, "acme")
        return other, kept, last, sums, len(await keep(store, responses, "other", [])) == 0

    other, kept, last, (counted, there), _ = over(url, body, MIB, 100 * KIB)
    assert other == list(range(20))
    assert last == list(range(60, 70))
    assert 15 < len(kept) < 60
    assert counted == there
    assert 90 * KIB < counted <= 100 * KIB


def test_what_is_kept_again_counts_once(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        await keep(store, responses, "acme", [1, 2])
        before = await bytes_of(store, "acme")
        for _ in range(30):
            await keep(store, responses, "acme", [1])
        return before, await bytes_of(store, "acme"), await really(store, "acme")

    before, after, there = over(url, body)
    assert before == after == there


def test_what_expired_or_was_evicted_takes_no_room(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        await keep(store, responses, "acme", range(10), life=400)
        await keep(store, responses, "acme", range(10, 20))
        await store.command("DEL", names.answer("acme", digest(12).hex()))
        keys = [names.answer("acme", digest(number).hex()) for number in range(10)]

        async def expired() -> bool:
            return await store.command("EXISTS", *keys) == 0

        before = await bytes_of(store, "acme")
        await until(expired)
        await keep(store, responses, "acme", [20, 21, 22])  # each writing looks at a few
        between = await bytes_of(store, "acme")
        await quota.count()
        return before, between, await bytes_of(store, "acme"), await really(store, "acme")

    before, between, after, there = over(url, body)
    assert before > between
    assert after == there


def test_a_tenant_that_has_nothing_left_is_forgotten(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        await keep(store, responses, "acme", [1])
        await quota.count()
        used = quota.used
        await store.command("DEL", names.answer("acme", digest(1).hex()))
        await quota.count()
        left = (
            await store.command("KEYS", "*cached"),
            await store.command("HLEN", "hg1:cache-sizes"),
        )
        return used > 0, quota.used, left

    assert over(url, body) == (True, 0, ([], 0))


def test_the_account_of_a_tenant_outlives_its_entries_under_every_policy(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        await keep(store, responses, "acme", [1])
        await quota.count()
        keys = (names.cached("acme"), names.CACHE_SIZES)
        return [await store.command("TTL", key) for key in keys]

    assert over(url, body) == [-1, -1]


def test_what_is_larger_than_a_share_is_not_kept(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        refused = quota.grant("acme", 101 * KIB), quota.grant("acme", 99 * KIB)
        return refused[0], refused[1] is not None

    assert over(url, body, MIB, 100 * KIB) == (None, True)


# All tenants


def test_all_tenants_together_stay_within_the_bound(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        totals = []
        for turn in range(12):
            for tenant in ("a", "b", "c", "d", ""):
                await keep(store, responses, tenant, range(turn * 20, turn * 20 + 20))
            await quota.count()
            await quota.count()  # those who are too large are looked after in the next round
            totals.append(quota.used)
        return totals, [await bytes_of(store, t) for t in ("a", "b", "c", "d", "")]

    totals, shares = over(url, body)
    assert max(totals[1:]) <= MIB
    assert totals[-1] > MIB * 0.8
    assert min(shares) > MIB // 10


def test_a_newcomer_finds_room_although_another_tenant_has_filled_it_all(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        for turn in range(20):
            await keep(store, responses, "hog", range(turn * 20, turn * 20 + 20))
            await quota.count()
        full = quota.used
        fresh = await keep(store, responses, "newcomer", range(30))
        await quota.count()
        await quota.count()
        again = await keep(store, responses, "newcomer", range(30))
        return full, fresh, again, quota.used

    full, fresh, again, used = over(url, body)
    assert full > MIB * 0.9
    assert fresh == again == list(range(30))
    assert used <= MIB


def test_between_two_readings_no_more_comes_in_than_was_free(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        quota.workers = 2  # so that half of it is this worker's
        for tenant in range(40):
            await keep(store, responses, f"t{tenant}", range(50))
        return sum([await bytes_of(store, f"t{tenant}") for tenant in range(40)])

    # Half of what is free, and the even share of the other half that each tenant may always have.
    assert over(url, body) <= MIB * 1.5


def test_another_worker_sees_what_is_there(url: str) -> None:
    async def body(store: Store, quota: Quota, responses: Responses) -> Any:
        await keep(store, responses, "acme", range(20))
        await quota.count()
        other = Quota(store, Counters(store), MIB)
        await other.count()
        return quota.used, other.used, await bytes_of(store, "acme")

    mine, others, counted = over(url, body)
    assert mine == others == counted


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 1000), max_size=8), st.integers(1, 3000))
def test_the_largest_give_up_until_all_fit(units: dict[str, int], most: int) -> None:
    wanted = targets(units, most)
    left = {tenant: min(size, wanted.get(tenant, size)) for tenant, size in units.items()}
    assert sum(left.values()) <= max(most, 0) or not units
    assert (wanted == {}) == (sum(units.values()) <= most)
    assert len(set(wanted.values())) <= 1
    small = [size for tenant, size in units.items() if tenant not in wanted]
    assert not wanted or all(size <= max(wanted.values()) for size in small)


# SemanticIndex and vectors count too


@pytest.mark.server
def test_meanings_and_vectors_count(request: pytest.FixtureRequest) -> None:
    with server_of("8") as server:

        async def body(store: Store, quota: Quota, responses: Responses) -> Any:
            semantic_index = SemanticIndex(store, None, quota)
            now = (await responses.look_up(Place.of("acme", "house", ""), [])).now
            sums = [await bytes_of(store, "acme")]
            for number in range(40):
                semantic_index.keep("acme", [digest(number)], b"d" * 32, HOUR)
            await settled(store)
            sums.append(await bytes_of(store, "acme"))
            for number in range(100):
                near = Near(digest(number), "feed a wombat", 1.0)
                vector = bytes([number]) * 1024
                await semantic_index.keep_vector("acme", b"p" * 32, near, vector, now + HOUR)
                sums.append(await bytes_of(store, "acme"))
            key = names.neighbours("acme", (b"p" * 32).hex())
            return sums, await store.command("VCARD", key)

        sums, vectors = over(server.url, body, MIB, 200 * KIB)
    assert sums[0] < sums[1] < sums[2]
    assert max(sums) <= 200 * KIB
    assert 0 < vectors < 100


@pytest.mark.server
def test_a_long_text_is_not_kept_beside_a_vector() -> None:
    with server_of("8") as server:

        async def body(store: Store, quota: Quota, responses: Responses) -> Any:
            semantic_index = SemanticIndex(store, None, quota)
            near = Near(digest(1), "x" * 5000, 1.0)
            await semantic_index.keep_vector("acme", b"p" * 32, near, bytes(1024), 2**42)
            return await store.command("KEYS", "*near*")

        assert over(server.url, body) == []


# The server


def fill(server: RedisServer, used: float) -> None:
    """Something else takes the server's memory."""
    most = int(server.info("memory")["maxmemory"])
    number = 0
    while int(server.info("memory")["used_memory"]) < used * most:
        server.cli("SET", f"filler:{number}", "x" * 100_000)
        number += 1


@pytest.mark.server
@pytest.mark.parametrize("major", ["7", "8"])
def test_nothing_is_kept_on_a_server_that_is_nearly_full_whatever_fills_it(major: str) -> None:
    with server_of(major, ("--maxmemory", "8mb")) as server:

        async def body(store: Store, quota: Quota, responses: Responses) -> Any:
            before = await keep(store, responses, "acme", [1])
            fill(server, 0.82)
            # The script sees it before the worker has read of it.
            unread = quota.stopped, await keep(store, responses, "acme", [2])
            await quota.count()
            read = quota.stopped, quota.grant("acme", 10)
            for key in server.cli("KEYS", "filler:*").splitlines():
                server.cli("DEL", key)
            await quota.count()
            after = quota.stopped, await keep(store, responses, "acme", [3])
            refused = quota._counters._waiting
            return before, unread, read, after, refused

        before, unread, read, after, refused = over(server.url, body)
    assert (before, unread, read, after) == ([1], (False, []), (True, None), (False, [3]))
    assert refused == {'headgate_cache_not_kept_total{reason="memory"}': 1}


@pytest.mark.server
def test_the_bound_is_at_most_half_of_what_the_server_may_use() -> None:
    with server_of("7", ("--maxmemory", "8mb")) as server:

        async def body(store: Store, quota: Quota, responses: Responses) -> Any:
            return quota.most

        assert over(server.url, body, 256 * MIB) == 4 * MIB
        assert over(server.url, body, 2 * MIB) == 2 * MIB


@pytest.mark.server
def test_a_server_that_does_not_say_how_full_it_is_is_no_outage() -> None:
    with server_of("7", ("--maxmemory", "8mb")) as server:
        server.cli("ACL", "SETUSER", "shy", "on", ">secret", "~*", "&*", "+@all", "-info")

        async def body(store: Store, quota: Quota, responses: Responses) -> Any:
            kept = await keep(store, responses, "acme", [1])
            return kept, quota.most, quota.stopped, store.breaker.opened

        url = server.url.replace("redis://", "redis://shy:secret@")
        assert over(url, body, 2 * MIB) == ([1], 2 * MIB, False, 0)


@pytest.mark.server
def test_a_store_that_is_out_changes_nothing_it_knew() -> None:
    with server_of("7") as server:

        async def body(store: Store, quota: Quota, responses: Responses) -> Any:
            await keep(store, responses, "acme", [1])
            await quota.count()
            used = quota.used
            server.kill()
            return await fails(quota.count()), quota.used == used > 0

        assert over(server.url, body) == (True, True)


@pytest.mark.server
def test_it_reads_again_and_again_and_sooner_where_much_is_written() -> None:
    with server_of("7") as server:

        async def body(store: Store, quota: Quota, responses: Responses) -> Any:
            task = asyncio.create_task(quota.keep_counting())
            await keep(store, responses, "acme", range(150))
            started = time.monotonic()
            await until(lambda: quota.used > 0)
            task.cancel()
            return time.monotonic() - started

        assert over(server.url, body) < 0.9


def test_a_store_in_the_process_counts_nothing_here() -> None:
    responses = Responses(open_store("memory://", 1), 1 << 20)
    assert responses._grant("acme", [("k", b"v", 1)]) == NOT_COUNTED
