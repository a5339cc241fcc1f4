"""Plain load: wrk, closed loop, one thread, kept-alive connections.

A closed loop sends the next request when the last one is answered, so percentiles at many
connections show queueing at saturation; the single-connection run shows the bare latency.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.failure import BenchFailureError
from bench.processes import HOST, on_core

_SCRIPT = Path(__file__).with_name("wrk.lua")
_HOME = "/usr/bin/wrk"
_ARGUMENT_BYTES = 100 << 10  # Linux takes 128 KiB
_GRACE_SECONDS = 15  # wrk ends by itself after `seconds`; this is for one that does not


@dataclass(frozen=True, slots=True)
class WrkResult:
    """One run: completed requests, wall seconds, latencies in milliseconds, bad answers."""

    requests: int
    seconds: float
    p50: float
    p90: float
    p99: float
    refused: int
    broken: int


def run(
    port: int, *, key: str, path: str, body: bytes, connections: int, seconds: int, core: int
) -> WrkResult:
    """Sends `body` to `path` for `seconds` over `connections`."""
    run_id = f"{os.getpid():x}{time.monotonic_ns():x}"
    with tempfile.NamedTemporaryFile(prefix="bench-body-") as file:
        file.write(body)
        file.flush()
        given = body.decode() if len(body) <= _ARGUMENT_BYTES else f"@{file.name}"
        argv = [
            program(), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "--latency",
            "-s", str(_SCRIPT), f"http://{HOST}:{port}{path}", "--", key, given, run_id,
        ]  # fmt: skip
        with on_core(core):
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, check=False
            )
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise BenchFailureError(f"wrk gave no result: {done.stdout[-500:]}{done.stderr[-500:]}")
    found = json.loads(line.removeprefix("RESULT "))
    return WrkResult(
        requests=found["requests"],
        seconds=found["micros"] / 1e6,
        p50=found["p50"] / 1e3,
        p90=found["p90"] / 1e3,
        p99=found["p99"] / 1e3,
        refused=found["refused"],
        broken=found["broken"],
    )


def program() -> str:
    """Where wrk is, or how to get it."""
    if found := shutil.which("wrk") or shutil.which(_HOME):
        return found
    raise BenchFailureError("wrk is missing; on Debian or Ubuntu: sudo apt-get install wrk")
