"""A key with one request a minute that sends the dearest bodies there are, again and again."""

import asyncio
from contextlib import AbstractAsyncContextManager

from bench.floods import sockets
from bench.floods.asking import Caller
from bench.floods.flood import Flood, Seen, Target
from bench.verdict import Verdict

_CONNECTIONS = 8
_KEY = "hg-flood-0123456789abcdef0123456789abcdef"
_FILLING = b"[]," * ((1 << 20) // 3 - 40)
_BODY = b'{"model":"bench","prompt":"x","y":[' + _FILLING + b"[]]}"


def attack(target: Target, seen: Seen) -> AbstractAsyncContextManager[None]:
    """Each sends its next body when the last one was answered."""

    async def caller() -> None:
        while True:
            one = await Caller.connect(target.port)
            try:
                while True:
                    seen[f"answered {await one.ask(_BODY, _KEY)}"] += 1
            except (OSError, EOFError):
                seen["ended by the gateway"] += 1
                await asyncio.sleep(0.05)
            finally:
                one.close()

    return sockets.running([caller] * _CONNECTIONS)


def judge(_: Target, seen: Seen, verdict: Verdict) -> None:
    passed = seen["answered 200"]
    verdict.fact(
        passed <= 2, f"bodies: {passed} of a key with one request a minute passed (up to 2)"
    )


FLOOD = Flood(
    name="bodies",
    about=f"1 MiB of [[],[],...] from a limited key on {_CONNECTIONS} connections",
    attack=attack,
    overlay={
        "limits": {"one": {"requests_per_minute": 1}},
        "keys": [
            {
                "id": "bench",
                "tenant": "bench",
                "secret": "hg-bench-0123456789abcdef0123456789abcdef",
            },
            {"id": "flood", "tenant": "bench", "secret": _KEY, "limits": "one"},
        ],
    },
    memory=96,
    judge=judge,
)
