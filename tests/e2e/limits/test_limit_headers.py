"""What the headers say of limits is true."""

from __future__ import annotations

import re
import time

import pytest

from tests.e2e.limits.crowd import Answer, shoot, tally
from tests.e2e.limits.fleet import SHORT, Caller, Plans, ask
from tests.harness.gateway import Gateway

PLANS = Plans()
# As in test_limits: decided by the store, not locally.
FLEET = {"count": 2, "workers": 2, "timeout": "500ms"}
REFUSED = "429 rate_limit_exceeded"

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


def first_refusal(gateways: list[Gateway], caller: Caller) -> Answer:
    for _ in range(20):
        for answer in shoot(gateways[:1], caller.secret, SHORT, 1):
            if answer.status == 429:
                return answer
    raise AssertionError("never refused")


def seconds_of(text: str) -> float:
    """OpenAI's reset times, read as a client would."""
    found = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    assert "".join(number + unit for number, unit in found) == text
    return sum(float(n) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit] for n, unit in found)
