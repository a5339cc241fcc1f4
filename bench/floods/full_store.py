"""One tenant's cache fills the store; the neighbour's requests are paid by a budget in it."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.floods import sockets
from bench.floods.asking import Caller
from bench.floods.flood import Flood, Seen, Target
from bench.processes import get
from bench.requests import KEY, MODEL, UPSTREAM_MODEL, headers
from bench.verdict import Verdict

_CALLERS = 4
_KEY = "hg-flood-0123456789abcdef0123456789abcdef"
_ANSWER = 16_000  # bytes; about 400 of them fill the store
_FULL = 800
_MAXMEMORY = "8mb"
_DOLLARS_A_TOKEN = 1e-6
_TOKENS_A_REQUEST = 8  # of the neighbour's: 1 asked, 7 answered
_SETTLED_SECONDS = 3.0
_MONTH = str(30 * 86400)


@asynccontextmanager
async def attack(target: Target, seen: Seen) -> AsyncIterator[None]:
    """Every answer is another one, to be kept for 30 days; the store is full to begin with."""
    numbers = itertools.count()
    seen["tokens paid before"] = _paid(target)

    async def caller() -> None:
        one = await Caller.connect(target.port)
        try:
            while True:
                asked = {"model": "cached", "prompt": f"{next(numbers)}", "max_tokens": _ANSWER}
                body = json.dumps(asked | {"temperature": 0}).encode()
                status = await one.ask(body, _KEY, {"x-headgate-cache-ttl": _MONTH})
                seen[f"answered {status}"] += 1
        finally:
            one.close()

    async with sockets.running([caller] * _CALLERS):
        for _ in range(250):
            if seen["answered 200"] >= _FULL:
                break
            await asyncio.sleep(0.02)
        yield


def judge(target: Target, seen: Seen, verdict: Verdict) -> None:
    asked = seen["the neighbour asked"] * _TOKENS_A_REQUEST
    deadline = time.monotonic() + _SETTLED_SECONDS
    while (paid := _paid(target) - seen["tokens paid before"]) < asked:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    verdict.fact(
        paid == asked, f"full store: the neighbour's budget paid {paid} tokens of {asked} (all)"
    )
    others = {k: n for k, n in seen.items() if k.startswith("answered") and "200" not in k}
    verdict.fact(not others, f"full store: answers other than 200: {others or 'none'}")
    verdict.fact(seen["answered 200"] >= _FULL, f"full store: {seen['answered 200']} were kept")


def _paid(target: Target) -> int:
    """What the neighbour's budget has paid, in tokens at the one price; 0 where it cannot be told."""
    status, body = get(target.port, "/v1/usage", headers(KEY))
    budgets = json.loads(body).get("budgets", []) if status == 200 else []
    return round(sum(float(b["spent_usd"]) for b in budgets) / _DOLLARS_A_TOKEN)


def flood(policy: str) -> Flood:
    """With a Redis that has this eviction policy."""
    price = {"input_per_million": 1, "output_per_million": 1}
    model = {"targets": [{"provider": "mock", "model": UPSTREAM_MODEL}], "price": price}
    keys = [
        {"id": "bench", "tenant": "bench", "secret": KEY, "budget": "plenty"},
        {"id": "flood", "tenant": "flood", "secret": _KEY},
    ]
    return Flood(
        name=f"full_store_{policy.replace('-', '_')}",
        about=f"a store of {_MAXMEMORY} ({policy}) that one tenant's cache fills, budgets beside it",
        attack=attack,
        overlay={
            "models": {MODEL: model, "cached": model | {"cache": {}}},
            "budgets": {"plenty": {"usd": 1000, "per": "day"}},
            "tenants": {"bench": {}, "flood": {}},
            "keys": keys,
        },
        memory=96,
        judge=judge,
        seconds=3.0,
        redis=("--maxmemory", _MAXMEMORY, "--maxmemory-policy", policy),
    )


FLOODS = [flood("noeviction"), flood("volatile-lru")]
