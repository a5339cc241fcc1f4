"""Several gateways that share one Redis, and the callers of a module of tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness.configuration import PRICE, openai, target
from tests.harness.gateway import Gateway, free_port
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream

IDS = list(range(1, 11))  # a prompt of exactly ten tokens
SHORT = {"model": "sim", "prompt": IDS, "max_tokens": 10}  # exactly twenty tokens


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


def kill(gateway: Gateway) -> None:
    """SIGKILL, to the process and its workers: no goodbye."""
    process = gateway._process
    assert process is not None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    process.wait()


@contextmanager
def midway(gateway: Gateway, caller: Caller, **fields: Any) -> Iterator[None]:
    """A stream of `up` that is read as far as its fifth word, and left at the exit."""
    body = SHORT | {"model": "up", "stream": True} | fields
    headers = {"authorization": f"Bearer {caller.secret}"}
    with gateway.client.stream(
        "POST", gateway.url + "/v1/completions", json=body, headers=headers
    ) as response:
        lines = response.iter_lines()
        for _ in range(9):
            next(lines)
        yield


def ask(gateway: Gateway, caller: Caller, **fields: Any) -> Reply:
    """A short request, changed by ``fields``."""
    return gateway.send(SHORT | fields, caller.secret)
