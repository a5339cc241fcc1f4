"""Runs the counted process with what it needs beside it, and reads what it found."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench import redis_store
from bench.failure import BenchFailureError
from bench.instructions import counters
from bench.instructions.work import REFERENCE
from bench.processes import ROOT, free_port, ready, running
from bench.steps import Step, StreamLoad

_SECONDS = 600


class Figure(NamedTuple):
    """What one request, or one relayed chunk, takes: instructions, or seconds where only time is
    measured; and how many requests of the reference work that is."""

    spent: float
    ratio: float


def kind_of_counter() -> counters.Kind:
    """The best that this machine has."""
    descriptor = counters.open_hardware()
    if descriptor is not None:
        return "hardware"
    return "callgrind" if shutil.which("valgrind") else "time"


def measure(
    steps: Sequence[Step], kind: counters.Kind, *, requests: int, redis: bool
) -> dict[str, Figure]:
    """The figure of each step by name; of several repeats the least, of the reference too.

    Without ``redis`` every step uses the store in the process.
    """
    repeats = 1 if kind == "callgrind" else 3  # what is counted exactly need not be counted again
    core = max(os.sched_getaffinity(0))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        port = free_port()
        upstream = [sys.executable, "-m", "bench.stream_upstream", "--port", str(port)]
        upstream += ["--asked", "--keep-alive", "600"]
        child = stack.enter_context(
            running("upstream", upstream, port=port, core=core, folder=folder)
        )
        ready(child, "/control")
        url = ""
        if redis and any(step.redis for step in steps):
            url = stack.enter_context(redis_store.store(folder, core, "--databases", "64"))
        argv = [sys.executable, "-m", "bench.instructions.work", "--upstream", str(port)]
        argv += ["--redis", url, "--meter", kind]
        argv += ["--requests", str(requests), "--repeats", str(repeats)]
        argv += [step.name for step in steps]
        output = folder / "callgrind"
        if kind == "callgrind":
            argv = [*counters.callgrind(output), *argv]
        done = _run(argv)
        if done.returncode:
            raise BenchFailureError(f"the counted process failed:\n{done.stderr[-2000:]}")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        if kind == "callgrind":
            counted = counters.totals(output)[1::2]
            lines = [row | {"spent": spent} for row, spent in zip(lines, counted, strict=False)]
    return figures(steps, lines)


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, cwd=ROOT, timeout=_SECONDS, check=False,
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BenchFailureError(f"the counted process took over {_SECONDS} s") from None


def figures(steps: Sequence[Step], lines: Sequence[dict[str, float]]) -> dict[str, Figure]:
    """From what the counted process said."""
    least: dict[str, float] = {}
    for row in lines:
        name, each = str(row["name"]), row["spent"] / row["count"]
        least[name] = min(each, least.get(name, each))
    reference = least[REFERENCE]
    found = {}
    for step in steps:
        if isinstance(step.load, StreamLoad):
            few, many = step.load.few, step.load.many
            longer = least[f"{step.name} {many}"] - least[f"{step.name} {few}"]
            spent = longer / (many - few)
        else:
            spent = least[step.name]
        found[step.name] = Figure(spent, spent / reference)
    return found
