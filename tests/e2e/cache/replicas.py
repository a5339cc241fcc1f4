"""Replicas that share a store: their workers, and what stands about their flights in the store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import redis

from tests.harness.configuration import PRICE, openai, target
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE, eventually

LEASE = 3.0  # seconds within which a flight is gone at the latest, and a look's length

RICH = "hg-rich-0123456789abcdef"
RICHER = "hg-richer-0123456789abcdef"
POOR = "hg-poor-0123456789abcdef"
FOLLOWING = "hg-following-0123456789abcdef"
LEADING = "hg-leading-0123456789abcdef"


def configuration(url: str, upstream: Upstream, workers: int, **store: Any) -> dict[str, Any]:
    """All models ask for `up`; they differ in who may share."""

    def cached(**cache: Any) -> dict[str, Any]:
        return target("main", "up", price=PRICE, cache=cache)

    tokens = {"tokens_per_minute": 6_000, "token_burst": 60_000}
    return {
        "server": {"workers": workers, "shutdown_grace": "2s"},
        "log": {"format": "json"},
        "store": {"url": url, **store},
        "providers": {"main": openai(upstream.base_url)},
        "models": {
            "shared": cached(),
            "all": cached(coalesce="all"),
            "off": cached(coalesce="off"),
        },
        "limits": {"tokens": tokens},
        "budgets": {
            "nothing": {"usd": 0.000001, "per": "month"},
            "much": {"usd": 1000, "per": "month"},
        },
        "tenants": {"acme": {}},
        "keys": [
            {"id": "rich", "tenant": "acme", "secret": RICH},
            {"id": "richer", "tenant": "acme", "secret": RICHER},
            {"id": "poor", "tenant": "acme", "secret": POOR, "budget": "nothing"},
            *(
                {"id": name, "tenant": "acme", "secret": secret}
                | {"budget": "much", "limits": "tokens"}
                for name, secret in (("following", FOLLOWING), ("leading", LEADING))
            ),
        ],
    }


@contextmanager
def replicas(
    url: str, upstream: Upstream, count: int = 2, workers: int = 2, **store: Any
) -> Iterator[list[Gateway]]:
    """Gateways that share a store, with all their workers up; none may leak anything private."""
    settings = configuration(url, upstream, workers, **store)
    secrets = [key["secret"] for key in settings["keys"]]
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(Gateway(settings, [*secrets, upstream.address]))
            for _ in range(count)
        ]
        yield gateways


def workers_of(gateway: Gateway) -> list[int]:
    """The process ids of its workers: those of its children that listen."""
    assert gateway._process is not None
    parent = gateway._process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"tracker" not in _command(pid)]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b"tracker"


class Shared:
    """What stands in the store about flights, read without the gateway's code."""

    def __init__(self, server: RedisServer) -> None:
        self.url = f"{server.url}/0"
        self.redis = redis.Redis(port=server.port, decode_responses=True, socket_timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.redis.close()

    @property
    def flights(self) -> list[str]:
        """Who leads right now, as ``<pid>-<hex>.<n>``."""
        keys = list(self.redis.scan_iter("hg1:*:flight:*", count=1000))
        return [str(value) for key in keys if (value := self.redis.get(key))]

    @property
    def leader(self) -> int:
        """The process that leads the only flight there is."""
        [flight] = self.flights
        return int(flight.partition("-")[0])

    @property
    def mailboxes(self) -> int:
        return len(self.redis.pubsub_channels("hg1:mail:*"))

    def all_listen(self, workers: int) -> None:
        """Wait until so many workers hear from the others, and as many as that only."""
        eventually(lambda: self.mailboxes, workers)


def quiet(gateways: Sequence[Gateway]) -> None:
    """Wait until the workers have nothing more to do: who could join has joined."""
    pids = [pid for gateway in gateways for pid in workers_of(gateway)]
    end = time.monotonic() + PATIENCE
    before = ticks(pids)
    while time.monotonic() < end:
        time.sleep(0.1)  # the length of the look at the workers' clocks
        now = ticks(pids)
        if now - before <= 2:
            return
        before = now
    raise AssertionError("the workers are not quiet")


def ticks(pids: Iterable[int]) -> int:
    """Hundredths of a second that processes have computed for."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def descriptors(pid: int, upstream: Upstream) -> int:
    """How many files and sockets a process has open, kept connections to the upstream apart."""
    there = f":{upstream.port:04X}"
    pooled = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[2].endswith(there)
    }
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = str(link.readlink())
        except FileNotFoundError:
            continue
        count += name.removeprefix("socket:[").removesuffix("]") not in pooled
    return count


def all_well(gateways: list[Gateway], shared: Shared) -> None:
    """Wait until all workers are ready, and hear from each other."""
    shared.all_listen(2 * len(gateways))
    # Several times each: a worker that was started anew must say so too.
    eventually(lambda: {g.get("/health/ready", None).status for g in gateways * 8}, {200})
