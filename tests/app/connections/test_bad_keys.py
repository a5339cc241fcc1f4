"""What is known of callers that guess keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.connections import bad_keys as module
from app.connections.bad_keys import MAX_ADDRESSES, BadKeys
from app.connections.client_address import TrustedProxies
from app.core.exchange import Exchange

NOBODY = TrustedProxies(())


def failing(bad_keys: BadKeys, times: int, peer: str = "192.0.2.1") -> Any:
    async def fail() -> None:
        for _ in range(times):
            await bad_keys.slow(Exchange("id", {}, 0.0), peer)

    return fail()


def test_what_is_not_logged_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_SECONDS", 0.0)

    async def body() -> None:
        bad_keys = BadKeys(NOBODY, 2)
        await failing(bad_keys, 5)
        await failing(bad_keys, 3, "192.0.2.2")
        bad_keys._tell()

    with capture_logs() as lines:
        asyncio.run(asyncio.wait_for(body(), 5))
    assert [(line["address"], line["count"]) for line in lines] == [
        ("192.0.2.1", 3),
        ("192.0.2.2", 1),
    ]


def test_the_addresses_known_are_bounded_and_the_latest_stay() -> None:
    async def body() -> BadKeys:
        bad_keys = BadKeys(NOBODY, 100)
        for number in range(MAX_ADDRESSES + 10):
            await failing(bad_keys, 1, str(number))
        return bad_keys

    addresses = asyncio.run(body())._addresses
    assert len(addresses) == MAX_ADDRESSES
    assert str(MAX_ADDRESSES + 9) in addresses
    assert "0" not in addresses


def test_so_many_wait_at_once_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DELAYED", 1)

    async def body() -> list[Any]:
        bad_keys = BadKeys(NOBODY, 1)
        await failing(bad_keys, 1)
        exchanges = [Exchange("id", {}, 0.0) for _ in range(3)]
        return await asyncio.gather(*(bad_keys.slow(one, "192.0.2.1") for one in exchanges))

    told = [error and (error.status, error.code) for error in asyncio.run(body())]
    assert told == [None, (429, "too_many_bad_keys"), (429, "too_many_bad_keys")]
