"""What a request does about its answer: one leader for a question, and everybody else follows."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from cache.answers.shared_tier import Found
from cache.flights import relay as flight_relay
from cache.serving.lookup import CacheLookup
from cache.serving.resolution import (
    Follower,
    Hit,
    Leader,
    Miss,
    Resolution,
    Resolver,
    Stale,
    StoreDown,
)
from cache.store import key_names as names
from tests.cache.serving.serving import FRESH, Worker, lookup_of, plan_of
from tests.harness.chain import call_of, in_loop

REVALIDATED = {"stale_while_revalidate": "60s"}
STALE = {"age": FRESH + 1, "revalidate": FRESH}
NOW = -1.0  # a moment that has passed: whoever waits until then waits no longer


def resolver(worker: Worker) -> Resolver:
    return worker.services.resolver


def batch(*prompts: str, **exact: Any) -> CacheLookup:
    return lookup_of(call_of(prompt=list(prompts)), plan_of(exact))


def stale_lookup(headers: Any = None) -> CacheLookup:
    return lookup_of(plan=plan_of(REVALIDATED), headers=headers)


# Looked up, and shared with nobody


def test_what_is_kept_is_a_hit() -> None:
    async def body() -> None:
        worker, lookup = Worker(), batch("a", "b")
        kept = await worker.keep(lookup, "x", "y")
        assert await resolver(worker).look_up(lookup) == Hit(kept)
        assert lookup.missing == []

    in_loop(body)


@pytest.mark.parametrize("texts", [[], ["x"]])
def test_what_is_kept_in_part_is_a_miss(texts: list[str]) -> None:
    async def body() -> None:
        worker, lookup = Worker(), batch("a", "b")
        await worker.keep(lookup, *texts)
        assert isinstance(await resolver(worker).look_up(lookup), Miss)
        assert lookup.missing == [0, 1][len(texts) :]
        assert worker.idle

    in_loop(body)


def test_who_wants_a_new_answer_reads_no_kept_one() -> None:
    async def body() -> None:
        worker, lookup = Worker(), lookup_of(headers=[(b"cache-control", b"no-cache")])
        await worker.keep(lookup, "x")
        assert isinstance(await resolver(worker).look_up(lookup), Miss)

    in_loop(body)


def test_a_stale_answer_does_for_now_and_its_first_reader_renews_it() -> None:
    async def body() -> None:
        worker = Worker()
        kept = await worker.keep(stale_lookup(), "x", **STALE)
        first = await resolver(worker).look_up(stale_lookup())
        second = await resolver(worker).look_up(stale_lookup())
        assert isinstance(first, Stale)
        assert first.entries == kept
        assert first.renewal is not None
        assert second == Stale(kept, None)

    in_loop(body)


@pytest.mark.parametrize("directive", [b"no-store", b"only-if-cached"])
def test_who_keeps_nothing_renews_nothing(directive: bytes) -> None:
    async def body() -> Resolution:
        worker = Worker()
        await worker.keep(stale_lookup(), "x", **STALE)
        found = await resolver(worker).look_up(stale_lookup([(b"cache-control", directive)]))
        assert worker.idle
        return found

    found = in_loop(body)
    assert isinstance(found, Miss if directive == b"only-if-cached" else Stale)


def test_without_the_store_nothing_is_found_and_nothing_led() -> None:
    async def body() -> None:
        worker = Worker()
        worker.store.out = True
        assert isinstance(await resolver(worker).look_up(lookup_of()), StoreDown)
        assert isinstance(await resolver(worker).share(lookup_of()), StoreDown)
        assert worker.idle

    in_loop(body)


# Shared


def test_the_first_leads_and_the_others_follow() -> None:
    async def body() -> None:
        worker = Worker()
        first, *others = [await resolver(worker).share(lookup_of()) for _ in range(3)]
        assert isinstance(first, Leader)
        assert others == [Follower(first.flight)] * 2
        assert first.flight.followers == 2

    in_loop(body)


def test_a_follower_in_the_same_worker_does_not_ask_the_store() -> None:
    async def body() -> int:
        worker = Worker()
        await resolver(worker).share(lookup_of())
        before = worker.store.asked
        await resolver(worker).share(lookup_of())
        return worker.store.asked - before

    assert in_loop(body) == 0


def test_looking_up_and_leading_is_one_trip() -> None:
    async def body() -> int:
        worker = Worker()
        await resolver(worker).share(lookup_of())
        return worker.store.asked

    assert in_loop(body) == 1


def test_what_was_kept_meanwhile_is_a_hit_and_nobody_leads() -> None:
    async def body() -> None:
        worker, lookup = Worker(), lookup_of()
        kept = await worker.keep(lookup, "x")
        assert await resolver(worker).share(lookup) == Hit(kept)
        assert worker.idle

    in_loop(body)


def test_other_questions_have_other_leaders() -> None:
    async def body() -> None:
        worker = Worker()
        for prompt in ("a", "b"):
            found = await resolver(worker).share(lookup_of(call_of(prompt=prompt)))
            assert isinstance(found, Leader)

    in_loop(body)


def test_of_a_batch_the_missing_prompts_are_led() -> None:
    async def body() -> None:
        worker, lookup = Worker(), batch("a", "b")
        await worker.keep(lookup, "x")
        led = await resolver(worker).share(lookup)
        assert isinstance(led, Leader)
        alone = await resolver(worker).share(lookup_of(call_of(prompt="b")))
        assert alone == Follower(led.flight)

    in_loop(body)


def test_a_batch_that_is_kept_is_a_hit_and_nobody_leads() -> None:
    async def body() -> None:
        worker, lookup = Worker(), batch("a", "b")
        kept = await worker.keep(lookup, "x", "y")
        assert await resolver(worker).share(lookup) == Hit(kept)
        assert worker.idle

    in_loop(body)


def test_what_a_leader_brought_while_a_batch_was_looked_up_is_a_hit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body() -> None:
        worker, lookup = Worker(), batch("a", "b")
        responses = worker.services.responses
        look_up = responses.look_up

        async def overtaken(*args: Any, **members: Any) -> Found:
            found = await look_up(*args, **members)
            if members.get("flight"):
                await worker.keep(lookup, "x", "y")
            return found

        monkeypatch.setattr(responses, "look_up", overtaken)
        digest = lookup.flight_digest
        assert isinstance(await resolver(worker).share(lookup), Hit)
        assert worker.idle
        lease = names.flight(lookup.place.tenant, digest.hex())
        assert await worker.store.command("GET", lease) is None

    in_loop(body)


def test_a_stale_answer_is_renewed_by_one_of_those_who_share() -> None:
    async def body() -> None:
        worker = Worker()
        kept = await worker.keep(stale_lookup(), "x", **STALE)
        first = await resolver(worker).share(stale_lookup())
        assert isinstance(first, Stale)
        assert first.renewal is not None
        # Nobody waits for the renewal of what will do for now.
        assert await resolver(worker).share(stale_lookup()) == Stale(kept, None)

    in_loop(body)


def test_a_renewal_that_could_not_be_kept_is_given_back() -> None:
    async def body() -> None:
        worker = Worker()
        await worker.keep(stale_lookup(), "x", **STALE)
        not_kept = [(b"x-headgate-cache-ttl", b"0")]
        found = await resolver(worker).share(stale_lookup(not_kept))
        assert isinstance(found, Stale)
        assert found.renewal is None
        again = await resolver(worker).share(stale_lookup())
        assert isinstance(again, Stale)
        assert again.renewal is not None

    in_loop(body)


# A leader elsewhere


def test_a_leader_that_does_not_answer_is_waited_for_and_then_asked_past(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flight_relay, "WELCOME_SECONDS", 0.01)

    async def body() -> None:
        here, gone = Worker(), Worker()
        gone.services.resolver._responses._store = here.store
        assert isinstance(await resolver(gone).share(lookup_of()), Leader)
        assert isinstance(await resolver(here).share(lookup_of(), NOW), Miss)
        assert here.idle

    in_loop(body)


def test_a_leader_that_gave_up_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.serving.resolution.AGAIN_SECONDS", 0.001)

    async def body() -> None:
        worker = Worker()
        first = await resolver(worker).share(lookup_of())
        assert isinstance(first, Leader)
        first.flight.fail()  # it is over, and its lease stands yet
        assert isinstance(await resolver(worker).share(lookup_of(), NOW), Miss)
        worker.services.release(lookup_of(), first.flight)
        assert isinstance(await resolver(worker).share(lookup_of()), Leader)

    in_loop(body)


# Looked up again


def test_what_was_purged_meanwhile_is_not_served() -> None:
    async def body() -> None:
        worker, lookup = Worker(), lookup_of()
        await worker.keep(lookup, "x", age=5)
        await resolver(worker).look_up(lookup)
        await worker.services.responses.purge("acme", None, None)
        await resolver(worker).again(lookup)
        assert lookup.entries == [None]

    in_loop(body)


def test_without_the_store_time_passes_all_the_same() -> None:
    async def body() -> int:
        worker, lookup = Worker(), lookup_of()
        await resolver(worker).look_up(lookup)
        before = lookup.now
        lookup.looked_at = monotonic() - 2
        worker.store.out = True
        await resolver(worker).again(lookup)
        return lookup.now - before

    assert 2000 <= in_loop(body) < 10_000


def test_who_wants_no_kept_answer_does_not_look_again() -> None:
    async def body() -> int:
        worker, lookup = Worker(), lookup_of(headers=[(b"cache-control", b"no-cache")])
        await resolver(worker).again(lookup)
        return worker.store.asked

    assert in_loop(body) == 0
