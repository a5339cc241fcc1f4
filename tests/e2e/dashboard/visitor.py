"""Somebody with a browser before the management listener; without the browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.e2e.admin.operators import configuration
from tests.harness.configuration import PRICE, target
from tests.harness.gateway import Gateway
from tests.harness.waiting import PATIENCE

HOSTILE = '<img src=x onerror="window.hit=1">'  # an alias that must stay a text


def watched(url: str = "memory://", workers: int = 1) -> dict[str, Any]:
    """A configuration with everything that the dashboard shows."""
    made = configuration(url, workers)
    made["admin"] = {"keys": list(made["admin"]["keys"])}  # others are added to ours alone
    made["models"]["sim"]["cache"] = {}
    made["models"][HOSTILE] = target("sim", "simulator-1", price=PRICE)
    made["limits"]["plenty"] = {"requests_per_minute": 6000, "concurrent": 50}
    made["budgets"]["house"] = {"usd": 100, "per": "month"}
    made["tenants"]["acme"] = {"budget": "house"}
    capabilities = ["completions", "chat"]
    made["keys"][0] |= {"limits": "plenty", "budget": "small", "capabilities": capabilities}
    return made


class Visitor:
    """A browser's requests, as far as a server sees them: cookie, origin, token."""

    def __init__(self, gateway: Gateway) -> None:
        port = gateway.configuration["server"]["management"]["port"]
        self.origin = f"http://127.0.0.1:{port}"
        self.token = ""
        self.cookie = ""
        self._client = httpx.Client(base_url=self.origin, trust_env=False, timeout=PATIENCE)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """A request of our own page."""
        said = {"origin": self.origin, "x-headgate-token": self.token} | (headers or {})
        if self.cookie:
            said["cookie"] = self.cookie
        named = {name: value for name, value in said.items() if value}
        return self._client.request(method, path, json=body, headers=named)

    def sign_in(self, **given: str) -> httpx.Response:
        """With a ``key`` or a ``link``; what follows is then signed in."""
        answer = self.ask("POST", "/dashboard/session", given)
        if answer.status_code == 200:
            self.token = answer.json()["token"]
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return answer

    def get(self, path: str) -> Any:
        """What stands at a path of the admin API."""
        answer = self.ask("GET", f"/admin/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tail(self) -> Any:
        """The stream of requests; a context manager."""
        path = "/admin/v1/requests/tail"
        return self._client.stream("GET", path, headers={"cookie": self.cookie})

    def close(self) -> None:
        self._client.close()


@contextmanager
def visitor(gateway: Gateway, **given: str) -> Iterator[Visitor]:
    """One who has signed in with what is given, if anything is."""
    one = Visitor(gateway)
    try:
        if given:
            assert one.sign_in(**given).status_code == 200
        yield one
    finally:
        one.close()
