"""Rate limits over four worker processes on one Redis: exactly what the policy says."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.e2e.limits.books import Books
from tests.e2e.limits.crowd import Volley, request, shoot, tally
from tests.e2e.limits.fleet import IDS, SHORT, Caller, Plans, ask, midway
from tests.e2e.limits.scripts import counting, endless_stream, hold
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

PLANS = Plans()
# A shared machine stalls a process for longer than the default timeout now and then; limits are
# then decided locally, as they should, but not to the request.
FLEET = {"count": 2, "workers": 2, "timeout": "500ms"}
CLIENTS = 400

REFUSED = "429 rate_limit_exceeded"


# Exactly so many.

MINUTE = PLANS.caller("minute", {"requests_per_minute": 60})
BURST = PLANS.caller("burst", {"requests_per_minute": 1, "request_burst": 100})
WIDE = PLANS.caller("wide", {"requests_per_minute": 1, "request_burst": CLIENTS})
TOKENS = PLANS.caller("tokens", {"tokens_per_minute": 1, "token_burst": 2000})
ALL_TOKENS = PLANS.caller("all-tokens", {"tokens_per_minute": 1, "token_burst": 20 * CLIENTS})
SLOTS = PLANS.caller("slots", {"concurrent": 50})
ALL_SLOTS = PLANS.caller("all-slots", {"concurrent": CLIENTS})
SHARED = PLANS.tenant("shared", {"requests_per_minute": 1, "request_burst": 70})
SHARERS = [PLANS.caller(f"sharer-{i}", tenant=SHARED) for i in range(2)]


def test_four_workers_are_counted(gateways: list[Gateway], books: Books) -> None:
    eventually(lambda: books.replicas, 4)


def test_a_minutes_requests_are_let_in_and_what_refills_meanwhile(
    gateways: list[Gateway],
) -> None:
    begun = time.perf_counter()
    answers = shoot(gateways, MINUTE.secret, SHORT, CLIENTS)
    refilled = time.perf_counter() - begun  # one request a second
    counts = tally(answers)
    assert set(counts) == {"200", REFUSED}
    assert 60 <= counts["200"] <= 60 + refilled + 1


def test_a_burst_is_let_in_to_the_request(gateways: list[Gateway]) -> None:
    counts = tally(shoot(gateways, BURST.secret, SHORT, CLIENTS))
    assert counts == {"200": 100, REFUSED: CLIENTS - 100}


@pytest.mark.parametrize("caller", [WIDE, ALL_TOKENS, ALL_SLOTS], ids=lambda caller: caller.id)
def test_nobody_is_refused_who_should_pass(gateways: list[Gateway], caller: Caller) -> None:
    assert tally(shoot(gateways, caller.secret, SHORT, CLIENTS)) == {"200": CLIENTS}


def test_tokens_are_let_in_to_the_token(gateways: list[Gateway]) -> None:
    counts = tally(shoot(gateways, TOKENS.secret, SHORT, CLIENTS))
    assert counts == {"200": 2000 // 20, REFUSED: CLIENTS - 100}


def test_two_keys_share_their_tenants_limit(gateways: list[Gateway]) -> None:
    volleys = [Volley(gateways, sharer.secret, SHORT, CLIENTS // 2) for sharer in SHARERS]
    answers = [answer for volley in volleys for answer in volley.finish()]
    assert tally(answers) == {"200": 70, REFUSED: CLIENTS - 70}


def test_so_many_run_at_once_and_no_more(
    gateways: list[Gateway], upstream: Upstream, books: Books
) -> None:
    gate = hold(upstream)
    volley = Volley(gateways, SLOTS.secret, {"model": "up", "prompt": IDS}, CLIENTS)
    refused = volley.wait_for(CLIENTS - 50)
    assert tally(refused) == {REFUSED: CLIENTS - 50}
    assert len(upstream.wait_for(50)) == 50
    gate.open()
    assert tally(volley.finish()) == {"200": 50, REFUSED: CLIENTS - 50}
    eventually(lambda: books.slots_taken("slots", "key:slots"), 0)
    assert tally(shoot(gateways, SLOTS.secret, SHORT, 50)) == {"200": 50}


# All scopes or none.

LAYERED_TENANT = PLANS.tenant(
    "layered",
    {"requests_per_minute": 1, "request_burst": 8},
    models={
        "sim": {"limits": {"requests_per_minute": 1, "request_burst": 1}},
        "up": {"limits": {"concurrent": 1}},
    },
)
LAYERED = PLANS.caller(
    "layered", {"requests_per_minute": 1, "request_burst": 5}, tenant=LAYERED_TENANT
)
FREE_RIDER = PLANS.caller("free-rider", tenant=LAYERED_TENANT)


def test_what_one_scope_refuses_costs_the_others_nothing(
    gateways: list[Gateway], upstream: Upstream
) -> None:
    shots = tally(shoot(gateways, LAYERED.secret, SHORT, 30))
    assert shots == {"200": 1, REFUSED: 29}  # the model's one
    gate = hold(upstream)
    volley = Volley(gateways, LAYERED.secret, {"model": "up", "prompt": IDS}, 30)
    volley.wait_for(29)  # the model's one slot
    gate.open()
    assert tally(volley.finish()) == {"200": 1, REFUSED: 29}
    other = SHORT | {"model": "other"}
    shots = tally(shoot(gateways, LAYERED.secret, other, 30))
    assert shots == {"200": 3, REFUSED: 27}  # what the key has left of five
    shots = tally(shoot(gateways, FREE_RIDER.secret, other, 30))
    assert shots == {"200": 3, REFUSED: 27}  # what the tenant has left of eight


# What is reserved, and what it is settled to.

BUCKET = 10_000
RESERVED: dict[str, tuple[dict[str, Any], int]] = {
    "absent-max-tokens": ({}, 10 + 16),
    "null-max-tokens": ({"max_tokens": None}, 10 + 16),
    "max-tokens": ({"max_tokens": 7}, 10 + 7),
    "no-output": ({"max_tokens": 0, "echo": True}, 10),
    "n": ({"n": 3, "max_tokens": 7}, 10 + 21),
    "best-of": ({"n": 2, "best_of": 4, "max_tokens": 5}, 10 + 20),
    "best-of-absent": ({"n": 2, "best_of": 0, "max_tokens": 5}, 10 + 10),
    "batch": ({"prompt": [[1] * 5, [2] * 6], "n": 2, "max_tokens": 3}, 11 + 12),
    "batch-absent": ({"prompt": [[1] * 5, [2] * 6]}, 11 + 32),
    "stream": ({"stream": True, "n": 2, "max_tokens": 9}, 10 + 18),
}
RESERVERS = {
    name: PLANS.caller(f"reserve-{name}", {"tokens_per_minute": 1, "token_burst": BUCKET})
    for name in RESERVED
}


@pytest.mark.parametrize("name", RESERVED)
def test_the_bound_is_reserved(
    gateway: Gateway, upstream: Upstream, books: Books, name: str
) -> None:
    fields, bound = RESERVED[name]
    caller = RESERVERS[name]
    answer = ask(gateway, caller, **({"model": "up", "max_tokens": None} | fields))
    assert answer.status == 200
    assert answer.headers["x-ratelimit-remaining-tokens"] == str(BUCKET - bound)
    used = settled_usage(books, caller)
    eventually(lambda: taken(books, caller), used)


TEXT = PLANS.caller("text", {"tokens_per_minute": 1, "token_burst": BUCKET})
OVERDRAWN = PLANS.caller("overdrawn", {"tokens_per_minute": 600, "token_burst": 100})
STREAMED = PLANS.caller("streamed", {"tokens_per_minute": 1, "token_burst": BUCKET})
ABORTED = PLANS.caller("aborted", {"tokens_per_minute": 1, "token_burst": BUCKET, "concurrent": 1})
FAILED = PLANS.caller("failed", {"tokens_per_minute": 1, "token_burst": BUCKET, "concurrent": 1})
UNSENT = PLANS.caller("unsent", {"tokens_per_minute": 1, "token_burst": BUCKET, "concurrent": 1})


def test_text_is_estimated_and_settled_to_what_the_upstream_counted(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    prompt = " ".join(["wombats"] * 50)
    answer = ask(gateway, TEXT, model="up", prompt=prompt, max_tokens=100)
    left = int(answer.headers["x-ratelimit-remaining-tokens"])
    assert BUCKET - 100 - len(prompt) <= left <= BUCKET - 100 - 50
    eventually(lambda: taken(books, TEXT), 50 + 3)


def test_more_than_was_reserved_is_charged_too(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    upstream.on("up", counting(10, 290))
    assert ask(gateway, OVERDRAWN, model="up").status == 200
    eventually(lambda: taken(books, OVERDRAWN, 600) > 280, True)
    refused = ask(gateway, OVERDRAWN)
    assert refused.status == 429
    # 200 over the burst and 20 to come, at ten a second, less what has passed already.
    assert 20_000 < int(refused.headers["retry-after-ms"]) <= 22_000


def test_a_stream_is_settled_to_its_usage(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    answer = ask(gateway, STREAMED, model="up", stream=True, max_tokens=500)
    assert answer.headers["x-ratelimit-remaining-tokens"] == str(BUCKET - 510)
    eventually(lambda: taken(books, STREAMED), 10 + 3)


def test_an_aborted_stream_pays_for_what_it_got(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    upstream.on("up", endless_stream(upstream))
    with midway(gateway, ABORTED, max_tokens=500):
        assert taken(books, ABORTED) == 510
    eventually(lambda: 10 < taken(books, ABORTED) < 100, True)
    eventually(lambda: books.slots_taken("aborted", "key:aborted"), 0)


@pytest.mark.parametrize(
    ("caller", "model"), [(FAILED, "up"), (UNSENT, "nobody")], ids=["failed", "unsent"]
)
def test_a_failed_request_gives_everything_back(
    gateway: Gateway, upstream: Upstream, books: Books, caller: Caller, model: str
) -> None:
    async def fail(request, wire):
        await wire.answer({"error": {"message": "no"}}, 500)

    upstream.on("up", fail)
    for _ in range(3):
        assert ask(gateway, caller, model=model, max_tokens=500).status >= 500
        eventually(lambda: books.slots_taken(caller.id, f"key:{caller.id}"), 0)
    eventually(lambda: taken(books, caller), 0)


DEPARTED = PLANS.caller(
    "departed", {"concurrent": 2, "tokens_per_minute": 1, "token_burst": BUCKET}
)


def test_a_caller_that_leaves_frees_its_slot_and_pays_for_its_prompt(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    hold(upstream)
    for number in (1, 2):
        with gateway.raw() as connection:
            connection.send(request(DEPARTED.secret, SHORT | {"model": "up"}))
            upstream.wait_for(number)
            assert books.slots_taken("departed", "key:departed") == 1
        eventually(lambda: books.slots_taken("departed", "key:departed"), 0)
    eventually(lambda: taken(books, DEPARTED), 2 * len(IDS))


# Helpers of this file.


def taken(books: Books, caller: Caller, per_minute: int = 1) -> int:
    return books.tokens_taken(caller.tenant, f"key:{caller.id}", per_minute)


def settled_usage(books: Books, caller: Caller) -> int:
    [record] = books.wait_for_records(caller.tenant, 1)
    return record["prompt_tokens"] + record["completion_tokens"]
