"""What open dashboards cost callers: ``python -m bench.pages``.

One worker before its simulator and Redis, asked by wrk for an answer that is in the cache, so that
nothing else takes time. Rounds without an open page and with ten of them take turns; each page asks
what a browser asks, as often, and follows the requests. The medians of all rounds are compared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.core.keys import digest_of
from app.routes.reports.requests import QUIET_SECONDS
from bench import gateway, procfs, redis_store, wrk
from bench.processes import HOST, Cores, free_port, ready, running, stop_on_signals
from bench.requests import KEY, MODEL

OPS = "hg-ops-of-the-bench-0123456789"
POLLS = (  # seconds between two looks, as the page's blocks take them
    ("/activity", 2),
    ("/usage?since=24h", 5),
    ("/cache?since=24h", 10),
    ("/usage?since=24h", 10),
    ("/accounts?limit=50", 5),
    ("/upstreams", 5),
    ("/replicas", 5),
    ("/errors?since=24h", 5),
)
PAGES = 10
IDLE_SECONDS = 10  # two of the slowest block's turns begin in it
PATH = "/v1/completions"
BODY = json.dumps({"model": MODEL, "prompt": "again", "max_tokens": 16, "temperature": 0}).encode()


@contextmanager
def opened(port: int, pages: int) -> Iterator[list[int]]:
    """So many pages are open; gives how often they asked, and the bytes that they followed."""
    over = threading.Event()
    asked = [0, 0]
    threads = [
        threading.Thread(target=work, args=(port, over, asked, number / max(pages, 1)))
        for number in range(pages)
        for work in (_poll, _follow)
    ]
    for one in threads:
        one.start()
    try:
        yield asked
    finally:
        over.set()
        for one in threads:
            one.join()


def _client(port: int) -> httpx.Client:
    headers = {"authorization": f"Bearer {OPS}"}
    base = f"http://{HOST}:{port}/admin/v1"
    return httpx.Client(base_url=base, headers=headers, timeout=QUIET_SECONDS + 10, trust_env=False)


def _poll(port: int, over: threading.Event, asked: list[int], shift: float) -> None:
    """One page's looks, each block in its own time."""
    due = [time.monotonic() + shift for _ in POLLS]
    with _client(port) as client:
        while not over.wait(0.05):
            for place, (path, seconds) in enumerate(POLLS):
                if time.monotonic() >= due[place]:
                    client.get(path).raise_for_status()
                    asked[0] += 1
                    due[place] += seconds


def _follow(port: int, over: threading.Event, asked: list[int], _: float) -> None:
    with _client(port) as client, client.stream("GET", "/requests/tail") as stream:
        for piece in stream.iter_raw():
            asked[1] += len(piece)
            if over.is_set():
                return


def measure(folder: Path, rounds: int, seconds: int, connections: int) -> str:
    cores = Cores.pick()
    port, management = free_port(), free_port()
    operator = {"id": "ops", "secret_sha256": digest_of(OPS).hex(), "scopes": ["*"]}
    with redis_store.store(folder, cores.load) as url:
        overlay = {
            "server": {"management": {"port": management}},
            "store": {"url": url, "timeout": "1s"},
            "providers": {
                "mock": {"kind": "openai", "base_url": f"http://{HOST}:1/v1"},
                "sim": {"kind": "simulator"},
            },
            "models": {MODEL: {"targets": [{"provider": "sim", "model": "sim"}], "cache": {}}},
            "admin": {"keys": [operator]},
        }
        argv = gateway.command(folder, port, 1, overlay)
        with running("gateway", argv, port=port, core=cores.test, folder=folder) as child:
            ready(child, "/health/ready")
            found: dict[int, list[wrk.WrkResult]] = {0: [], PAGES: []}
            idle = {pages: _cpu(child.pid, management, pages) for pages in (0, PAGES)}
            asked = followed = 0
            for pages in itertools.islice(itertools.cycle((0, PAGES)), 2 * rounds):
                with opened(management, pages) as counted:
                    time.sleep(1)
                    found[pages].append(
                        wrk.run(port, key=KEY, path=PATH, body=BODY, connections=connections,
                                seconds=seconds, core=cores.load)
                    )  # fmt: skip
                asked, followed = asked + counted[0], followed + counted[1]
    lines = [f"{rounds} rounds of {seconds} s, {connections} connection(s), answers from the cache"]
    for pages, results in found.items():
        lines.append(
            f"{pages:2} pages open: {_median(r.requests / r.seconds for r in results):7.0f} req/s, "
            f"p50 {_median(r.p50 for r in results):.3f} ms, p99 {_median(r.p99 for r in results):.3f} ms"
        )
    lines.append(
        f"CPU of the gateway with no caller: {idle[0]:.1f} % of a core without a page, "
        f"{idle[PAGES]:.1f} % with {PAGES}"
    )
    lines.append(f"the pages asked {asked} times and followed {followed / 1e6:.1f} MB of records")
    return "\n".join(lines)


def _cpu(root: int, management: int, pages: int) -> float:
    """Per cent of a core, while nobody calls."""
    with opened(management, pages):
        time.sleep(2)
        before = procfs.cpu_seconds(root)
        time.sleep(IDLE_SECONDS)
        return 100 * (procfs.cpu_seconds(root) - before) / IDLE_SECONDS


def _median(values: Iterator[float]) -> float:
    return statistics.median(list(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--connections", type=int, default=4)
    given = parser.parse_args()
    stop_on_signals()
    with tempfile.TemporaryDirectory(prefix="pages-") as folder:
        print(measure(Path(folder), given.rounds, given.seconds, given.connections))


if __name__ == "__main__":
    main()
