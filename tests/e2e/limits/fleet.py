"""Several gateways that share one Redis, and what stands in that Redis, read from outside."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import redis

from tests.e2e.wire.conftest import openai, target
from tests.harness.gateway import Gateway, free_port
from tests.harness.upstream import PATIENCE, Upstream

EPOCH = 1_767_225_600  # 2026-01-01 UTC, from which the store's microseconds count

PRICE = {"input_per_million": 1000, "output_per_million": 1000}
TOKEN = 1_000_000  # nano-dollars a token costs at that price
DOLLAR = 10**9

IDS = list(range(1, 11))  # a prompt of exactly ten tokens


class Caller(NamedTuple):
    """A key of the configuration."""

    id: str
    tenant: str
    secret: str


class Plans:
    """The callers of a test module; each policy is written where its caller is declared."""

    def __init__(self) -> None:
        self._limits: dict[str, Any] = {}
        self._budgets: dict[str, Any] = {}
        self._tenants: dict[str, Any] = {}
        self._keys: list[dict[str, Any]] = []

    def tenant(
        self,
        name: str,
        limits: dict[str, Any] | None = None,
        budget: dict[str, Any] | None = None,
        models: dict[str, dict[str, Any]] | None = None,
    ) -> str:
        self._tenants[name] = self._named(f"tenant-{name}", limits, budget)
        if models:
            self._tenants[name]["models"] = {
                alias: self._named(f"model-{name}-{alias}", **policies)
                for alias, policies in models.items()
            }
        return name

    def caller(
        self,
        name: str,
        limits: dict[str, Any] | None = None,
        budget: dict[str, Any] | None = None,
        tenant: str | None = None,
        expires: str | None = None,
    ) -> Caller:
        """A key; in a tenant of its own unless one is named."""
        caller = Caller(name, tenant or name, f"hg-{name}-0123456789abcdef")
        if caller.tenant not in self._tenants:
            self.tenant(caller.tenant)
        self._keys.append(
            {"id": name, "tenant": caller.tenant, "secret": caller.secret}
            | self._named(f"key-{name}", limits, budget)
            | ({"expires": expires} if expires else {})
        )
        return caller

    def configuration(
        self, url: str, upstream: Upstream | None = None, workers: int = 1, **store: Any
    ) -> dict[str, Any]:
        here = upstream.base_url if upstream else "http://127.0.0.1:1/v1"
        return {
            "server": {"workers": workers, "shutdown_grace": "5s", "shutdown_delay": "0s"},
            "log": {"format": "json"},
            "store": {"url": url, **store},
            "providers": {
                "sim": {"kind": "simulator"},
                "slow-sim": {"kind": "simulator", "latency": "300ms"},
                "up": openai(here),
                "nobody": openai(f"http://127.0.0.1:{free_port()}/v1"),
            },
            "models": {
                "sim": target("sim", "simulator-1", price=PRICE),
                "slow-sim": target("slow-sim", "simulator-1", price=PRICE),
                "up": target("up", "up", price=PRICE),
                "other": target("sim", "simulator-2", price=PRICE),
                "nobody": target("nobody", "nobody", price=PRICE),
            },
            "limits": self._limits,
            "budgets": self._budgets,
            "tenants": self._tenants,
            "keys": self._keys,
        }

    @property
    def secrets(self) -> list[str]:
        return [key["secret"] for key in self._keys]

    def _named(
        self,
        name: str,
        limits: dict[str, Any] | None = None,
        budget: dict[str, Any] | None = None,
    ) -> dict[str, str]:
        names = {}
        if limits is not None:
            self._limits[name] = limits
            names["limits"] = name
        if budget is not None:
            self._budgets[name] = {"per": "month"} | budget
            names["budget"] = name
        return names


@contextmanager
def fleet(
    plans: Plans,
    port: int,
    count: int,
    upstream: Upstream | None = None,
    environments: Sequence[Mapping[str, str]] = (),
    **settings: Any,
) -> Iterator[list[Gateway]]:
    """``count`` gateways on the Redis at ``port``. None may leak a secret.

    The store's address stands in no answer either; the log names it in an outage. ``environments``
    holds environment variables for each, where they get any.
    """
    url = f"redis://127.0.0.1:{port}/0"
    configuration = plans.configuration(url, upstream, **settings)
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(
                Gateway(configuration, plans.secrets, [f"127.0.0.1:{port}"], environment)
            )
            for environment in environments or [{}] * count
        ]
        yield gateways
    assert [leak for gateway in gateways for leak in gateway.leaks] == []


def kill(gateway: Gateway) -> None:
    """SIGKILL, to the process and its workers: no goodbye."""
    process = gateway._process
    assert process is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    process.wait()


def eventually(found: Callable[[], Any], expected: Any, within: float = PATIENCE) -> None:
    """Wait until ``found()`` is what is expected."""
    end = time.monotonic() + within
    value = found()
    while value != expected and time.monotonic() < end:
        time.sleep(0.02)  # polling for an event, with a deadline
        value = found()
    assert value == expected, f"{value!r} where {expected!r} was expected"


class Account(NamedTuple):
    """A budget's state, in nano-dollars."""

    spent: int
    held: int


class Books:
    """What the store holds, read without the gateway's code."""

    def __init__(self, port: int) -> None:
        self.redis = redis.Redis(port=port, decode_responses=True, socket_timeout=PATIENCE)

    def close(self) -> None:
        self.redis.close()

    def account(self, tenant: str, scope: str) -> Account:
        """The account of a scope whose budget is per month."""
        month = time.strftime("%Y-%m", time.gmtime())
        fields = self.redis.hgetall(f"hg1:{{{tenant}}}:account:{scope}:{month}")
        return Account(int(fields.get("spent", 0)), int(fields.get("held", 0)))

    def records(self, tenant: str) -> list[dict[str, Any]]:
        entries = self.redis.xrange(f"hg1:{{{tenant}}}:records")
        kept = [json.loads(fields["r"]) for _, fields in entries]  # each holds one or several
        return [r for entry in kept for r in (entry if isinstance(entry, list) else [entry])]

    def wait_for_records(self, tenant: str, count: int) -> list[dict[str, Any]]:
        """Exactly so many, once they are written."""
        eventually(lambda: len(self.records(tenant)), count)
        return self.records(tenant)

    def tokens_taken(self, tenant: str, scope: str, per_minute: int) -> int:
        """What is missing from a bucket of tokens now."""
        full_at = self.redis.get(f"hg1:{{{tenant}}}:bucket:{scope}:tokens")
        seconds, micros = self.redis.time()
        now = (seconds - EPOCH) * 1_000_000 + micros
        return max(0, math.ceil((float(full_at or 0) - now) * per_minute / 60_000_000 - 1e-9))

    def slots_taken(self, tenant: str, scope: str) -> int:
        return self.redis.zcard(f"hg1:{{{tenant}}}:slots:{scope}")

    @property
    def replicas(self) -> int:
        """Those whose sign of life has not run out."""
        return self.redis.zcount("hg1:replicas", time.time(), "+inf")

    def beats(self) -> dict[str, float]:
        """Each replica's latest sign of life."""
        return dict(self.redis.zrange("hg1:replicas", 0, -1, withscores=True))


def spent_of(records: list[dict[str, Any]]) -> int:
    return sum(record["cost"] or 0 for record in records)
