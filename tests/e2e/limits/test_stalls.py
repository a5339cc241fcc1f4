"""A worker that is late itself: crowds at once on one process, with busy neighbours on its cores.

The store answers within microseconds all the while, so nobody may be refused for its sake, and what
was limited is admitted to the request.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.limits.books import Books
from tests.e2e.limits.crowd import shoot, tally
from tests.e2e.limits.fleet import SHORT, Caller, Plans
from tests.harness.configuration import TOKEN
from tests.harness.gateway import Gateway
from tests.harness.waiting import eventually

pytestmark = pytest.mark.alone  # it measures how long others wait

PLANS = Plans()
FLEET = {"count": 1}  # one worker, with the default timeout of the store

LIMITED = "429 rate_limit_exceeded"

ADMITTED = 200
CROWDS = (600, 1000, 2000)
PAYING = {count: PLANS.caller(f"paying-{count}", budget={"usd": 1000}) for count in CROWDS}
BURST = {"requests_per_minute": 1, "request_burst": ADMITTED}
BOTH = {count: PLANS.caller(f"both-{count}", BURST, {"usd": 1000}) for count in CROWDS}

LATE = PLANS.caller("late-loop", budget={"usd": 1000})

BUSY = 3  # processes that each want a core for themselves
BURN = "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"


@pytest.fixture(scope="module", autouse=True)
def busy_neighbours(gateways: list[Gateway]) -> Iterator[None]:
    """They end by themselves, too."""
    with ExitStack() as stack:
        for _ in range(BUSY):
            burner = stack.enter_context(subprocess.Popen([sys.executable, "-c", BURN]))
            stack.callback(burner.kill)
        yield


@pytest.mark.parametrize("count", CROWDS)
def test_a_crowd_with_a_budget_is_not_refused(gateway: Gateway, books: Books, count: int) -> None:
    answers = shoot([gateway], PAYING[count].secret, SHORT, count)
    assert tally(answers) == {"200": count}
    assert_spent(books, PAYING[count], count)


@pytest.mark.parametrize("count", CROWDS)
def test_a_crowd_is_limited_to_the_request(gateway: Gateway, books: Books, count: int) -> None:
    answers = shoot([gateway], BOTH[count].secret, SHORT, count)
    assert tally(answers) == {"200": ADMITTED, LIMITED: count - ADMITTED}
    assert_spent(books, BOTH[count], ADMITTED)


def test_the_worker_knows_that_it_was_late_itself(gateway: Gateway) -> None:
    shoot([gateway], LATE.secret, SHORT, 300)
    assert gateway.get("/health/ready", None).document["loop_lag_ms"] > 50
    assert not [line for line in gateway.output if '"store_out"' in line]


def assert_spent(books: Books, caller: Caller, count: int) -> None:
    """Exactly what ``count`` answers cost, and nothing is held any more."""
    eventually(lambda: books.account(caller.id, f"key:{caller.id}"), (count * 20 * TOKEN, 0))
