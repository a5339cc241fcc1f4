"""One round of the soak, the clients' side: many streams at once, some of which may leave early."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass

from bench import framing
from bench.processes import HOST, OK, get
from bench.requests import stream_body, stream_request
from bench.stream_connection import Outcome, StreamConnection
from bench.stream_load import percentile
from bench.stream_upstream import WORD

_RAMP_SECONDS = 1.0  # connections open over this time
_NOTICE_SECONDS = 10.0  # how long we ask the upstream whether it has seen the leaving
_POLL_SECONDS = 0.01
_PIECES_BEFORE_LEAVING = 3


@dataclass(frozen=True, slots=True)
class Round:
    """How many streams of how many chunks; the first `leaving` of them go away mid-stream.

    `seconds` is how long all of it may take.
    """

    port: int
    streams: int
    chunks: int
    seconds: float
    leaving: int = 0
    upstream_port: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What the clients saw; times in seconds.

    `noticed` is how long after the leaving the upstream had seen all of it, None if it never had.
    """

    complete: int
    chunks: int
    seconds: float
    first_p50: float
    first_p99: float
    noticed: float | None
    problems: dict[str, int]


@dataclass(frozen=True, slots=True)
class Ask:
    """One stream's shape: every fourth asks for usage, every eighth for two choices."""

    chunks: int
    choices: int
    usage: bool

    @classmethod
    def of(cls, number: int, chunks: int) -> "Ask":
        return cls(chunks, 2 if number % 8 == 0 else 1, number % 4 == 0)

    @property
    def request(self) -> bytes:
        body = stream_body(self.chunks, choices=self.choices, usage=self.usage)
        return stream_request(HOST, body)

    def problems(self, outcome: Outcome) -> list[str]:
        """Everything wrong with what came back."""
        if outcome.problem:
            return [outcome.problem]
        if outcome.status != OK:
            return [f"status {outcome.status}: {outcome.body[:200].decode(errors='replace')}"]
        text = WORD * self.chunks
        return framing.problems(outcome.body, text, choices=self.choices, usage=self.usage)


async def play(plan: Round) -> Found:
    """Plays the round to its end, or to its time limit."""
    problems: Counter[str] = Counter()
    first_chunks: list[float] = []
    connections: dict[int, StreamConnection] = {}
    began = time.perf_counter()

    async def client(number: int) -> int:
        await asyncio.sleep(_RAMP_SECONDS * number / plan.streams)
        ask = Ask.of(number, plan.chunks)
        connection = connections[number] = await StreamConnection.open(plan.port)
        try:
            outcome = await connection.stream(ask.request)
        finally:
            connection.go_away()
        if number < plan.leaving:
            return 0
        if wrong := ask.problems(outcome):
            problems.update(wrong)
            return 0
        first_chunks.append(outcome.first_chunk)
        return plan.chunks * ask.choices

    noticing = asyncio.create_task(_leave(plan, connections))
    counted = await asyncio.gather(
        *(asyncio.wait_for(client(number), plan.seconds) for number in range(plan.streams)),
        return_exceptions=True,
    )
    took = time.perf_counter() - began
    problems.update(repr(error) for error in counted if isinstance(error, BaseException))
    ordered = sorted(first_chunks)
    return Found(
        complete=len(ordered),
        chunks=sum(count for count in counted if isinstance(count, int)),
        seconds=took,
        first_p50=percentile(ordered, 0.50),
        first_p99=percentile(ordered, 0.99),
        noticed=await noticing,
        problems=dict(problems.most_common(5)),
    )


async def _leave(plan: Round, connections: dict[int, StreamConnection]) -> float | None:
    """Once all who leave are mid-stream, they go together; then asks until the upstream knows."""
    if not plan.leaving:
        return None
    before = await _aborted(plan)
    deadline = time.perf_counter() + plan.seconds
    while time.perf_counter() < deadline:
        leavers = [connections[number] for number in range(plan.leaving) if number in connections]
        if len(leavers) == plan.leaving and all(
            leaver.pieces >= _PIECES_BEFORE_LEAVING for leaver in leavers
        ):
            break
        await asyncio.sleep(_POLL_SECONDS)
    else:
        return None
    for leaver in leavers:
        leaver.go_away()
    gone = time.perf_counter()
    while time.perf_counter() < gone + _NOTICE_SECONDS:
        if await _aborted(plan) - before >= plan.leaving:
            return time.perf_counter() - gone
        await asyncio.sleep(_POLL_SECONDS)
    return None


async def _aborted(plan: Round) -> int:
    _, answer = await asyncio.to_thread(get, plan.upstream_port, "/control")
    return int(json.loads(answer)["aborted"])
