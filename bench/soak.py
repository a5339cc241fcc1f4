"""`python -m bench.soak`: a thousand streams at once, then floods; what becomes of the others?

The streams: three full rounds, then one in which half of the clients go away mid-stream. It checks
that every stream completes and is framed as the contract says, that the clients' going reaches the
upstream, and that memory and descriptors come back. Each flood is a few seconds of one kind of
harm from one address of loopback, while a neighbour at another asks on; its latency, in quiet and
under the flood, the worker's memory and its descriptors have bounds. At last two of three upstreams flap for two
minutes. All of it takes about four minutes. Prints facts; exits 1 if one of them is wrong.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import gateway, procfs
from bench.failure import BenchFailureError
from bench.floods import play as floods
from bench.processes import Child, Cores, free_port, get, ready, running, stop_on_signals
from bench.soak_round import Found, Round, play
from bench.verdict import Verdict, detail

_STREAMS = "streams"
_ROUNDS = 3
_ROUND_GRACE_SECONDS = 15.0  # over the length of a stream, before a round is given up
_QUIET_SECONDS = 1.0  # between the last byte of a round and a look at memory
_LEAVING_SECONDS = 2.0  # clients gone -> the upstream must have seen all of it
_IDLE_SECONDS = 30.0  # all clients gone -> descriptors must be back
_UPSTREAM_KEEP_ALIVE_SECONDS = 5  # the mock closes idle connections, the gateway must notice
_MEMORY_SHARE = 0.10
_MEMORY_MIB = 8.0
_SPARE_FILES = 8  # kept-alive connections and the like that may stay


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running, and how much of it is asked; a round may take `seconds`."""

    gateway: Child
    upstream: Child
    core: int
    streams: int
    chunks: int
    seconds: float


def soak(stage: Stage, verdict: Verdict) -> None:
    """All rounds and all checks."""
    port = stage.gateway.port
    warm = _play(Round(port, 1, 3, stage.seconds))
    verdict.fact(not warm.problems, f"one stream to warm up{_why(warm.problems)}")
    files = procfs.open_files(stage.gateway.pid)
    memory = [_full_round(stage, number, verdict) for number in range(1, _ROUNDS + 1)]
    allowed = max(memory[0] * (1 + _MEMORY_SHARE), memory[0] + _MEMORY_MIB)
    verdict.fact(
        memory[-1] <= allowed,
        f"memory: {memory[-1]:.0f} MiB after round {_ROUNDS}, {memory[0]:.0f} after round 1 "
        f"(up to {allowed:.0f}: +{_MEMORY_SHARE:.0%} or +{_MEMORY_MIB:.0f} MiB)",
    )
    _leaving_round(stage, verdict)
    _idle(stage, files, verdict)
    verdict.fact(stage.gateway.process.poll() is None, "the gateway still runs")


def _full_round(stage: Stage, number: int, verdict: Verdict) -> float:
    """One round; returns the worker's RSS in MiB afterwards."""
    with procfs.metered(stage.gateway.pid, stage.core) as cost:
        found = _play(Round(stage.gateway.port, stage.streams, stage.chunks, stage.seconds))
    spent = cost()
    verdict.fact(
        not found.problems and found.complete == stage.streams,
        f"round {number}: {found.complete:,} of {stage.streams:,} streams complete and well "
        f"framed, {found.chunks / found.seconds:,.0f} chunks/s, first chunk p50 "
        f"{found.first_p50 * 1e3:.1f} ms, p99 {found.first_p99 * 1e3:.1f} ms"
        f"{_why(found.problems)}",
    )
    time.sleep(_QUIET_SECONDS)
    rss = max(memory.rss for memory in procfs.workers(stage.gateway.pid))
    detail(
        f"CPU {spent.mine / max(1, found.chunks) * 1e6:.0f} us a chunk; its core was "
        f"{spent.busy_percent:.0f} % busy with it, {spent.others_percent:.0f} % "
        "with others"
    )
    detail(
        f"worker {rss:.0f} MiB, {procfs.open_files(stage.gateway.pid)} descriptors, "
        f"upstream {_counts(stage.upstream)}"
    )
    return rss


