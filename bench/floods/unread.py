"""Callers who ask for large answers and do not read them."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager

from bench.floods import sockets
from bench.floods.asking import request
from bench.floods.flood import Flood, Seen, Target
from bench.requests import KEY, MODEL
from bench.verdict import Verdict

_CALLERS = 15
_ANSWER = 55_000_000  # bytes
_SEND_TIMEOUT_SECONDS = 2


def attack(target: Target, seen: Seen) -> AbstractAsyncContextManager[None]:
    """Each asks once; it leaves only when it is sent away."""
    body = json.dumps({"model": MODEL, "prompt": "a flood", "max_tokens": _ANSWER}).encode()

    async def caller() -> None:
        loop = asyncio.get_running_loop()
        made = await sockets.connect(target.port, reads_little=True)
        try:
            await loop.sock_sendall(made, request(body, KEY))
            seen["asked"] += 1
            head = await loop.sock_recv(made, 16)
            seen[f"answered {head[9:12].decode() or 'nothing'}"] += 1
            while True:  # a byte now and then would be another flood; this one only looks
                await asyncio.sleep(0.2)
                await loop.sock_sendall(made, b"\r\n")
        except OSError:
            seen["ended by the gateway"] += 1
        finally:
            made.close()

    return sockets.running([caller] * _CALLERS)


def judge(_: Target, seen: Seen, verdict: Verdict) -> None:
    over = seen["ended by the gateway"] + sum(
        count for name, count in seen.items() if name.startswith("answered ") and "200" not in name
    )
    verdict.fact(
        over >= _CALLERS,
        f"unread: {over} of {_CALLERS} callers were refused or ended (all must be, send_timeout is "
        f"{_SEND_TIMEOUT_SECONDS} s)",
    )


FLOOD = Flood(
    name="unread",
    about=f"{_CALLERS} callers who do not read answers of {_ANSWER // 1_000_000} MB",
    attack=attack,
    overlay={"server": {"send_timeout": f"{_SEND_TIMEOUT_SECONDS}s"}},
    memory=512,
    judge=judge,
    seconds=6.0,
    latency=2.0,  # 825 MB are read and checked meanwhile; what is bounded here is memory
)
