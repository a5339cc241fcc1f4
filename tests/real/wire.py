"""One request over loopback, and what came back: bytes, JSON or events."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.real.servers import Endpoint

SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[str]:
        """The data of every server-sent event, comments left out."""
        lines = self.body.decode("utf-8").replace("\r\n", "\n").split("\n")
        return [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]


def ask(
    endpoint: Endpoint,
    body: Mapping[str, Any],
    *,
    path: str = "/completions",
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    model: bool = True,
) -> Answer:
    """POST a body with the endpoint's key, and its model unless the body names one."""
    sent = {**(headers or {}), "authorization": f"Bearer {endpoint.key if key is None else key}"}
    asked = {"model": endpoint.model, **body} if model else body
    with httpx.Client(timeout=SECONDS, trust_env=False) as client:
        got = client.post(endpoint.base + path, json=asked, headers=sent)
    return Answer(got.status_code, got.headers, got.content)
