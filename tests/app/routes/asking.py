"""One request to a route, without a socket and without the layers around it."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from app.core.asgi import ASGIApp
from app.core.exchange import Exchange
from app.core.keys import Key
from tests.harness.chain import KEY


class Answered(NamedTuple):
    """What a route answered."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    error_code: str | None

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)


async def ask(
    app: ASGIApp, *pieces: bytes, key: Key = KEY, path: str = "/", query: bytes = b"", **scope: Any
) -> Answered:
    """Send a request whose body comes in these pieces; what a route raises is raised."""
    exchange = Exchange("id-1", {}, 0.0)
    exchange.key = key
    last = len(pieces) - 1
    messages = [
        {"type": "http.request", "body": piece, "more_body": place < last}
        for place, piece in enumerate(pieces)
    ] or [{"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    where = {"path": path, "raw_path": path.encode(), "query_string": query}
    whole = {"state": {"exchange": exchange, "key": key}} | where | scope
    await app(whole, receive, send)
    body = b"".join(message["body"] for message in sent[1:])
    return Answered(sent[0]["status"], dict(sent[0]["headers"]), body, exchange.outcome.error_code)
