"""Streaming load, a process of its own: `python -m bench.stream_load --port N …`; prints JSON.

Closed loop: each connection starts its next stream when the last one ended, until the time is up;
streams under way are then read to their end, so every chunk that was paid for is counted.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

import uvloop

from bench.framing import looks_complete
from bench.processes import HOST, OK
from bench.requests import KEY, PATHS, Operation, stream_body, stream_request
from bench.stream_connection import StreamConnection

_RAMP_SECONDS = 0.1  # connections open over this time, so that they do not tick together
_STREAM_SECONDS = 20  # one stream may take this long


@dataclass(slots=True)
class Tally:
    """All streams of one run; `first_chunk` in seconds."""

    first_chunk: list[float] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)


async def load(
    port: int, connections: int, seconds: float, chunks: int, operation: Operation
) -> dict[str, object]:
    """Runs the load and sums it up; times in seconds."""
    tally = Tally()
    request = stream_request(HOST, stream_body(chunks, operation=operation), KEY, operation)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            wait = _RAMP_SECONDS * number / connections
            group.create_task(_connection(port, request, chunks, wait, began + seconds, tally))
    took = time.perf_counter() - began
    ordered = sorted(tally.first_chunk)
    return {
        "streams": len(ordered),
        "chunks": len(ordered) * chunks,
        "seconds": took,
        "first_chunk_p50": percentile(ordered, 0.50),
        "first_chunk_p99": percentile(ordered, 0.99),
        "problems": dict(tally.problems.most_common(3)),
    }


async def _connection(
    port: int, request: bytes, chunks: int, wait: float, deadline: float, tally: Tally
) -> None:
    await asyncio.sleep(wait)
    connection: StreamConnection | None = None
    while time.perf_counter() < deadline:
        try:
            async with asyncio.timeout(_STREAM_SECONDS):
                connection = connection or await StreamConnection.open(port)
                outcome = await connection.stream(request)
        except (OSError, TimeoutError) as error:
            tally.problems[repr(error)] += 1
            break
        if outcome.problem or outcome.status != OK or not looks_complete(outcome.body, chunks):
            problem = outcome.problem or f"status {outcome.status}: {outcome.body[-120:]!r}"
            tally.problems[problem] += 1
            break
        tally.first_chunk.append(outcome.first_chunk)
    if connection is not None:
        connection.go_away()


def percentile(ordered: list[float], share: float) -> float:
    """Nearest rank of a sorted list; 0 when it is empty."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Streaming load; prints one line of JSON.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--operation", choices=PATHS, default="completions")
    args = parser.parse_args()
    found = uvloop.run(load(args.port, args.connections, args.seconds, args.chunks, args.operation))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
