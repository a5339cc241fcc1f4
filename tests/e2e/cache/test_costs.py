"""What a hit costs, and what of it is logged."""

from __future__ import annotations

import json

import pytest

from tests.e2e.cache.asking import ask, how, wait_kept, warm
from tests.e2e.cache.configuration import configuration
from tests.harness.configuration import TOKEN
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.prompts import unseen
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

# What it costs.


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_a_hit_costs_nothing(
    redis_server: RedisServer, the_upstream: Upstream, upstream: Upstream, kind: str
) -> None:
    url = "memory://" if kind == "memory" else redis_server.url
    settings = configuration(
        url,
        the_upstream,
        limits={"some": {"tokens_per_minute": 1000, "requests_per_minute": 1000}},
        budgets={"some": {"usd": 10, "per": "month"}},
        tenants={kind: {}},
        keys=[{"id": kind, "tenant": kind, "secret": KEY, "limits": "some", "budget": "some"}],
    )
    prompt = unseen()
    with open_gateway(settings, the_upstream) as gateway:
        before = ask(gateway, prompt, max_tokens=100)
        wait_kept(gateway, prompt, max_tokens=100)
        spent = json.dumps(gateway.get("/v1/usage").document["budgets"])
        hits = [ask(gateway, prompt, max_tokens=100, stream=stream) for stream in (False, True)]
        assert [how(hit) for hit in hits] == ["hit", "hit"]
        reserved = 1000 - int(before.headers["x-ratelimit-remaining-tokens"])
        used = before.document["usage"]["total_tokens"]
        cost = used * TOKEN
        # What a hit might have needed was held while it ran, and is there for the next request.
        eventually(lambda: tokens_left(gateway, prompt) >= 1000 - used - reserved)
        assert json.dumps(gateway.get("/v1/usage").document["budgets"]) == spent
        ids = [reply.headers["x-request-id"] for reply in (before, *hits)]
        lines = [gateway.line(request_id) for request_id in ids]
        assert [line["cache"] for line in lines] == ["miss", "hit", "hit"]
        assert lines[0]["saved_usd"] is None
        assert [float(line["saved_usd"]) for line in lines[1:]] == [cost / 1e9] * 2
        assert [float(line["cost_usd"]) for line in lines] == [cost / 1e9, 0, 0]

        def booked(name: str) -> float:
            return sum(float(row[name]) for row in gateway.get("/v1/usage").document["models"])

        # The two hits, and those that waited for the answer to be kept and the tokens to be back.
        eventually(lambda: booked("saved_usd") >= 4 * cost / 1e9)
        assert booked("cost_usd") == cost / 1e9


def tokens_left(gateway: Gateway, prompt: str) -> int:
    hit = ask(gateway, prompt, max_tokens=100)
    assert how(hit) == "hit"
    return int(hit.headers["x-ratelimit-remaining-tokens"])


def test_a_hit_is_served_where_no_money_is_left(
    redis_server: RedisServer, the_upstream: Upstream, upstream: Upstream
) -> None:
    settings = configuration(
        redis_server.url,
        the_upstream,
        budgets={"little": {"usd": 0.2, "per": "month"}},
        tenants={"poor": {}},
        keys=[{"id": "poor", "tenant": "poor", "secret": KEY, "budget": "little"}],
    )
    prompt = unseen()
    with open_gateway(settings, the_upstream) as gateway:
        warm(gateway, prompt, max_tokens=4)
        refused = ask(gateway, unseen(), max_tokens=400)
        assert refused.error["code"] == "budget_exceeded"
        assert how(ask(gateway, prompt, max_tokens=4)) == "hit"
        # Half of it is known, but the other half cannot be paid for.
        assert ask(gateway, [prompt, unseen()], max_tokens=400).status == 429


def test_nothing_of_a_prompt_is_logged_or_in_the_metrics(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt)
    reply = ask(gateway, [prompt, unseen()], temperature=0)
    gateway.line(reply.headers["x-request-id"])
    for page in ("/metrics", "/metrics/shared"):
        assert prompt.encode() not in gateway.get(page).body
