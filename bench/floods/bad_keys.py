"""Somebody who tries keys, as fast as they are refused."""

import asyncio
import itertools
from contextlib import AbstractAsyncContextManager

from bench.floods import sockets
from bench.floods.asking import Caller
from bench.floods.flood import FLOOD_SECONDS, Flood, Seen, Target
from bench.requests import plain_body
from bench.verdict import Verdict

_CONNECTIONS = 32
_LINES_A_SECOND = 50  # of the log, at most
_TRIES_A_SECOND = 500  # that one address may make, at most


def attack(target: Target, seen: Seen) -> AbstractAsyncContextManager[None]:
    """All of them from one address, each with another key every time."""
    numbers = itertools.count()

    async def caller() -> None:
        while True:
            one = await Caller.connect(target.port)
            try:
                while True:
                    key = f"hg-guess-{next(numbers):032x}"
                    seen[f"answered {await one.ask(plain_body(), key)}"] += 1
            except (OSError, EOFError):
                seen["ended by the gateway"] += 1
                await asyncio.sleep(0.05)
            finally:
                one.close()

    return sockets.running([caller] * _CONNECTIONS)


def judge(target: Target, seen: Seen, verdict: Verdict) -> None:
    tries = sum(count for name, count in seen.items() if name.startswith("answered"))
    lines = target.gateway.log.read_bytes().count(b'"invalid_api_key"')
    verdict.fact(
        tries <= _TRIES_A_SECOND * FLOOD_SECONDS,
        f"bad_keys: {tries / FLOOD_SECONDS:,.0f} tries a second were answered "
        f"(up to {_TRIES_A_SECOND:,})",
    )
    verdict.fact(
        lines <= _LINES_A_SECOND * FLOOD_SECONDS,
        f"bad_keys: {lines:,} lines of the log for {tries:,} tries "
        f"(up to {_LINES_A_SECOND * FLOOD_SECONDS:,.0f})",
    )


FLOOD = Flood(
    name="bad_keys",
    about=f"wrong keys from one address on {_CONNECTIONS} connections",
    attack=attack,
    overlay={},
    memory=32,
    judge=judge,
)