def _leaving_round(stage: Stage, verdict: Verdict) -> None:
    before = _counts(stage.upstream)["aborted"]
    leaving = stage.streams // 2
    port, upstream_port = stage.gateway.port, stage.upstream.port
    found = _play(Round(port, stage.streams, stage.chunks, stage.seconds, leaving, upstream_port))
    aborted = _counts(stage.upstream)["aborted"] - before
    seen = "never all" if found.noticed is None else f"{found.noticed * 1e3:.0f} ms after"
    verdict.fact(
        aborted == leaving and found.noticed is not None and found.noticed < _LEAVING_SECONDS,
        f"{leaving:,} clients went away mid-stream; the upstream saw {aborted:,} of them go, "
        f"the last {seen} they went (up to {_LEAVING_SECONDS:.0f} s)",
    )
    staying = stage.streams - leaving
    verdict.fact(
        not found.problems and found.complete == staying,
        f"the other {staying:,}: {found.complete:,} complete{_why(found.problems)}",
    )


def _idle(stage: Stage, files: int, verdict: Verdict) -> None:
    """Waits for descriptors and upstream connections to come back."""
    began = time.monotonic()
    now = procfs.open_files(stage.gateway.pid)
    while now > files + _SPARE_FILES and time.monotonic() < began + _IDLE_SECONDS:
        time.sleep(0.25)
        now = procfs.open_files(stage.gateway.pid)
    verdict.fact(
        now <= files + _SPARE_FILES,
        f"descriptors: {now} after {time.monotonic() - began:.0f} s idle, {files} before "
        f"(up to {files + _SPARE_FILES})",
    )
    counts = _counts(stage.upstream)
    verdict.fact(
        counts["live"] == 0,
        f"the upstream has {counts['live']} live streams and {counts['connections'] - 1} "
        "connections left",  # less the one that asks
    )


def _play(plan: Round) -> Found:
    return uvloop.run(play(plan))


def _counts(upstream: Child) -> dict[str, int]:
    found: dict[str, int] = json.loads(get(upstream.port, "/control")[1])
    return found


def _why(problems: dict[str, int]) -> str:
    return f"; problems: {problems}" if problems else ""


def main() -> int:
    """Soaks and floods, each with a mock and a gateway of its own; 0 when every fact is right."""
    args = _arguments()
    stop_on_signals()
    cores = Cores.pick()
    verdict = Verdict()
    try:
        _allow_files(max(2 * args.streams + 200, floods.FILES))
        if _STREAMS in args.only:
            _soak(args, cores, verdict)
        floods.play([name for name in args.only if name != _STREAMS], cores, verdict)
    except (BenchFailureError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; everything that was started has been ended", file=sys.stderr)
        return 130
    print(f"{verdict.failed} wrong" if verdict.failed else "all right")
    return 1 if verdict.failed else 0


def _soak(args: argparse.Namespace, cores: Cores, verdict: Verdict) -> None:
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        upstream_port, port = free_port(), free_port()
        mock = [sys.executable, "-m", "bench.stream_upstream", "--port", str(upstream_port)]
        mock += ["--delay-ms", str(args.delay_ms)]
        mock += ["--keep-alive", str(_UPSTREAM_KEEP_ALIVE_SECONDS)]
        room = {
            "server": {"max_connections": 2 * args.streams + 128},
            "providers": {"mock": {"max_connections": 2 * args.streams + 128}},
        }
        serve = gateway.command(folder / "gateway", port, upstream_port, room)
        with (
            running("upstream", mock, port=upstream_port, core=cores.load, folder=folder) as up,
            running("headgate", serve, port=port, core=cores.test, folder=folder) as child,
        ):
            ready(up, "/control")
            ready(child, "/health/ready")
            seconds = args.chunks * args.delay_ms / 1e3 + _ROUND_GRACE_SECONDS
            soak(Stage(child, up, cores.test, args.streams, args.chunks, seconds), verdict)
            if verdict.failed:
                print(f"the end of the gateway's log:\n{child.last_words()}")


def _allow_files(needed: int) -> None:
    """Raises this process's limit of open files, which its children inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchFailureError(f"{needed} open files are needed, the limit is {hard}: ulimit -Hn")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--streams", type=int, default=1000, help="at once (default 1000)")
    parser.add_argument("--chunks", type=int, default=50, help="a stream (default 50)")
    parser.add_argument("--delay-ms", type=float, default=100, help="between chunks (default 100)")
    parts = [_STREAMS, *floods.FLOODS]
    parser.add_argument(
        "--only", nargs="+", choices=parts, default=parts, metavar="PART",
        help=f"some of it: {', '.join(parts)}",
    )  # fmt: skip
    args = parser.parse_args()
    if args.streams < 2 or args.chunks < 10:
        parser.error("--streams is at least 2, --chunks at least 10")
    return args


if __name__ == "__main__":
    sys.exit(main())
