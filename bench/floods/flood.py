"""What a flood is, what is looked at while it runs, and what it must not do."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bench import procfs
from bench.floods.neighbour import Latencies, ask_for
from bench.processes import Child
from bench.verdict import Verdict, detail

QUIET_SECONDS = 1.5
FLOOD_SECONDS = 5.0
TIMES_QUIET = 5.0  # how much slower a neighbour's 99th percentile may become
NOISE_SECONDS = 0.05  # what is put down to the machine: load and gateway may share two cores
WORST_SECONDS = 0.5  # however slow it was in quiet
SPARE_FILES = 16  # descriptors that may be open afterwards over those before
_SAMPLE_SECONDS = 0.1
_BACK_SECONDS = 10.0  # descriptors must be back after that

Seen = Counter[str]


@dataclass(frozen=True, slots=True)
class Target:
    """The gateway under attack."""

    gateway: Child

    @property
    def port(self) -> int:
        return self.gateway.port


Attack = Callable[[Target, Seen], AbstractAsyncContextManager[None]]
Judge = Callable[[Target, Seen, Verdict], None]


@dataclass(frozen=True, slots=True)
class Flood:
    """One flood: its configuration over the usual one, the attack, and its bounds.

    `memory` is how many MiB the worker may grow by while it lasts; `judge` adds facts of its own.
    With `redis` the gateway's store is a Redis with these options. `latency` is the neighbour's
    bound in seconds where it is another than five times its quiet one.
    """

    name: str
    about: str
    attack: Attack
    overlay: Mapping[str, Any]
    memory: float
    judge: Judge | None = None
    seconds: float = FLOOD_SECONDS
    redis: tuple[str, ...] | None = None
    latency: float | None = None


async def run(flood: Flood, target: Target, verdict: Verdict) -> None:
    """Measures a neighbour in quiet and under the flood, and the worker before, in and after it."""
    pid = target.gateway.pid
    await ask_for(target.port, 0.5)  # warm
    quiet = await ask_for(target.port, QUIET_SECONDS)
    files, before = procfs.open_files(pid), _memory(pid)
    seen: Seen = Counter()
    async with _watched(pid) as peak, flood.attack(target, seen):
        under = await ask_for(target.port, flood.seconds)
    seen["the neighbour asked"] = under.asked
    files_after = await _files_back(pid, files)
    _judge_neighbour(flood, quiet, under, verdict)
    verdict.fact(
        peak[0] - before <= flood.memory,
        f"{flood.name}: worker {before:.0f} MiB before, {peak[0]:.0f} at most, "
        f"{_memory(pid):.0f} after (up to +{flood.memory:.0f})",
    )
    verdict.fact(
        files_after <= files + SPARE_FILES,
        f"{flood.name}: descriptors {files} before, {files_after} after "
        f"(up to {files + SPARE_FILES})",
    )
    if flood.judge is not None:
        flood.judge(target, seen, verdict)
    detail(f"seen: {dict(sorted(seen.items()))}")


def latency_bound(quiet: Latencies) -> float:
    """The slowest that a neighbour's 99th percentile may become, in seconds."""
    return min(max(TIMES_QUIET * quiet.p99, NOISE_SECONDS), WORST_SECONDS)


def _judge_neighbour(flood: Flood, quiet: Latencies, under: Latencies, verdict: Verdict) -> None:
    bound = flood.latency or latency_bound(quiet)
    verdict.fact(
        under.p99 <= bound and not under.failed and under.asked > 0,
        f"{flood.name}: neighbour p50 {_ms(quiet.p50)} -> {_ms(under.p50)}, "
        f"p99 {_ms(quiet.p99)} -> {_ms(under.p99)} ms (up to {_ms(bound)}), "
        f"{under.failed} of {under.asked} failed (none may)",
    )


@asynccontextmanager
async def _watched(pid: int) -> AsyncIterator[list[float]]:
    """The most memory of the worker during the block, in MiB, in a list of one."""
    peak = [_memory(pid)]

    async def watch() -> None:
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            peak[0] = max(peak[0], _memory(pid))

    task = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _files_back(pid: int, files: int) -> int:
    for _ in range(int(_BACK_SECONDS / _SAMPLE_SECONDS)):
        if procfs.open_files(pid) <= files + SPARE_FILES:
            break
        await asyncio.sleep(_SAMPLE_SECONDS)
    return procfs.open_files(pid)


def _memory(pid: int) -> float:
    return max(memory.rss for memory in procfs.workers(pid))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
