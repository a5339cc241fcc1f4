"""Hand-made ASGI: one request through one layer, and what came out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from app.core.asgi import json_messages
from app.core.exchange import Exchange
from tests.harness.chain import KEY


class Run:
    """One request through a layer: what the layer sent, took, and let through."""

    def __init__(
        self, headers: list[tuple[bytes, bytes]], messages: list[Any], **scope: Any
    ) -> None:
        self.messages = list(messages)
        self.taken = 0
        self.sent: list[Any] = []
        self.inner = 0
        self.exchange = Exchange("id-1", dict(headers), 0.0)
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "http_version": "1.1",
            "path": "/",
            "raw_path": b"/",
            "client": ("127.0.0.1", "40000"),
            "headers": headers,
            "state": {"exchange": self.exchange, "key": KEY},
        } | scope

    async def receive(self) -> Any:
        if self.taken == len(self.messages):
            await asyncio.Event().wait()  # nothing more ever comes
        self.taken += 1
        return self.messages[self.taken - 1]

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """What stands behind the layer."""
        self.inner += 1
        for message in json_messages(200, b"{}"):
            await send(message)

    def through(self, build: Callable[[Any], Any], app: Any = None) -> Run:
        layer = build(app or self.app)
        asyncio.run(asyncio.wait_for(layer(self.scope, self.receive, self.send), 10))
        return self

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def error(self) -> dict[str, Any]:
        body = b"".join(message["body"] for message in self.sent[1:])
        error: dict[str, Any] = orjson.loads(body)["error"]
        return error


@pytest.fixture
def run() -> Callable[..., Run]:
    def make(
        headers: list[tuple[bytes, bytes]] | None = None,
        messages: list[Any] | None = None,
        **scope: Any,
    ) -> Run:
        return Run(headers or [], messages or [], **scope)

    return make
