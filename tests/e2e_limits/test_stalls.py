"""A worker that is late itself: crowds at once on one process, with busy neighbours on its cores.

The store answers within microseconds all the while, so nobody may be refused for its sake, and what
was limited is admitted to the request.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.e2e_limits.crowd import shoot, tally
from tests.e2e_limits.fleet import IDS, TOKEN, Books, Caller, Plans, eventually, fleet
from tests.gateway import Gateway
from tests.redis_server import RedisServer

PLANS = Plans()

SHORT = {"model": "sim", "prompt": IDS, "max_tokens": 10}  # twenty tokens
LIMITED = "429 rate_limit_exceeded"

ADMITTED = 200
CROWDS = (600, 1000, 2000)
BURST = {"requests_per_minute": 1, "request_burst": ADMITTED}
PAYING = {
    (count, busy): PLANS.caller(f"paying-{count}-{busy}", budget={"usd": 1000})
    for count in CROWDS
    for busy in (0, 3)
}
BOTH = {
    (count, busy): PLANS.caller(f"both-{count}-{busy}", BURST, {"usd": 1000})
    for count in CROWDS
    for busy in (0, 3)
}

BURN = "import sys, time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"


@pytest.fixture(scope="module")
def gateway(redis_server: RedisServer) -> Iterator[Gateway]:
    """One worker, with the default timeout of the store."""
    with fleet(PLANS, redis_server.port, 1) as [gateway]:
        yield gateway


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """So many processes that want a core to themselves; they end by themselves, too."""
    with ExitStack() as stack:
        for _ in range(count):
            burner = stack.enter_context(subprocess.Popen([sys.executable, "-c", BURN]))
            stack.callback(burner.kill)
        yield


@pytest.mark.parametrize("busy", [0, 3], ids=["alone", "busy-neighbours"])
@pytest.mark.parametrize("count", CROWDS)
def test_a_crowd_with_a_budget_is_not_refused(
    gateway: Gateway, books: Books, count: int, busy: int
) -> None:
    caller = PAYING[count, busy]
    with busy_neighbours(busy):
        answers = shoot([gateway], caller.secret, SHORT, count)
    print("LAG", count, busy, gateway.get("/health/ready", None).document)
    assert tally(answers) == {"200": count}
    assert_spent(books, caller, count)


@pytest.mark.parametrize("busy", [0, 3], ids=["alone", "busy-neighbours"])
@pytest.mark.parametrize("count", CROWDS)
def test_a_crowd_is_limited_to_the_request(
    gateway: Gateway, books: Books, count: int, busy: int
) -> None:
    caller = BOTH[count, busy]
    with busy_neighbours(busy):
        answers = shoot([gateway], caller.secret, SHORT, count)
    assert tally(answers) == {"200": ADMITTED, LIMITED: count - ADMITTED}
    assert_spent(books, caller, ADMITTED)


def assert_spent(books: Books, caller: Caller, count: int) -> None:
    """Exactly what ``count`` answers cost, and nothing is held any more."""
    eventually(lambda: books.account(caller.id, f"key:{caller.id}"), (count * 20 * TOKEN, 0))
