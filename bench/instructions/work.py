"""The process that is counted: a whole gateway, asked by a caller without a socket.

`python -m bench.instructions.work --upstream PORT --redis URL --meter time step …` prints a line of
JSON a measurement. Started by bench/instructions/measuring.py.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import uvloop
import yaml

from app.config.loading import load
from app.main import Gateway
from app.observability import logs
from bench import gateway
from bench.instructions import counters, reference
from bench.instructions.caller import Caller, Lifespan
from bench.processes import HOST
from bench.requests import KEY, stream_body
from bench.steps import STEPS, PlainLoad, Step, StreamLoad
from cache.quotas.usage import UsageLog

REFERENCE = "reference"
_WARM_UP = 30
_STREAMS = 4
# While it is counted the process is slow, so what happens by the clock would happen too often: these
# wait for so long that they do not happen at all, and usage is written when a measurement says so.
_BY_THE_CLOCK = (
    ("middleware.http", "PATIENCE_SECONDS"),
    ("app.observability.logs", "FLUSH_SECONDS"),
    ("app.concurrency.loop_lag", "TURN_SECONDS"),
    ("cache.quotas.usage", "FLUSH_SECONDS"),
    ("cache.quotas.counters", "FLUSH_SECONDS"),
    ("cache.answers.local_tier", "ASK_SECONDS"),
    ("cache.answers.local_tier", "KNOWN_FOR"),
    ("cache.answers.quota", "SOONEST_SECONDS"),
    ("cache.flights.relay", "BEAT_SECONDS"),
    ("cache.quotas.heartbeat", "BEAT_SECONDS"),
    ("cache.quotas.ledger", "RETRY_SECONDS"),
    ("cache.quotas.limiter", "GHOST_SECONDS"),
    ("app.cache_services", "TELL_SECONDS"),
    ("app.store_watch", "TELL_SECONDS"),
)
_NEVER = 600.0


def main() -> None:
    """Measures the reference, then each step."""
    args = _arguments()
    results = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the gateway's log lines are written, to nobody
    for module, name in _BY_THE_CLOCK:
        setattr(import_module(module), name, _NEVER)
    logs.configure("json", "info")
    work = Work(args, results)
    work.measured(REFERENCE, reference.TURNS, reference.run)
    for number, step in enumerate(step for step in STEPS if step.name in args.steps):
        uvloop.run(work.step(step, number))


class Work:
    """Measures steps; each measurement is said in one line."""

    def __init__(self, args: argparse.Namespace, results: Any) -> None:
        self._args = args
        self._results = results
        self._meter = counters.meter(args.meter)

    def measured(self, name: str, count: int, work: Any) -> None:
        """Some work without a loop."""
        for _ in range(self._args.repeats):
            with self._metered(name, count):
                work()

    async def step(self, step: Step, number: int) -> None:
        """A gateway with the step's configuration, its requests first warm, then measured."""
        store = {"store": {"url": f"{self._args.redis}/{number}", "timeout": "5s"}}
        shared = step.redis and self._args.redis
        overlay = gateway.merged(step.overlay, store if shared else {})
        whole = gateway.merged(gateway.configuration(8080, self._args.upstream), overlay)
        text = yaml.safe_dump(whole)
        app = Gateway(lambda: load(text))
        async with Lifespan(app):
            if isinstance(step.load, PlainLoad):
                usage = app._services.shared.usage  # noqa: SLF001 - see _BY_THE_CLOCK
                await self._plain(step, step.load, self._caller(app, step.load.key), usage)
            else:
                await self._streams(step, step.load, self._caller(app, KEY))

    def _caller(self, app: Gateway, key: str) -> Caller:
        return Caller(app, key, (HOST, self._args.upstream))

    async def _plain(self, step: Step, load: PlainLoad, caller: Caller, usage: UsageLog) -> None:
        requests, repeats = self._args.requests, self._args.repeats
        bodies = _bodies(load, _WARM_UP + requests * repeats)
        await caller.post(load.first_body, load.status, load.operation)
        await asyncio.sleep(0.3)  # until what was asked first is kept
        for _ in range(_WARM_UP):
            await caller.post(bodies.pop(), load.status, load.operation)
        await usage.flush()
        for _ in range(repeats):
            with self._metered(step.name, requests):
                for _ in range(requests):
                    await caller.post(bodies.pop(), load.status, load.operation)
                await usage.flush()

    async def _streams(self, step: Step, load: StreamLoad, caller: Caller) -> None:
        bodies = {
            chunks: stream_body(chunks, operation=load.operation)
            for chunks in (load.few, load.many)
        }
        await caller.post(bodies[load.few], 200, load.operation)
        for _ in range(self._args.repeats):
            for chunks, body in bodies.items():
                with self._metered(f"{step.name} {chunks}", _STREAMS):
                    for _ in range(_STREAMS):
                        await caller.post(body, 200, load.operation)

    @contextmanager
    def _metered(self, name: str, count: int) -> Iterator[None]:
        began = self._meter()
        yield
        spent = self._meter() - began
        self._results.write(json.dumps({"name": name, "count": count, "spent": spent}) + "\n")
        self._results.flush()


def _bodies(load: PlainLoad, count: int) -> list[bytes]:
    """So many bodies, made beforehand; "{n}" becomes a number used once."""
    body = load.body
    return [body.replace(b"{n}", b"%d" % number) for number in range(count)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures steps in this process.")
    parser.add_argument("--upstream", type=int, required=True)
    parser.add_argument("--redis", default="")
    parser.add_argument("--meter", choices=("hardware", "callgrind", "time"), required=True)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("steps", nargs="+")
    return parser.parse_args()


if __name__ == "__main__":
    main()
