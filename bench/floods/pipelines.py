"""Connections that send pipelined requests as fast as they are taken, and read no answer."""

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from functools import partial

from bench.floods import sockets
from bench.floods.asking import request
from bench.floods.flood import Flood, Seen, Target
from bench.requests import KEY, MODEL
from bench.verdict import Verdict

_CONNECTIONS = 128
_LARGE = _CONNECTIONS // 2
_ANSWER = 64_000  # bytes; the kernel holds about a dozen of them before the gateway has to wait
_SEND_TIMEOUT_SECONDS = 2
_AT_ONCE = 100


def attack(target: Target, seen: Seen) -> AbstractAsyncContextManager[None]:
    """Half of them need no key; the others' answers are larger, and soon fill what buffers hold."""
    small = b"GET /health/live HTTP/1.1\r\nhost: h\r\n\r\n" * _AT_ONCE
    asked = {"model": MODEL, "prompt": "a flood", "max_tokens": _ANSWER}
    large = request(json.dumps(asked).encode(), KEY) * _AT_ONCE

    async def caller(data: bytes, what: str) -> None:
        loop = asyncio.get_running_loop()
        made = await sockets.connect(target.port, reads_little=True)
        try:
            while True:
                await loop.sock_sendall(made, data)
                seen[f"sent, {what}"] += _AT_ONCE
        except OSError:
            seen[f"ended by the gateway, {what}"] += 1
        finally:
            made.close()

    work = [partial(caller, large, "large answers"), partial(caller, small, "small answers")]
    return sockets.running(work * _LARGE)


def judge(_: Target, seen: Seen, verdict: Verdict) -> None:
    ended = seen["ended by the gateway, large answers"]
    verdict.fact(
        ended >= _LARGE,
        f"pipelines: {ended} of {_LARGE} connections that did not read large answers were ended "
        f"(all must be; send_timeout is {_SEND_TIMEOUT_SECONDS} s)",
    )


FLOOD = Flood(
    name="pipelines",
    about=f"{_CONNECTIONS} connections with pipelined requests that read nothing",
    attack=attack,
    overlay={"server": {"send_timeout": f"{_SEND_TIMEOUT_SECONDS}s"}},
    memory=96,
    judge=judge,
    seconds=8.0,
    latency=0.25,  # the worker's core is full meanwhile, and the neighbour waits its turn
)
