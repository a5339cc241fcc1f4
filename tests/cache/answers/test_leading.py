"""Who asks the upstream, for how long, and what of it others are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cache.answers.shared_tier import ENTRIES_AT_ONCE, FLIGHT_LEASE_MS, Responses
from cache.store import key_names as names
from cache.store.base import Store
from tests.cache.answers.keeping import PLACE, A, B, answer, holder, kept, on_empty, stale
from tests.cache.stores import settled

# Who asks the upstream


def test_one_of_many_leads(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        asked = (holder(responses, f"w.{number}", [A]) for number in range(200))
        return await asyncio.gather(*asked)

    holders = on_empty(url, body)
    assert len(set(holders)) == 1
    assert holders[0] in {f"w.{number}" for number in range(200)}


def test_nobody_leads_where_everything_is_fresh(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await kept(store, responses, (A, answer(now)), (B, answer(now)))
        asked = await holder(responses, "w.1", [A, B])
        return asked, await store.command("EXISTS", names.flight("acme", A.hex()))

    assert on_empty(url, body) == (None, 0)


def test_who_does_not_want_to_lead_learns_nothing_and_holds_nothing(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        found = await responses.look_up(PLACE, [A])
        return found.holder, await store.command("EXISTS", names.flight("acme", ""))

    assert on_empty(url, body) == (None, 0)


@pytest.mark.parametrize("what", ["missing", "stale", "too-old", "unread", "one-of-two"])
def test_whoever_misses_something_leads(url: str, what: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        entry = stale(now) if what == "stale" else answer(now, stored=now - 3000)
        if what != "missing":
            await kept(store, responses, (A, entry))
        asked: dict[str, Any] = {"too-old": {"max_age": 1}, "unread": {"read": False}}.get(what, {})
        return await holder(responses, "w.1", [A, B] if what == "one-of-two" else [A], **asked)

    assert on_empty(url, body) == "w.1"


def test_an_age_that_is_not_passed_keeps_the_answer_fresh(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await kept(store, responses, (A, answer(now, stored=now - 3000)))
        return await holder(responses, "w.1", [A], max_age=60)

    assert on_empty(url, body) is None


def test_a_lease_runs_out(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await holder(responses, "w.1", [A])
        await holder(responses, "w.2", [A])
        return await store.command("PTTL", names.flight("acme", A.hex()))

    assert 0 < on_empty(url, body) <= FLIGHT_LEASE_MS


def test_keeping_an_answer_ends_its_flight(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await holder(responses, "w.1", [A])
        responses.keep(PLACE, [(A, stale(now))], "w.1", A)
        await settled(store)
        return await holder(responses, "w.2", [A])

    assert on_empty(url, body) == "w.2"


def test_a_flight_ends_without_an_answer_too(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await holder(responses, "w.1", [A])
        responses.keep(PLACE, (), "w.1", A)
        await settled(store)
        return await holder(responses, "w.2", [A])

    assert on_empty(url, body) == "w.2"


@pytest.mark.parametrize("flight", ["w.2", "w.11", ""])
def test_nobody_ends_the_flight_of_another(url: str, flight: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await holder(responses, "w.1", [A])
        responses.keep(PLACE, [(B, answer(now))], flight, A)
        await settled(store)
        return await holder(responses, "w.3", [A])

    assert on_empty(url, body) == "w.1"


def test_a_flight_of_one_question_bars_no_other(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await holder(responses, "w.1", [A])
        return (await responses.look_up(PLACE, [B], flight="w.2", flight_digest=B)).holder

    assert on_empty(url, body) == "w.2"


def test_a_flight_lasts_until_the_last_of_its_answers_is_kept(url: str) -> None:
    # A batch takes several trips to keep: who asks in between must not ask the upstream again.
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await holder(responses, "w.1", [A])
        told: list[Any] = []
        tell = store.tell
        store.tell = lambda script, keys, args, *_: told.append((script, keys, args))  # type: ignore[method-assign]
        digests = [b"%032d" % number for number in range(ENTRIES_AT_ONCE + 5)]
        responses.keep(PLACE, [(digest, answer(now)) for digest in digests], "w.1", A)
        tell(*told[0])
        await settled(store)
        return await holder(responses, "w.2", digests[-1:])

    assert on_empty(url, body) == "w.1"


def test_what_counts_for_no_time_harms_nothing_that_is_kept_with_it(url: str) -> None:
    async def body(store: Store, responses: Responses, now: int) -> Any:
        await holder(responses, "w.1", [A])
        gone = answer(now, stored=now, fresh=now, revalidate=now, on_error=now)
        responses.keep(PLACE, [(A, gone), (B, answer(now))], "w.1", A)
        await settled(store)
        found = await responses.look_up(PLACE, [A, B])
        return [e is None for e in found.entries], await holder(responses, "w.2", [A])

    assert on_empty(url, body) == ([True, False], "w.2")
