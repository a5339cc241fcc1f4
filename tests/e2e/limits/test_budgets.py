"""Budgets over four worker processes on one Redis: never overspent, never refused with money left."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.e2e.limits.books import DOLLAR, Account, Books, spent_of
from tests.e2e.limits.crowd import Volley, request, shoot, tally
from tests.e2e.limits.fleet import IDS, SHORT, Caller, Plans, ask, midway
from tests.e2e.limits.scripts import counting, endless_stream, hold
from tests.harness.configuration import TOKEN
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE, eventually

PLANS = Plans()
# A shared machine stalls a process for longer than the default timeout now and then.
FLEET = {"count": 2, "workers": 2, "timeout": "1s"}

REFUSED = "429 budget_exceeded"


# A crowd.

EXACT = PLANS.caller("exact", budget={"usd": 2})
SLOW = PLANS.caller("slow", budget={"usd": 2})
CHEAP = PLANS.caller("cheap", budget={"usd": 2})
EXCEEDING = PLANS.caller("exceeding", budget={"usd": 0.05})


@pytest.mark.parametrize(("caller", "model"), [(EXACT, "sim"), (SLOW, "slow-sim")])
def test_a_thousand_at_once_get_what_the_budget_covers(
    gateways: list[Gateway], books: Books, caller: Caller, model: str
) -> None:
    counts = tally(shoot(gateways, caller.secret, SHORT | {"model": model}, 1000))
    assert set(counts) == {"200", REFUSED}
    assert 99 <= counts["200"] <= 100
    settled(books, caller)
    records = books.wait_for_records(caller.tenant, 1000)
    spent = books.account(caller.tenant, f"key:{caller.id}").spent
    assert spent == spent_of(records) == counts["200"] * 20 * TOKEN
    assert spent <= 2 * DOLLAR


def test_what_is_not_used_can_be_spent_by_others(
    gateways: list[Gateway], upstream: Upstream, books: Books
) -> None:
    """Thirteen tokens are used of the twenty that are held: 153 requests fit, whatever the order."""
    served = asked = 0
    # In a volley the last one that is paid for may hold what the others would need; so the end is
    # found one by one.
    for crowd in [150, 150, 150, *[1] * 160]:
        answers = shoot(gateways, CHEAP.secret, SHORT | {"model": "up"}, crowd)
        asked += crowd
        served += tally(answers)["200"]
        settled(books, CHEAP)
        spent = books.account("cheap", "key:cheap").spent
        assert spent == served * 13 * TOKEN <= 2 * DOLLAR
        if crowd == 1 and not tally(answers)["200"]:
            break
    assert 2 * DOLLAR - spent < 20 * TOKEN  # nobody was refused who could have been paid for
    assert spent == spent_of(books.wait_for_records("cheap", asked))


def test_what_an_upstream_takes_beyond_its_bound_is_charged(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    upstream.on("up", counting(10, 60))
    assert ask(gateway, EXCEEDING, model="up").status == 200
    settled(books, EXCEEDING)
    assert books.account("exceeding", "key:exceeding") == Account(70 * TOKEN, 0)
    assert ask(gateway, EXCEEDING).status == 429


# What is held.

BOUNDS: dict[str, tuple[dict[str, Any], int]] = {
    "absent": ({"max_tokens": None}, 10 + 16),
    "zero": ({"max_tokens": 0, "echo": True}, 10),
    "n": ({"n": 3}, 10 + 30),
    "best-of": ({"n": 2, "best_of": 4}, 10 + 40),
    "batch": ({"prompt": [[1] * 5, [2] * 6], "n": 2, "max_tokens": 3}, 11 + 12),
    "batch-absent": ({"prompt": [[1] * 5, [2] * 6], "max_tokens": None}, 11 + 32),
    "stream": ({"stream": True, "n": 2}, 10 + 20),
}
BOUND_CALLERS = {name: PLANS.caller(f"bound-{name}", budget={"usd": 10}) for name in BOUNDS}


@pytest.mark.parametrize("name", BOUNDS)
def test_the_bound_is_held_and_the_cost_is_charged(
    gateway: Gateway, upstream: Upstream, books: Books, name: str
) -> None:
    fields, bound = BOUNDS[name]
    caller = BOUND_CALLERS[name]
    gate = hold(upstream)
    volley = Volley([gateway], caller.secret, SHORT | {"model": "up"} | fields, 1)
    upstream.wait_for(1)
    assert books.account(caller.tenant, f"key:{caller.id}") == Account(0, bound * TOKEN)
    assert budget_of(gateway, caller)["held_usd"] == text(bound * TOKEN)
    gate.open()
    [answer] = volley.finish()
    assert answer.code == "200"
    settled(books, caller)
    [record] = books.wait_for_records(caller.tenant, 1)
    used = (record["prompt_tokens"] + record["completion_tokens"]) * TOKEN
    assert record["cost"] == used
    assert books.account(caller.tenant, f"key:{caller.id}") == Account(used, 0)
    assert budget_of(gateway, caller)["spent_usd"] == text(used)
    if not fields.get("stream"):
        assert answer.headers["x-headgate-cost-usd"] == text(used)


TEXT = PLANS.caller("text", budget={"usd": 10})
ABORTED = PLANS.caller("aborted", budget={"usd": 10})
UNSTARTED = PLANS.caller("unstarted", budget={"usd": 10})
FAILED = PLANS.caller("failed", budget={"usd": 10})
UNSENT = PLANS.caller("unsent", budget={"usd": 10})


def test_a_text_is_held_as_more_than_it_can_be(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    prompt = "ünbeschreiblich 猫 " * 20
    gate = hold(upstream)
    volley = Volley([gateway], TEXT.secret, SHORT | {"model": "up", "prompt": prompt}, 1)
    upstream.wait_for(1)
    assert books.account("text", "key:text").held >= (len(prompt.encode()) + 10) * TOKEN
    gate.open()
    volley.finish()
    settled(books, TEXT)
    assert books.account("text", "key:text").spent == (len(prompt.split()) + 3) * TOKEN


def test_an_aborted_stream_pays_for_what_it_got(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    upstream.on("up", endless_stream(upstream))
    with midway(gateway, ABORTED, max_tokens=500):
        assert books.account("aborted", "key:aborted").held == 510 * TOKEN
    settled(books, ABORTED)
    [record] = books.wait_for_records("aborted", 1)
    assert record["status"] == 499
    assert record["completion_tokens"] >= 5
    spent = books.account("aborted", "key:aborted").spent
    assert spent == record["cost"]
    assert 15 * TOKEN <= spent < 100 * TOKEN


def test_a_caller_that_leaves_before_the_answer_pays_for_its_prompt(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    hold(upstream)
    with gateway.raw() as connection:
        connection.send(request(UNSTARTED.secret, SHORT | {"model": "up"}))
        upstream.wait_for(1)
        assert books.account("unstarted", "key:unstarted").held == 20 * TOKEN
    settled(books, UNSTARTED)
    [record] = books.wait_for_records("unstarted", 1)
    assert record["status"] == 499
    spent = books.account("unstarted", "key:unstarted").spent
    assert spent == record["cost"] == 10 * TOKEN


@pytest.mark.parametrize(
    ("caller", "model"), [(FAILED, "up"), (UNSENT, "nobody")], ids=["failed", "unsent"]
)
def test_a_failure_costs_nothing(
    gateways: list[Gateway], upstream: Upstream, books: Books, caller: Caller, model: str
) -> None:
    async def fail(request, wire):
        await wire.answer({"error": {"message": "no"}}, 500)

    upstream.on("up", fail)
    counts = tally(shoot(gateways, caller.secret, SHORT | {"model": model}, 30))
    assert not {"200", REFUSED, "no answer"} & set(counts)
    settled(books, caller)
    assert books.account(caller.tenant, f"key:{caller.id}") == Account(0, 0)
    assert spent_of(books.wait_for_records(caller.tenant, 30)) == 0


# Which budgets.

TENANT = PLANS.tenant(
    "firm", budget={"usd": 0.1}, models={"sim": {"budget": {"usd": 0.06, "per": "month"}}}
)
WORKER = PLANS.caller("worker", budget={"usd": 1}, tenant=TENANT)
INTERN = PLANS.caller("intern", budget={"usd": 0.04}, tenant=TENANT)
NOTHING = PLANS.caller("nothing", budget={"usd": 0})
WINDOWS = {
    per: PLANS.caller(f"per-{per}", budget={"usd": 0.02, "per": per})
    for per in ("hour", "day", "week", "month")
}


def test_what_one_scope_refuses_is_held_in_no_other(gateways: list[Gateway], books: Books) -> None:
    assert tally(shoot(gateways, WORKER.secret, SHORT, 20)) == {"200": 3, REFUSED: 17}
    eventually(lambda: books.account("firm", "model:sim"), Account(60 * TOKEN, 0))
    eventually(lambda: books.account("firm", "key:worker"), Account(60 * TOKEN, 0))
    eventually(lambda: books.account("firm", "tenant"), Account(60 * TOKEN, 0))
    other = SHORT | {"model": "other"}
    assert tally(shoot(gateways, INTERN.secret, other, 20)) == {"200": 2, REFUSED: 18}
    assert tally(shoot(gateways, WORKER.secret, other, 20)) == {REFUSED: 20}  # the tenant's
    eventually(lambda: books.account("firm", "tenant"), Account(100 * TOKEN, 0))
    eventually(lambda: books.account("firm", "key:worker"), Account(60 * TOKEN, 0))
    scopes = {budget["scope"] for budget in usage(gateways[0], WORKER)["budgets"]}
    assert scopes == {"key:worker", "model:sim", "tenant"}


def test_a_budget_of_nothing_pays_for_nothing(gateway: Gateway) -> None:
    assert ask(gateway, NOTHING).status == 429


@pytest.mark.parametrize("per", WINDOWS)
def test_each_window_is_kept(gateways: list[Gateway], per: str) -> None:
    assert tally(shoot(gateways, WINDOWS[per].secret, SHORT, 10)) == {"200": 1, REFUSED: 9}
    [budget] = usage(gateways[0], WINDOWS[per])["budgets"]
    assert budget["per"] == per
    assert budget["limit_usd"] == "0.02"


# The refusal.

POOR = PLANS.caller("poor", budget={"usd": 0.05})
STUBBORN = PLANS.caller("stubborn", budget={"usd": 0.01})
EAGER = PLANS.caller("eager", {"requests_per_minute": 100, "request_burst": 1})
BOTH = PLANS.caller(
    "both", {"tokens_per_minute": 1, "token_burst": 1000, "concurrent": 2}, {"usd": 0.05}
)


def test_a_refusal_says_what_is_spent_held_and_allowed(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    assert ask(gateway, POOR).status == 200
    eventually(lambda: books.account("poor", "key:poor"), Account(20 * TOKEN, 0))
    gate = hold(upstream)
    volley = Volley([gateway], POOR.secret, SHORT | {"model": "up", "max_tokens": 15}, 1)
    upstream.wait_for(1)
    reply = ask(gateway, POOR)
    gate.open()
    volley.finish()
    assert reply.status == 429
    assert reply.error["type"] == "insufficient_quota"
    assert reply.error["code"] == "budget_exceeded"
    assert reply.headers["x-should-retry"] == "false"
    message = reply.error["message"]
    assert "$0.05 " in message  # the limit
    assert "$0.02 " in message  # spent
    assert "$0.025 " in message  # held
    assert ask(gateway, POOR, model="up", prompt=[1], max_tokens=1).status == 200


def test_a_refusal_by_the_budget_gives_tokens_and_slots_back(
    gateways: list[Gateway], books: Books
) -> None:
    assert tally(shoot(gateways, BOTH.secret, SHORT | {"max_tokens": 41}, 1)) == {REFUSED: 1}
    for _ in range(10):
        assert ask(gateways[0], BOTH, max_tokens=41).status == 429
        eventually(lambda: books.slots_taken("both", "key:both"), 0)
    eventually(lambda: books.tokens_taken("both", "key:both", 1), 0)
    assert ask(gateways[0], BOTH).status == 200


def test_the_sdk_does_not_retry_a_budget_refusal(gateway: Gateway) -> None:
    sent, error = with_sdk(gateway, STUBBORN)
    assert isinstance(error, openai.RateLimitError)
    assert error.code == "budget_exceeded"
    assert error.type == "insufficient_quota"
    assert sent == 1


def test_the_sdk_waits_out_a_rate_limit(gateway: Gateway) -> None:
    assert ask(gateway, EAGER).status == 200
    sent, error = with_sdk(gateway, EAGER)
    assert error is None
    assert sent == 2


# Helpers of this file.


def settled(books: Books, caller: Caller) -> None:
    eventually(lambda: books.account(caller.tenant, f"key:{caller.id}").held, 0)


def usage(gateway: Gateway, caller: Caller) -> Any:
    reply = gateway.get("/v1/usage", caller.secret)
    assert reply.status == 200
    return reply.document


def budget_of(gateway: Gateway, caller: Caller) -> Any:
    [budget] = usage(gateway, caller)["budgets"]
    return budget


def text(nano: int) -> str:
    """Nano-dollars as dollars."""
    whole, rest = divmod(nano, DOLLAR)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")


def with_sdk(gateway: Gateway, caller: Caller) -> tuple[int, openai.APIStatusError | None]:
    """How many requests the `openai` client sent, with its own retries on, and what came of them."""
    sent: list[httpx.Request] = []
    with (
        httpx.Client(event_hooks={"request": [sent.append]}, trust_env=False) as http,
        openai.OpenAI(
            base_url=f"{gateway.url}/v1",
            api_key=caller.secret,
            max_retries=2,
            timeout=PATIENCE,
            http_client=http,
        ) as client,
    ):
        try:
            client.completions.create(model="sim", prompt=IDS, max_tokens=10)
        except openai.APIStatusError as error:
            return len(sent), error
    return len(sent), None
