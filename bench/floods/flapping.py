"""Two of three upstreams flap; every caller gets a whole answer or a clean error, and books agree."""

import asyncio
import itertools
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import httpx

from bench.floods import sockets
from bench.floods.flapping_upstream import FlappingUpstream, text_of
from bench.floods.flood import Flood, Seen, Target
from bench.processes import HOST, free_port, get
from bench.requests import PATH, UPSTREAM_MODEL, headers
from bench.verdict import Verdict, detail

SECONDS = 120.0
CALLERS = 200
_COMMON = 20  # prompts that all callers ask again and again: their answers are kept
_KEY = "hg-flaps-0123456789abcdef0123456789abcdef"
_SETTLED_SECONDS = 10.0
_PAUSE_SECONDS = 0.5  # callers and upstreams share a core, and one upstream must stay well
_SHOWN = 12  # kinds of failures
_PORTS = [free_port() for _ in range(3)]


@asynccontextmanager
async def attack(target: Target, seen: Seen) -> AsyncIterator[None]:
    """Callers that each ask one request after the other: every other one streamed."""
    upstreams = [FlappingUpstream(port, seed, steady=seed == 0) for seed, port in enumerate(_PORTS)]
    tasks = [asyncio.create_task(upstream.run()) for upstream in upstreams]
    context = httpx.create_ssl_context(verify=False)  # made once: it is what a client costs
    try:
        async with AsyncExitStack() as stack:
            # One each, as callers have: one pool for all of them would be the slowest part.
            clients = [
                await stack.enter_async_context(_client(target, context)) for _ in range(CALLERS)
            ]
            callers = [partial(_caller, one, number, seen) for number, one in enumerate(clients)]
            async with sockets.running(callers):
                yield
            await _finished(target)
            await _ask_for_kept(clients[0], seen)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number, upstream in enumerate(upstreams):
            detail(f"upstream {number}: {dict(sorted(upstream.seen.items()))}")


def _client(target: Target, context: ssl.SSLContext) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(verify=context, local_address=sockets.ATTACKER)
    base = f"http://{HOST}:{target.port}"
    return httpx.AsyncClient(transport=transport, base_url=base, timeout=30)


async def _caller(client: httpx.AsyncClient, number: int, seen: Seen) -> None:
    for turn in itertools.count():
        common = turn % 4 == 3
        prompt = f"common {turn % _COMMON}" if common else f"caller {number} turn {turn}"
        seen[await ask(client, prompt, stream=bool((number + turn) % 2))] += 1
        await asyncio.sleep(_PAUSE_SECONDS)


async def ask(client: httpx.AsyncClient, prompt: str, *, stream: bool) -> str:
    """One request, and in a word what came of it."""
    asked = {"model": "house", "prompt": prompt, "max_tokens": 64, "temperature": 0}
    body = json.dumps(asked | {"stream": stream})
    try:
        answer = await client.post(PATH, content=body, headers=headers(_KEY))
    except httpx.HTTPError as error:
        return f"broken: {type(error).__name__}"
    form = "stream" if stream else "plain"
    if answer.status_code != 200:
        return f"{form}: clean error {answer.status_code} {_code(answer.json())}"
    if not stream:
        return f"{form}: {_judged(answer.json()['choices'][0]['text'], prompt)}"
    events = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    if events[-1] != "[DONE]":
        return f"{form}: clean error in the stream {_code(json.loads(events[-1]))}"
    text = "".join(json.loads(event)["choices"][0]["text"] for event in events[:-1])
    return f"{form}: {_judged(text, prompt)}"


def _judged(text: str, prompt: str) -> str:
    return "whole" if text == text_of(prompt) else f"broken: {text!r} to {prompt!r}"


def _code(document: Any) -> str:
    return str(document["error"]["code"])


