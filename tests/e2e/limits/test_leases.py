"""What a dead replica held comes back when its lease ends; a running request outlives it."""

from __future__ import annotations

import time

from tests.e2e.limits.books import DOLLAR, Account, Books, spent_of
from tests.e2e.limits.crowd import Volley, shoot, tally
from tests.e2e.limits.fleet import IDS, SHORT, Plans, ask, fleet, kill
from tests.e2e.limits.scripts import hold
from tests.e2e.limits.test_budgets import REFUSED as BROKE
from tests.e2e.limits.test_budgets import budget_of
from tests.harness.configuration import TOKEN
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

PLANS = Plans()
ORPHAN = PLANS.caller("orphan", {"concurrent": 4})


def test_a_killed_replicas_slots_come_back_after_their_lease(
    server: RedisServer, upstream: Upstream
) -> None:
    hold(upstream)
    with fleet(PLANS, server.port, 2, upstream, lease="2s") as (doomed, other):
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


RUNNING = PLANS.caller("running", {"concurrent": 1})


def test_a_running_requests_slot_outlives_its_lease(
    server: RedisServer, upstream: Upstream
) -> None:
    gate = hold(upstream)
    with fleet(PLANS, server.port, 2, upstream, lease="1s") as (one, other):
        volley = Volley([one], RUNNING.secret, {"model": "up", "prompt": IDS}, 1)
        upstream.wait_for(1)
        end = time.perf_counter() + 1.7  # almost two leases: the time is what is tested
        while time.perf_counter() < end:
            assert ask(other, RUNNING).status == 429
            time.sleep(0.1)
        gate.open()
        assert tally(volley.finish()) == {"200": 1}
        eventually(lambda: ask(other, RUNNING).status, 200)


LEFT = PLANS.caller("left", budget={"usd": 2})


def test_a_killed_replicas_holds_are_given_back(
    server: RedisServer, upstream: Upstream, books: Books
) -> None:
    gate = hold(upstream)
    body = SHORT | {"model": "up"}
    with fleet(PLANS, server.port, 2, upstream, lease="2s", timeout="1s") as (
        doomed,
        other,
    ):
        doomed_volley = Volley([doomed], LEFT.secret, body, 500)
        volley = Volley([other], LEFT.secret, body, 500)
        upstream.wait_for(100)  # everything that the budget covers is under way
        books.wait_for_records("left", 900)  # everybody else was refused, and that is written
        kill(doomed)
        gate.open()
        lost, kept = tally(doomed_volley.finish()), tally(volley.finish())
        assert lost["200"] == 0
        assert lost["no answer"] + kept["200"] == 100
        assert kept[BROKE] + lost[BROKE] == 900
        eventually(lambda: budget_of(other, LEFT)["held_usd"], "0")
        spent = books.account("left", "key:left").spent
        assert spent == kept["200"] * 13 * TOKEN
        records = books.wait_for_records("left", 900 + kept["200"])
        assert spent == spent_of(records)
        # What the dead one held can be spent by the living.
        room = (2 * DOLLAR - spent) // (20 * TOKEN)
        assert tally(shoot([other], LEFT.secret, SHORT, 150)) == {
            "200": min(150, room),
            BROKE: 150 - min(150, room),
        }


RENEWED = PLANS.caller("renewed", budget={"usd": 0.02})


def test_a_running_requests_hold_outlives_its_lease(
    server: RedisServer, upstream: Upstream, books: Books
) -> None:
    gate = hold(upstream)
    with fleet(PLANS, server.port, 2, upstream, lease="1s") as (one, other):
        volley = Volley([one], RENEWED.secret, SHORT | {"model": "up"}, 1)
        upstream.wait_for(1)
        end = time.perf_counter() + 1.7  # almost two leases: the time is what is tested
        while time.perf_counter() < end:
            assert ask(other, RENEWED).status == 429
            time.sleep(0.1)
        gate.open()
        assert tally(volley.finish()) == {"200": 1}
        eventually(lambda: books.account("renewed", "key:renewed"), Account(13 * TOKEN, 0))
