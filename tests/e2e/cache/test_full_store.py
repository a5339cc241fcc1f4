"""One tenant fills the cache of a small server: everybody's money stays as it was."""

from __future__ import annotations

import random
from base64 import b64encode
from typing import Any

import pytest

from tests.cache.stores import server_of
from tests.e2e.cache.asking import ask, how
from tests.e2e.cache.configuration import configuration
from tests.harness.configuration import TOKEN
from tests.harness.credentials import KEY, STRANGER
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import good_server
from tests.harness.prompts import unseen
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

POLICIES = [
    *("noeviction", "volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random"),
    *("allkeys-lru", "allkeys-lfu", "allkeys-random"),
]
MONTH = {"x-headgate-cache-ttl": str(30 * 86400)}
LARGE = 400_000  # bytes of an answer's text, which takes three quarters of that when it is packed
ANSWERS = 45  # more than half as much again as the server may hold
PAID = 9
MOST = 8 << 20


def large_answers(upstream: Upstream) -> None:
    """The upstream says much to prompts that ask for it."""
    noise = random.Random(9)

    async def script(request, wire):
        if "much" not in str(request.document["prompt"]):
            await good_server(request, wire)
            return
        text = b64encode(noise.randbytes(LARGE * 3 // 4)).decode()
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
        body = {"id": "cmpl-9", "object": "text_completion", "created": 1, "model": "up"}
        await wire.answer(body | {"choices": [choice], "usage": usage})

    upstream.on("up", script)


def settings(url: str, upstream: Upstream) -> dict[str, Any]:
    made = configuration(url, upstream)
    made["store"]["timeout"] = "2s"  # this machine may be busy; full is what this is about
    made["budgets"] = {"plenty": {"usd": 1000, "per": "month"}}
    made["tenants"]["other"] = {"budget": "plenty"}
    return made


def spent(gateway: Gateway) -> float:
    [budget] = gateway.get("/v1/usage", STRANGER).document["budgets"]
    return float(budget["spent_usd"])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_full_cache_stops_nobodys_budget_and_forgets_no_spending(
    the_upstream: Upstream, upstream: Upstream, policy: str
) -> None:
    large_answers(upstream)
    options = ("--maxmemory", str(MOST), "--maxmemory-policy", policy)
    with (
        server_of("7", options) as server,
        open_gateway(settings(server.url, the_upstream), the_upstream) as gateway,
    ):
        charged = 0.0
        for number in range(ANSWERS):
            hog = ask(gateway, f"much {number} {unseen()}", KEY, MONTH)
            assert hog.status == 200
            if number % (ANSWERS // PAID) == 0:
                paid = ask(gateway, unseen(), STRANGER, model="uncached")
                assert paid.status == 200, paid.body
                charged += float(paid.headers["x-headgate-cost-usd"])
        assert charged >= PAID * TOKEN / 1e9
        eventually(lambda: abs(spent(gateway) - charged) < 1e-9)
        # What was asked last is still there: the cache gave up its own oldest.
        prompt = unseen()
        eventually(lambda: how(ask(gateway, prompt)) == "hit")
        facts = server.info("memory")
        assert int(facts["used_memory"]) < 0.8 * MOST
        stats = server.info("stats")
        assert stats["evicted_keys"] == "0"
        assert not [line for line in gateway.output if "store_out" in line]
        entries = server.cli("KEYS", "*{acme}:answer:*").splitlines()
        assert 5 < len(entries) < ANSWERS // 2
        day = 86_400 + 3600  # the most that the model allows, and stale_if_error
        assert max(int(server.cli("TTL", key)) for key in entries) <= day
