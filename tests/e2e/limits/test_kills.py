"""Gateways killed with SIGKILL under load: usage and budget say the same, to the nano-dollar."""

from __future__ import annotations

import time

import pytest

from tests.e2e.limits.books import DOLLAR, Books
from tests.e2e.limits.crowd import Load, tally
from tests.e2e.limits.fleet import SHORT, Caller, Plans, fleet, kill
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually

PLANS = Plans()
PLAIN = PLANS.caller("plain", budget={"usd": 1000})
STREAMED = PLANS.caller("streamed", budget={"usd": 1000})
HELD = PLANS.caller("held", budget={"usd": 1000})

CALLERS = 4  # of each kind
ASKS = {
    "plain": (PLAIN.secret, SHORT),
    "streamed": (STREAMED.secret, SHORT | {"stream": True, "max_tokens": 7}),
    "held": (HELD.secret, SHORT | {"model": "slow-sim"}),  # some of them are under way when it dies
}


@pytest.mark.parametrize("workers", [1, 2])
def test_usage_and_budget_agree_after_a_kill(workers: int) -> None:
    with RedisServer.start() as server, Books(server.port) as books:
        settings = {"timeout": "1s", "lease": "1s", "workers": workers}
        with fleet(PLANS, server.port, 2, **settings) as (doomed, other):
            with Load([doomed, other], ASKS, callers=CALLERS) as load:
                for wanted in (60, 150):
                    eventually(lambda wanted=wanted: answered(load) > wanted, True)
                kill(doomed)
                killed = time.perf_counter()
                eventually(lambda: len(load.since("plain", killed)) > 20, True)
            kill(other)  # now nobody is left who could count anything
        with fleet(PLANS, server.port, 1, **settings) as [fresh]:
            for caller in (PLAIN, STREAMED, HELD):
                scope = f"key:{caller.id}"
                # What the dead ones held is given back when their leases run out.
                eventually(lambda caller=caller: budget_of(fresh, caller)["held_usd"], "0")
                spent = books.account(caller.tenant, scope).spent
                [row] = usage_of(fresh, caller)
                assert nano(row["cost_usd"]) == spent
                # What was answered as the gateway died, a request for each caller at most, is
                # neither charged nor counted.
                served = tally(load.answers[caller.id])["200"]
                assert row["requests"] >= served - 2 * CALLERS
                assert spent == (row["prompt_tokens"] + row["completion_tokens"]) * DOLLAR // 1000


# Helpers of this file.


def answered(load: Load) -> int:
    return min(len(load.answers["plain"]), len(load.answers["streamed"]))


def usage_of(gateway: Gateway, caller: Caller) -> list[dict[str, str | int]]:
    return gateway.get("/v1/usage", caller.secret).document["models"]


def budget_of(gateway: Gateway, caller: Caller) -> dict[str, str]:
    [budget] = gateway.get("/v1/usage", caller.secret).document["budgets"]
    return budget


def nano(dollars: str | int) -> int:
    whole, _, rest = str(dollars).partition(".")
    return int(whole) * DOLLAR + int(rest.ljust(9, "0"))
