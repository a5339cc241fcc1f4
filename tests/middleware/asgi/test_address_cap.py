"""How many requests of one address run at once, behind a proxy that says whose they are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.connections.client_address import TrustedProxies
from middleware.asgi.address_cap import AddressCap

PROXIES = TrustedProxies(["127.0.0.0/8"])


def cap(counts: dict[str, int], most: int = 2) -> Any:
    return lambda app: AddressCap(app, proxies=PROXIES, most=most, counts=counts)


def from_address(address: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", address)]


def test_a_request_is_counted_while_it_runs_and_no_longer(run: Any) -> None:
    counts: dict[str, int] = {}
    seen: list[dict[str, int]] = []
    made = run(from_address(b"192.0.2.7"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(counts))
        await made.app(scope, receive, send)

    assert made.through(cap(counts), app).status == 200
    assert (seen, counts) == ([{"192.0.2.7": 1}], {})


def test_one_too_many_is_refused_and_told_when_to_come_back(run: Any) -> None:
    counts = {"192.0.2.7": 2}
    refused = run(from_address(b"192.0.2.7")).through(cap(counts))
    assert (refused.status, refused.inner) == (429, 0)
    assert refused.error["code"] == "too_many_connections"
    assert int(refused.headers[b"retry-after"]) >= 1
    assert counts == {"192.0.2.7": 2}


def test_a_refusal_is_recorded_and_what_runs_is_left_to_others(run: Any) -> None:
    recorded: list[Any] = []

    def layer(app: Any) -> Any:
        counts = {"192.0.2.7": 2}
        return AddressCap(app, proxies=PROXIES, most=2, counts=counts, recorded=recorded.append)

    run(from_address(b"192.0.2.8")).through(layer)
    assert recorded == []
    refused = run(from_address(b"192.0.2.7")).through(layer)
    assert recorded == [refused.exchange]
    assert refused.exchange.outcome.error_code == "too_many_connections"


def test_another_address_is_not_held_back(run: Any) -> None:
    assert run(from_address(b"192.0.2.8")).through(cap({"192.0.2.7": 2})).status == 200


def test_what_a_caller_writes_before_the_proxy_does_not_help_it(run: Any) -> None:
    made = run(from_address(b"198.51.100.1, 192.0.2.7"))
    assert made.through(cap({"192.0.2.7": 2})).status == 429


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        (("203.0.113.9", "40000"), from_address(b"192.0.2.7")),  # speaks for itself
        (("127.0.0.1", "40000"), []),  # the proxy's own, as a health check is
    ],
)
def test_nobody_else_is_counted(
    run: Any, client: tuple[str, str], headers: list[tuple[bytes, bytes]]
) -> None:
    counts = {"192.0.2.7": 2, "203.0.113.9": 2, "127.0.0.1": 2}
    assert run(headers, client=client).through(cap(counts)).status == 200


@pytest.mark.parametrize("error", [RuntimeError("crash"), asyncio.CancelledError()])
def test_a_request_that_fails_is_no_longer_counted(run: Any, error: BaseException) -> None:
    counts: dict[str, int] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    with pytest.raises(type(error)):
        run(from_address(b"192.0.2.7")).through(cap(counts), app)
    assert counts == {}
