"""Chat under limits, budgets and caps: what is held, what is sent, what is charged."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.families.asking import USAGE, chat, saying
from tests.e2e.families.configuration import BUDGET
from tests.harness.configuration import TOKEN
from tests.harness.credentials import KEYS
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

# Chat's keys, entries and money over the embedded store and a real Redis.
pytestmark = pytest.mark.parametrize(
    "store_url", ["memory", "redis8"], indirect=True, scope="session"
)

PAYING, COUNTED, CAPPED = KEYS["team"], KEYS["hashed"], KEYS["later"]
BUDGET_TOKENS = BUDGET * 10**9 // TOKEN


def cost(tokens: int) -> str:
    return f"{tokens * TOKEN / 1e9:g}"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_what_was_used_is_charged(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    upstream.on("up", saying({"role": "assistant", "content": "a"}, content="a"))
    reply = chat(gateway, key=PAYING, max_tokens=5, stream=stream)
    line = gateway.line(reply.headers["x-request-id"])
    assert line["cost_usd"] == cost(USAGE["total_tokens"])
    if not stream:
        assert reply.headers["x-headgate-cost-usd"] == cost(USAGE["total_tokens"])


@pytest.mark.parametrize(
    ("model", "members", "sent"),
    [
        ("plain", {}, {"max_tokens": 4096}),
        ("plain", {"max_tokens": 7}, {"max_tokens": 7}),
        ("plain", {"max_completion_tokens": 7}, {"max_tokens": 7}),
        ("plain", {"max_tokens": 9, "n_predict": 7}, {"max_tokens": 7}),
        ("newer", {}, {"max_completion_tokens": 100}),
        ("newer", {"max_tokens": 7}, {"max_completion_tokens": 7}),
    ],
)
def test_one_limit_is_sent_where_money_is_held(
    gateway: Gateway,
    upstream: Upstream,
    model: str,
    members: dict[str, int],
    sent: dict[str, int],
) -> None:
    assert chat(gateway, key=PAYING, model=model, **members).status == 200
    document = upstream.request.document
    names = ("max_tokens", "max_completion_tokens", "n_predict")
    assert {name: document[name] for name in names if name in document} == sent


def test_without_a_bound_the_callers_own_limit_goes_through(
    gateway: Gateway, upstream: Upstream
) -> None:
    chat(gateway, max_completion_tokens=7)
    assert upstream.request.document["max_completion_tokens"] == 7
    assert "max_tokens" not in upstream.request.document


REFUSED = [
    {"max_tokens": BUDGET_TOKENS},
    {"max_tokens": BUDGET_TOKENS // 100, "n": 128},
    {"max_tokens": 1, "prediction": {"type": "content", "content": "x" * BUDGET_TOKENS}},
    {"max_tokens": 1, "tools": [{"type": "function", "function": {"name": "f", "description": "x" * BUDGET_TOKENS}}]},
]  # fmt: skip


@pytest.mark.parametrize("members", REFUSED, ids=["tokens", "choices", "prediction", "tools"])
def test_what_the_budget_cannot_cover_is_refused(
    gateway: Gateway, upstream: Upstream, members: dict[str, Any]
) -> None:
    reply = chat(gateway, key=PAYING, **members)
    assert (reply.status, reply.error["code"]) == (429, "budget_exceeded")
    assert upstream.requests == []


PARTS: dict[str, dict[str, Any]] = {
    "image": {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    "sound": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    "file": {"type": "file", "file": {"file_id": "f"}},
    "another": {"type": "video_url", "video_url": {"url": "https://x"}},
}


@pytest.mark.parametrize("part", PARTS)
def test_what_is_no_text_never_counts_as_nothing(
    gateway: Gateway, upstream: Upstream, part: str
) -> None:
    """A part holds 50,000 tokens and more by default: five times this budget."""
    reply = chat(gateway, [PARTS[part]], key=PAYING, max_tokens=1)
    assert (reply.status, reply.error["code"]) == (429, "budget_exceeded")
    counted = chat(gateway, [PARTS[part]], key=COUNTED, max_tokens=1)
    assert (counted.status, counted.error["code"]) == (429, "rate_limit_exceeded")


@pytest.mark.parametrize(
    "members",
    [{"web_search_options": {}}, {"service_tier": "priority"}, {"models": ["dear"]}, {"N": 5}],
    ids=lambda members: next(iter(members)),
)
def test_what_costs_more_by_another_way_is_refused_where_money_is_held(
    gateway: Gateway, upstream: Upstream, members: dict[str, Any]
) -> None:
    reply = chat(gateway, key=PAYING, max_tokens=5, **members)
    assert (reply.status, reply.error["code"]) == (400, "unsupported_parameter")
    assert chat(gateway, **members).status == 200


def test_a_cap_is_a_bound(gateway: Gateway, upstream: Upstream) -> None:
    reply = chat(gateway, key=CAPPED, max_completion_tokens=51)
    assert (reply.status, reply.error["param"]) == (400, "max_completion_tokens")
    assert chat(gateway, key=CAPPED).status == 200
    assert upstream.request.document["max_tokens"] == 50


def test_a_limit_of_tokens_is_settled_to_what_was_used(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("up", saying(content="a"))
    first = chat(gateway, key=COUNTED, max_tokens=5000)
    assert first.status == 200
    second = chat(gateway, key=COUNTED, max_tokens=5000)
    left = int(second.headers["x-ratelimit-remaining-tokens"])
    assert 10_000 - 5000 - 100 < left < 10_000 - 5000


def test_a_stream_that_breaks_is_charged_for_what_came(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request: Request, wire: Wire) -> None:
        await wire.begin_stream()
        delta = {"role": "assistant", "content": "some words that came"}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        await wire.event({"id": "x", "choices": [choice]})
        wire.reset()

    upstream.on("up", script)
    reply = chat(gateway, key=PAYING, max_tokens=50, stream=True)
    line = gateway.line(reply.headers["x-request-id"])
    assert line["estimated"]
    assert float(line["cost_usd"]) > 0


def test_a_bad_answer_is_charged_by_rule_and_counted_by_operation(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request: Request, wire: Wire) -> None:
        await wire.answer(b"rubbish")

    upstream.on("up", script)
    assert chat(gateway, key=PAYING, max_tokens=5).status == 502
    counted = 'headgate_unknown_usage_total{operation="chat",reason="invalid_answer"}'
    eventually(lambda: counted in gateway.get("/metrics/shared", key=None).body.decode())
