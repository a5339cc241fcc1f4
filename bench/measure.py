"""Runs one step: starts what it needs, warms up, measures several times, ends everything."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import framing, gateway, nginx, procfs, redis_store, wrk
from bench.failure import BenchFailureError
from bench.processes import OK, Child, Cores, free_port, on_core, post, ready, running
from bench.requests import headers, stream_body
from bench.results import Measure, Result, Sample, single, summed_up
from bench.steps import PlainLoad, Step, StreamLoad
from bench.stream_upstream import WORD

CONNECTIONS = 64
_WARM_UP_SECONDS = 1
_GRACE_SECONDS = 40
_TRIES = 3
_MARKS = {"completions": b'"choices"', "chat": b'"choices"', "embeddings": b'"embedding"'}


@dataclass(frozen=True, slots=True)
class Plan:
    """Where and how long: cores, seconds a measurement, repeats, a folder for files; and over how many
    connections plain requests come."""

    cores: Cores
    seconds: int
    repeats: int
    folder: Path
    say: Callable[[str], None]
    connections: int = CONNECTIONS

    @property
    def seconds_alone(self) -> int:
        """One connection needs less time: it is a latency, not a rate."""
        return max(1, self.seconds // 2)


def run(step: Step, plan: Plan) -> Result:
    """Measures one step; what goes wrong in it becomes the row's problem, not the run's end."""
    folder = plan.folder / step.name
    folder.mkdir()
    try:
        with (
            _upstream(step, plan, folder) as upstream,
            _store(step, plan, folder) as shared,
            _target(step, plan, folder, upstream, shared) as (child, cold_start),
        ):
            if isinstance(step.load, PlainLoad):
                measures = _plain(step, step.load, plan, child)
            else:
                measures = _streams(step, step.load, plan, child)
            if step.target != "direct":
                measures["cold_start_ms"] = single(cold_start * 1e3)
            return Result(step, measures)
    except (BenchFailureError, OSError, subprocess.SubprocessError) as error:
        return Result(step, problem=str(error))


@contextmanager
def _upstream(step: Step, plan: Plan, folder: Path) -> Iterator[Child]:
    port = free_port()
    if isinstance(step.load, StreamLoad):
        argv = [sys.executable, "-m", "bench.stream_upstream", "--port", str(port)]
        argv += ["--delay-ms", str(step.load.delay_ms)]
    else:
        argv = nginx.upstream(folder / "upstream", port, step.load.prompts, step.load.operation)
    # going directly crosses from core to core once, as every hop through a gateway does
    core = plan.cores.test if step.target == "direct" else plan.cores.load
    with running("upstream", argv, port=port, core=core, folder=folder) as child:
        ready(child, "/control")
        yield child


@contextmanager
def _store(step: Step, plan: Plan, folder: Path) -> Iterator[gateway.Overlay]:
    """What a step's configuration says of its store."""
    if not step.redis:
        yield {}
        return
    with redis_store.store(folder, plan.cores.load) as url:
        # A second is no bound on the cost; on a shared load core Redis answers late at times.
        yield {"store": {"url": url, "timeout": "1s"}}


@contextmanager
def _target(
    step: Step, plan: Plan, folder: Path, upstream: Child, shared: gateway.Overlay
) -> Iterator[tuple[Child, float]]:
    if step.target == "direct":
        yield upstream, 0.0
        return
    port = free_port()
    streams = isinstance(step.load, StreamLoad)
    if step.target == "nginx":
        argv = nginx.proxy(folder / "proxy", port, upstream.port, streams=streams)
    elif step.target == "asgi":
        argv = [sys.executable, "-m", "granian", "--interface", "asgi", "--loop", "uvloop"]
        argv += ["--port", str(port), "--workers", "1", "--no-ws", "bench.bare_asgi:app"]
    else:
        argv = gateway.command(
            folder / "gateway", port, upstream.port, gateway.merged(step.overlay, shared)
        )
    with running(step.name, argv, port=port, core=plan.cores.test, folder=folder) as child:
        yield child, ready(child, "/health/ready")


def _plain(step: Step, load: PlainLoad, plan: Plan, child: Child) -> dict[str, Measure]:
    status, answer = post(child.port, load.path, load.first_body, headers(load.key))
    wanted = _MARKS[load.operation] if load.status == OK else b'"error"'
    if status != load.status or wanted not in answer:
        raise BenchFailureError(f"answered {status}, expected {load.status}: {answer[:300]!r}")
    measures: dict[str, Measure] = {}
    if step.target != "direct":
        plan.say(f"{step.name}: {plan.connections} connections")
        _wrk(load, plan, child, plan.connections, _WARM_UP_SECONDS)
        measures |= summed_up([_plain_sample(load, plan, child) for _ in range(plan.repeats)])
        measures |= _memory(child)
    plan.say(f"{step.name}: one connection")
    alone = [_wrk(load, plan, child, 1, plan.seconds_alone) for _ in range(plan.repeats)]
    return measures | summed_up([{"alone_p50_ms": r.p50, "alone_p99_ms": r.p99} for r in alone])


