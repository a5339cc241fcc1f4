"""Hits, followers, stale answers and renewals have passed the guardrails."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.cache.serving.serving import entry_of, lookup_of, plans_of
from tests.harness.chain import ALIAS, KEY, call_of, in_loop, turns
from tests.harness.guarded import (
    BLOCK,
    EMAIL,
    REDACT,
    SECRET,
    Guarded,
    Speaking,
    ask,
    both,
    plans_with,
    question,
    said,
    shapes,
)


@both
@shapes
def test_a_hit_has_passed_the_rules(family: str, stream: bool) -> None:  # AISIX #448
    chain = Guarded(Speaking(f"mail {EMAIL}"), **REDACT)
    ask(chain, family)
    door = ask(chain, family, stream=stream)
    assert door.headers[b"x-headgate-cache"] == b"hit"
    assert set(said(door).values()) == {"mail [EMAIL]"}
    assert len(chain.inner.calls) == 1


@both
def test_the_input_is_read_before_the_cache_is_asked(family: str) -> None:
    chain = Guarded(Speaking())
    body = question(family, f"my key is {SECRET}")
    assert ask(chain, family, **body).status == 200
    chain.rules(**BLOCK)
    assert ask(chain, family, **body).status == 400


def test_an_entry_made_under_other_rules_is_a_miss() -> None:
    chain = Guarded(Speaking(f"mail {EMAIL}"))
    assert EMAIL in ask(chain).body.decode()
    chain.rules(**REDACT)
    door = ask(chain)
    assert door.headers[b"x-headgate-cache"] == b"miss"
    assert set(said(door).values()) == {"mail [EMAIL]"}
    assert ask(chain).headers[b"x-headgate-cache"] == b"hit"


def test_a_change_of_input_rules_keeps_the_answers() -> None:
    chain = Guarded(Speaking(), **REDACT)
    ask(chain)
    chain.rules(**REDACT, more={"kind": "length", "phases": ["input"], "max_characters": 9000})
    assert ask(chain).headers[b"x-headgate-cache"] == b"hit"


def test_prompts_that_are_the_same_when_redacted_share_an_entry() -> None:
    chain = Guarded(Speaking(), **REDACT)
    ask(chain, prompt="who is ann@example.com?")
    assert ask(chain, prompt="who is bob@example.com?").headers[b"x-headgate-cache"] == b"hit"


def test_a_blocked_answer_is_not_kept() -> None:
    chain = Guarded(Speaking(SECRET), **BLOCK)
    ask(chain)
    ask(chain)
    assert len(chain.inner.calls) == 2


@both
@shapes
def test_followers_get_what_the_rules_left(family: str, stream: bool) -> None:
    chain = Guarded(Speaking(f"mail {EMAIL} and so on"), **REDACT)

    async def crowd() -> Any:
        return await asyncio.gather(*(chain.ask(family, stream=stream) for _ in range(5)))

    doors = in_loop(crowd)
    assert {text for door in doors for text in said(door).values()} == {"mail [EMAIL] and so on"}
    assert len(chain.inner.calls) == 1


@both
@shapes
def test_a_block_is_everybodys(family: str, stream: bool) -> None:
    chain = Guarded(Speaking(f"the key {SECRET} leaks"), **BLOCK)

    async def crowd() -> Any:
        return await asyncio.gather(*(chain.ask(family, stream=stream) for _ in range(5)))

    doors = in_loop(crowd)
    assert {door.status for door in doors} == {400}
    assert all(SECRET.encode() not in door.body for door in doors)
    assert len(chain.inner.calls) <= 2


def test_requests_under_other_rules_do_not_share_a_call() -> None:
    rules = {"extra": {"kind": "pii", "mode": "redact", "on_request": True, "phases": ["output"]}}
    chain = Guarded(Speaking(f"mail {EMAIL}"), **rules)
    asked = [(b"x-headgate-guardrails", b"extra")]

    async def two() -> Any:
        return await asyncio.gather(chain.ask(stream=True), chain.ask(headers=asked, stream=True))

    plain, guarded = in_loop(two)
    assert said(plain) == {"0.text": f"mail {EMAIL}"}
    assert said(guarded) == {"0.text": "mail [EMAIL]"}
    assert len(chain.inner.calls) == 2


REVALIDATED = plans_of({"stale_while_revalidate": "60s"})
POLICY = plans_with(**REDACT).of(ALIAS, KEY.tenant, KEY.id, frozenset()).policy.hex()


def with_stale(chain: Guarded, policy: str) -> Any:
    """Two answers of a chain that keeps an old one: at once, and when there was time to renew it."""

    async def run() -> Any:
        plan = REVALIDATED.of_call(call_of(prompt="hello"))
        assert plan is not None
        lookup = lookup_of(call_of(prompt="hello"), plan)
        entry = entry_of("old", await chain.worker.now(), age=60_001, revalidate=60_000)
        kept = [(lookup.digests[0], entry._replace(policy=policy))]
        chain.worker.services.responses.keep(lookup.place, kept)
        first = await chain.ask(prompt="hello")
        await turns(200)
        return first, await chain.ask(prompt="hello")

    return in_loop(run)


def test_a_renewal_in_the_background_passes_the_rules() -> None:
    chain = Guarded(Speaking(f"mail {EMAIL}"), plans=REVALIDATED, **REDACT)
    stale, renewed = with_stale(chain, POLICY)
    assert (stale.headers[b"x-headgate-cache"], said(stale)) == (b"stale", {"0.text": "old"})
    assert (renewed.headers[b"x-headgate-cache"], said(renewed)) == (
        b"hit",
        {"0.text": "mail [EMAIL]"},
    )
    assert len(chain.inner.calls) == 1


def test_a_stale_answer_that_passed_other_rules_is_not_served() -> None:
    chain = Guarded(Speaking("new"), plans=REVALIDATED, **REDACT)
    first, _ = with_stale(chain, "")
    assert (first.headers[b"x-headgate-cache"], said(first)) == (b"miss", {"0.text": "new"})