async def _ask_for_kept(client: httpx.AsyncClient, seen: Seen) -> None:
    """What is kept must be whole, whoever's failing call it came by."""
    for number in range(_COMMON):
        for stream in (False, True):
            seen[f"kept, {await ask(client, f'common {number}', stream=stream)}"] += 1


async def _finished(target: Target) -> None:
    """Nothing is held any more."""
    for _ in range(int(_SETTLED_SECONDS / 0.1)):
        if not Decimal(_budget(target)["held_usd"]):
            break
        await asyncio.sleep(0.1)


def judge(target: Target, seen: Seen, verdict: Verdict) -> None:
    broken = {what: n for what, n in seen.items() if "broken" in what}
    whole = sum(n for what, n in seen.items() if what.endswith("whole"))
    errors = {what: n for what, n in seen.items() if "clean error" in what}
    verdict.fact(
        not broken and whole > 0,
        f"flapping: {whole:,} answers whole, {sum(errors.values()):,} clean errors, "
        f"broken: {broken or 'none'}",
    )
    lost = sum(n for what, n in errors.items() if what.startswith("plain"))
    verdict.fact(
        lost == 0, f"flapping: {lost} plain calls failed though one upstream was well (none may)"
    )
    for route, times in _routes_of_failures(target).most_common(_SHOWN):
        detail(f"failed {times} times: {route}")
    budget = _budget(target)
    spent, held = Decimal(budget["spent_usd"]), Decimal(budget["held_usd"])
    logged = _logged(target)
    verdict.fact(
        spent == logged and held == 0,
        f"flapping: the budget paid ${spent}, the log has ${logged} (equal), ${held} held (none)",
    )


def _budget(target: Target) -> dict[str, str]:
    _, body = get(target.port, "/v1/usage", headers(_KEY))
    [budget] = json.loads(body)["budgets"]
    return dict(budget)


def _lines(target: Target) -> Iterator[dict[str, Any]]:
    """The log's lines of these callers' requests."""
    for line in target.gateway.log.read_text(errors="replace").splitlines():
        if '"tenant":"flaps"' in line:
            yield json.loads(line)


def _logged(target: Target) -> Decimal:
    return sum((Decimal(line.get("cost_usd") or 0) for line in _lines(target)), Decimal(0))


def _routes_of_failures(target: Target) -> Counter[str]:
    """By which attempts plain calls failed, without their times."""
    found: Counter[str] = Counter()
    for line in _lines(target):
        if line["status"] >= 400:
            route = [attempt.partition(" ")[0] for attempt in line["route"] or ()]
            found[f"{line['error']}: {' '.join(route)}"] += 1
    return found


_PRICE = {"input_per_million": 1, "output_per_million": 2}
FLOOD = Flood(
    name="flapping",
    about=f"two of three upstreams flap for {SECONDS:.0f} s under {CALLERS} callers",
    attack=attack,
    overlay={
        "providers": {
            f"up{number}": {
                "kind": "openai",
                "base_url": f"http://{HOST}:{port}/v1",
                "api_key": "sk-flapping-upstream",
                "timeouts": {"connect": "2s", "first_byte": "2s" if number else "20s"},
            }
            for number, port in enumerate(_PORTS)
        },
        "models": {
            "house": {
                "targets": [
                    {"provider": f"up{number}", "model": UPSTREAM_MODEL} for number in range(3)
                ],
                "price": _PRICE,
                "cache": {},
            }
        },
        "store": {"timeout": "2s"},  # this is about upstreams
        "budgets": {"plenty": {"usd": 100000, "per": "month"}},
        "tenants": {"flaps": {"budget": "plenty"}},
        "keys": [
            {
                "id": "bench",
                "tenant": "bench",
                "secret": "hg-bench-0123456789abcdef0123456789abcdef",
            },
            {"id": "flaps", "tenant": "flaps", "secret": _KEY, "models": ["house"]},
        ],
    },
    memory=96,
    judge=judge,
    seconds=SECONDS,
    redis=(),
    latency=1.0,
)
