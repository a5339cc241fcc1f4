"""A gateway with a management listener, and operators who use its admin API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from app.core.keys import digest_of
from tests.harness.configuration import PRICE, target
from tests.harness.gateway import Gateway, free_port
from tests.harness.waiting import PATIENCE

OPS = "hg-ops-0123456789abcdef"  # may do everything
READER = "hg-reader-0123456789abcdef"  # may only look
TENANT_OPS = "hg-globex-ops-0123456789abcdef"  # of one tenant
CALLER = "hg-filed-0123456789abcdef"  # a caller's key in the file


def operator(name: str, secret: str, *scopes: str, **more: Any) -> dict[str, Any]:
    digest = digest_of(secret).hex()
    return {"id": name, "secret_sha256": digest, "scopes": list(scopes)} | more


ADMIN = {
    "keys": [
        operator("ops", OPS, "*"),
        operator("reader", READER, "keys:read", "audit:read"),
        operator("globex-ops", TENANT_OPS, "keys:*", "tenants:*", "budgets:*", tenants=["globex"]),
    ]
}


def configuration(url: str, workers: int = 1) -> dict[str, Any]:
    """Callers and policies of the file, beside which others are made at run time."""
    return {
        "server": {
            "workers": workers,
            "shutdown_grace": "5s",
            "shutdown_delay": "0s",
            "bad_keys_per_minute": 100_000,
            "management": {"port": free_port()},
        },
        "log": {"format": "json"},
        "store": {"url": url, "timeout": "500ms"},  # the machine may be busy with other tests
        "providers": {
            "sim": {"kind": "simulator"},
            "slow": {"kind": "simulator", "tokens_per_second": 12},
        },
        "models": {
            "sim": target("sim", "simulator-1", price=PRICE),
            "other": target("sim", "simulator-2", price=PRICE),
            "slow": target("slow", "simulator-1", price=PRICE),
        },
        "limits": {"slow": {"requests_per_minute": 2}},
        "budgets": {"small": {"usd": 1, "per": "month"}},
        "tenants": {"acme": {}, "globex": {}},
        "keys": [{"id": "filed", "tenant": "acme", "secret": CALLER}],
        "admin": ADMIN,
    }


class Operator:
    """Somebody with an admin key, or with none, before one gateway's management listener."""

    def __init__(self, gateway: Gateway, secret: str | None) -> None:
        self.gateway = gateway
        port = gateway.configuration["server"]["management"]["port"]
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=PATIENCE
        )

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request to the admin API; ``if_match`` is the header ``if-match``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._client.request(method, f"/admin/v1{path}", json=body, headers=named)

    def get(self, path: str) -> Any:
        """What stands at a path that must be there."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self) -> None:
        self._client.close()


@contextmanager
def operators(gateway: Gateway, *secrets: str | None) -> Iterator[list[Operator]]:
    """Those who have these keys."""
    found = [Operator(gateway, secret) for secret in secrets]
    try:
        yield found
    finally:
        for one in found:
            one.close()


def code(answer: httpx.Response) -> tuple[int, str]:
    """The status and the code of a refusal."""
    return answer.status_code, answer.json()["error"]["code"]