def _plain_sample(load: PlainLoad, plan: Plan, child: Child) -> Sample:
    with procfs.metered(child.pid, plan.cores.test) as cost:
        found = _wrk(load, plan, child, plan.connections, plan.seconds)
    spent = cost()
    return {
        "requests_per_s": found.requests / found.seconds,
        "cpu_request_us": spent.mine / found.requests * 1e6,
        "p50_ms": found.p50,
        "p90_ms": found.p90,
        "p99_ms": found.p99,
        "busy_percent": spent.busy_percent,
        "others_percent": spent.others_percent,
    }


def _wrk(
    load: PlainLoad, plan: Plan, child: Child, connections: int, seconds: int
) -> wrk.WrkResult:
    for _ in range(_TRIES):
        found = wrk.run(
            child.port,
            key=load.key,
            path=load.path,
            body=load.body,
            connections=connections,
            seconds=seconds,
            core=plan.cores.load,
        )
        if found.requests or found.broken:
            break  # else neighbours starved wrk for the whole time
    wanted = 0 if load.status == OK else found.requests
    if not found.requests or found.broken or found.refused != wanted:
        raise BenchFailureError(
            f"{found.requests} answers, {found.refused} of them 4xx or 5xx, "
            f"{found.broken} broken or over 5 s:\n{child.last_words()}"
        )
    return found


def _streams(step: Step, load: StreamLoad, plan: Plan, child: Child) -> dict[str, Measure]:
    status, answer = post(
        child.port, load.path, stream_body(load.few, operation=load.operation), headers()
    )
    wrong = (
        framing.problems(answer, WORD * load.few, operation=load.operation)
        if status == OK
        else [str(answer[:300])]
    )
    if wrong:
        raise BenchFailureError(f"a stream came back wrong (status {status}): {'; '.join(wrong)}")
    measures: dict[str, Measure] = {}
    if step.target != "direct":
        plan.say(f"{step.name}: {CONNECTIONS} streams, {load.few} and {load.many} chunks each")
        _stream_load(load, plan, child, CONNECTIONS, _WARM_UP_SECONDS, load.few)
        measures |= summed_up([_stream_sample(load, plan, child) for _ in range(plan.repeats)])
        measures |= _memory(child)
    plan.say(f"{step.name}: one stream of one chunk at a time")
    alone = [
        _stream_load(load, plan, child, 1, plan.seconds_alone, chunks=1)
        for _ in range(plan.repeats)
    ]
    return measures | summed_up(
        [
            {
                "alone_first_chunk_p50_ms": found["first_chunk_p50"] * 1e3,
                "alone_first_chunk_p99_ms": found["first_chunk_p99"] * 1e3,
            }
            for found in alone
        ]
    )


def _stream_sample(load: StreamLoad, plan: Plan, child: Child) -> Sample:
    """Both lengths once. CPU a stream = fixed + chunks x slope, so two lengths give both."""
    with procfs.metered(child.pid, plan.cores.test) as few_cost:
        few = _stream_load(load, plan, child, CONNECTIONS, plan.seconds, load.few)
    few_spent = few_cost()
    with procfs.metered(child.pid, plan.cores.test) as many_cost:
        many = _stream_load(load, plan, child, CONNECTIONS, plan.seconds, load.many)
    many_spent = many_cost()
    short = few_spent.mine / few["streams"] * 1e6
    long = many_spent.mine / many["streams"] * 1e6
    slope = (long - short) / (load.many - load.few)
    return {
        "streams_per_s": many["streams"] / many["seconds"],
        "chunks_per_s": many["chunks"] / many["seconds"],
        "cpu_chunk_us": long / load.many,
        "cpu_chunk_slope_us": slope,
        "cpu_stream_fixed_us": short - slope * load.few,
        "first_chunk_p50_ms": many["first_chunk_p50"] * 1e3,
        "first_chunk_p99_ms": many["first_chunk_p99"] * 1e3,
        "busy_percent": many_spent.busy_percent,
        "others_percent": many_spent.others_percent,
    }


def _stream_load(
    load: StreamLoad, plan: Plan, child: Child, connections: int, seconds: int, chunks: int
) -> dict[str, float]:
    argv = [sys.executable, "-m", "bench.stream_load", "--port", str(child.port)]
    argv += ["--connections", str(connections), "--seconds", str(seconds)]
    argv += ["--chunks", str(chunks), "--operation", load.operation]
    with on_core(plan.cores.load):
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, check=False
        )
    if done.returncode:
        raise BenchFailureError(f"the stream load failed: {done.stderr[-500:]}")
    found: dict[str, float] = json.loads(done.stdout)
    problems = found.pop("problems")
    if problems or not found["streams"]:
        raise BenchFailureError(f"streams failed: {problems}\n{child.last_words()}")
    return found


def _memory(child: Child) -> dict[str, Measure]:
    """The largest worker; the supervisor above it, if there is one, is not counted."""
    largest = max(procfs.workers(child.pid), key=lambda memory: memory.rss)
    return {"rss_mib": single(largest.rss), "pss_mib": single(largest.pss)}
