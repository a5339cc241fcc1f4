"""Rate limits over four worker processes on one Redis: exactly what the policy says."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.e2e.limits.books import Books
from tests.e2e.limits.crowd import Answer, Volley, request, shoot, tally
from tests.e2e.limits.fleet import IDS, Caller, Plans, fleet, kill
from tests.e2e.limits.scripts import counting, endless_stream, hold
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

PLANS = Plans()
# A shared machine stalls a process for longer than the default timeout now and then; limits are
# then decided locally, as they should, but not to the request.
FLEET = {"count": 2, "workers": 2, "timeout": "500ms"}
CLIENTS = 400

SHORT = {"model": "sim", "prompt": IDS, "max_tokens": 10}  # exactly twenty tokens
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


# What the headers say is true.

FORMAT = re.compile(r"\d+ms|\d+(\.\d{1,3})?s|\d+m\d+s|\d+h\d+m\d+s")

PACE = PLANS.caller("pace", {"requests_per_minute": 100, "request_burst": 2})
TOKEN_PACE = PLANS.caller("token-pace", {"tokens_per_minute": 3000, "token_burst": 60})
TENANT_PACE = PLANS.caller(
    "tenant-pace",
    {"requests_per_minute": 600},
    tenant=PLANS.tenant("tenant-pace", {"requests_per_minute": 100, "request_burst": 1}),
)
MODEL_PACE = PLANS.caller(
    "model-pace",
    tenant=PLANS.tenant(
        "model-pace",
        {"requests_per_minute": 600},
        models={"sim": {"limits": {"requests_per_minute": 100, "request_burst": 1}}},
    ),
)
COUNTED = PLANS.caller(
    "counted",
    {
        "requests_per_minute": 1,
        "request_burst": 3,
        "tokens_per_minute": 1,
        "token_burst": 100,
    },
)
REFILL = PLANS.caller("refill", {"requests_per_minute": 600, "request_burst": 5})
SLOW = PLANS.caller("slow", {"requests_per_minute": 1, "request_burst": 90})
HUGE = PLANS.caller("huge", {"tokens_per_minute": 50, "requests_per_minute": 10})


@pytest.mark.parametrize(
    "caller", [PACE, TOKEN_PACE, TENANT_PACE, MODEL_PACE], ids=lambda caller: caller.id
)
def test_who_waits_as_long_as_told_is_let_in(gateways: list[Gateway], caller: Caller) -> None:
    for _ in range(2):
        refused = first_refusal(gateways, caller)
        answered = time.perf_counter()
        wait = int(refused.headers["retry-after-ms"])
        assert 0 < wait <= 600
        assert refused.headers["retry-after"] == "1"
        # A refused request consumes nothing: many more of them make nobody wait longer.
        counts = tally(shoot(gateways, caller.secret, SHORT, 20))
        assert counts[REFUSED] >= 19
        if counts["200"]:  # the machine was slower than the bucket
            continue
        left = answered + wait / 1000 - time.perf_counter()
        time.sleep(max(0.0, left))  # the wait is what is tested
        [answer] = shoot(gateways, caller.secret, SHORT, 1)
        assert answer.code == "200"


def test_the_headers_count_down(gateway: Gateway) -> None:
    seen = [ask(gateway, COUNTED) for _ in range(4)]
    assert [answer.status for answer in seen] == [200, 200, 200, 429]
    for name, left in (("requests", [2, 1, 0, 0]), ("tokens", [80, 60, 40, 40])):
        limits = {answer.headers[f"x-ratelimit-limit-{name}"] for answer in seen}
        assert limits == {"3" if name == "requests" else "100"}
        assert [int(a.headers[f"x-ratelimit-remaining-{name}"]) for a in seen] == left
        resets = [a.headers[f"x-ratelimit-reset-{name}"] for a in seen]
        assert all(FORMAT.fullmatch(reset) for reset in resets), resets
    reset = seconds_of(seen[0].headers["x-ratelimit-reset-requests"])
    assert 59 <= reset <= 60
    assert 170 <= seconds_of(seen[3].headers["x-ratelimit-reset-requests"]) <= 180
    assert 170 / 3 <= int(seen[3].headers["retry-after"]) <= 60


def test_after_the_reset_time_the_bucket_is_full_again(gateway: Gateway) -> None:
    for _ in range(5):
        answer = ask(gateway, REFILL)
    answered = time.perf_counter()
    reset = seconds_of(answer.headers["x-ratelimit-reset-requests"])
    assert 0 < reset <= 0.5
    time.sleep(max(0.0, answered + reset - time.perf_counter()))  # the wait is what is tested
    assert ask(gateway, REFILL).headers["x-ratelimit-remaining-requests"] == "4"


def test_long_resets_are_written_in_hours_minutes_and_seconds(gateways: list[Gateway]) -> None:
    resets = [
        answer.headers["x-ratelimit-reset-requests"]
        for answer in shoot(gateways, SLOW.secret, SHORT, 90)
    ]
    assert all(FORMAT.fullmatch(reset) for reset in resets), resets
    longest = max(map(seconds_of, resets))
    assert 89 * 60 < longest <= 90 * 60
    assert any(re.fullmatch(r"1h\d+m\d+s", reset) for reset in resets)
    assert any(re.fullmatch(r"\d+m\d+s", reset) for reset in resets)


def test_a_request_that_never_fits_is_told_not_to_try_again(gateway: Gateway) -> None:
    reply = ask(gateway, HUGE, max_tokens=41)
    assert reply.status == 429
    assert reply.error["code"] == "rate_limit_exceeded"
    assert reply.headers["x-should-retry"] == "false"
    assert "retry-after" not in reply.headers
    assert ask(gateway, HUGE, max_tokens=40).status == 200


def test_a_refusal_says_which_limit(gateway: Gateway) -> None:
    shoot([gateway], TENANT_PACE.secret, SHORT, 5)
    reply = ask(gateway, TENANT_PACE)
    assert reply.status == 429
    error = reply.error
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "tenant" in error["message"]
    assert "requests" in error["message"]


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
    body = {"model": "up", "prompt": IDS, "max_tokens": 500, "stream": True}
    headers = {"authorization": f"Bearer {ABORTED.secret}"}
    with gateway.client.stream(
        "POST", gateway.url + "/v1/completions", json=body, headers=headers
    ) as response:
        lines = response.iter_lines()
        for _ in range(9):
            next(lines)
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


# A replica dies.

KILLED_PLANS = Plans()
ORPHAN = KILLED_PLANS.caller("orphan", {"concurrent": 4})


def test_a_killed_replicas_slots_come_back_after_their_lease(
    server: RedisServer, upstream: Upstream
) -> None:
    hold(upstream)
    with fleet(KILLED_PLANS, server.port, 2, upstream, lease="2s") as (doomed, other):
        volley = Volley([doomed], ORPHAN.secret, {"model": "up", "prompt": IDS}, 4)
        upstream.wait_for(4)
        refused = ask(other, ORPHAN)
        assert refused.status == 429
        assert "concurrent" in refused.error["message"]
        assert int(refused.headers["retry-after-ms"]) > 0
        kill(doomed)
        assert tally(volley.finish()) == {"no answer": 4}
        eventually(lambda: ask(other, ORPHAN).status, 200)
        assert tally(shoot([other], ORPHAN.secret, SHORT | {"model": "slow-sim"}, 4)) == {"200": 4}


RUNNING = KILLED_PLANS.caller("running", {"concurrent": 1})


def test_a_running_requests_slot_outlives_its_lease(
    server: RedisServer, upstream: Upstream
) -> None:
    gate = hold(upstream)
    with fleet(KILLED_PLANS, server.port, 2, upstream, lease="1s") as (one, other):
        volley = Volley([one], RUNNING.secret, {"model": "up", "prompt": IDS}, 1)
        upstream.wait_for(1)
        end = time.perf_counter() + 1.7  # almost two leases: the time is what is tested
        while time.perf_counter() < end:
            assert ask(other, RUNNING).status == 429
            time.sleep(0.1)
        gate.open()
        assert tally(volley.finish()) == {"200": 1}
        eventually(lambda: ask(other, RUNNING).status, 200)


# Helpers of this file.


def ask(gateway: Gateway, caller: Caller, **fields: Any) -> Any:
    return gateway.send(SHORT | fields, caller.secret)


def first_refusal(gateways: list[Gateway], caller: Caller) -> Answer:
    for _ in range(20):
        for answer in shoot(gateways[:1], caller.secret, SHORT, 1):
            if answer.status == 429:
                return answer
    raise AssertionError("never refused")


def taken(books: Books, caller: Caller, per_minute: int = 1) -> int:
    return books.tokens_taken(caller.tenant, f"key:{caller.id}", per_minute)


def settled_usage(books: Books, caller: Caller) -> int:
    [record] = books.wait_for_records(caller.tenant, 1)
    return record["prompt_tokens"] + record["completion_tokens"]


def seconds_of(text: str) -> float:
    """OpenAI's reset times, read as a client would."""
    found = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    assert "".join(number + unit for number, unit in found) == text
    return sum(float(n) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit] for n, unit in found)
