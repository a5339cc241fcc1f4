"""Which addresses may be connected to, and how often names are looked up."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import pytest

from app.providers.http1 import resolver as http1_resolve
from app.providers.http1.resolver import Resolver, allow_address


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "224.0.0.1",
        "ff02::1",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
    ],
)
def test_metadata_multicast_and_nowhere_are_refused(address: str) -> None:
    assert not allow_address(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.8", "192.168.1.1", "fd12::1", "1.1.1.1", "2606:4700::1"]
)
def test_loopback_private_and_public_are_allowed(address: str) -> None:
    assert allow_address(address)


class CountingLoop:
    """Answers getaddrinfo of the running loop from a list, counting the questions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str | Exception) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)
        self.gate: asyncio.Event | None = None
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", self._getaddrinfo, raising=False)

    async def _getaddrinfo(self, host: str, port: object, **rest: object) -> list[Any]:
        self.asked.append(host)
        if self.gate is not None:
            await self.gate.wait()
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 0))]


def test_a_name_is_looked_up_once_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = CountingLoop(monkeypatch, "10.0.0.1")
        resolver = Resolver(ttl=60)
        for _ in range(3):
            assert await resolver.resolve("a.example") == ("10.0.0.1",)
        assert loop.asked == ["a.example"]

    asyncio.run(main())


def test_a_name_is_looked_up_again_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        CountingLoop(monkeypatch, "10.0.0.1", "10.0.0.2")
        resolver = Resolver(ttl=0)
        assert await resolver.resolve("a.example") == ("10.0.0.1",)
        assert await resolver.resolve("a.example") == ("10.0.0.2",)

    asyncio.run(main())


def test_many_asking_at_once_share_one_lookup_and_one_may_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        loop = CountingLoop(monkeypatch, "10.0.0.1")
        loop.gate = asyncio.Event()
        resolver = Resolver(ttl=60)
        tasks = [asyncio.ensure_future(resolver.resolve("a.example")) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(0)
        loop.gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found[1:] == [("10.0.0.1",)] * 4
        assert isinstance(found[0], asyncio.CancelledError)
        assert loop.asked == ["a.example"]

    asyncio.run(main())


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
def test_a_failed_lookup_is_a_connect_error_and_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def main() -> None:
        CountingLoop(monkeypatch, error, "10.0.0.1")
        resolver = Resolver(ttl=60)
        with pytest.raises(httpx.ConnectError):
            await resolver.resolve("a.example")
        assert await resolver.resolve("a.example") == ("10.0.0.1",)

    asyncio.run(main())


def test_a_literal_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = CountingLoop(monkeypatch)
        assert await Resolver(ttl=60).resolve("::1") == ("::1",)
        assert loop.asked == []

    asyncio.run(main())


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = CountingLoop(monkeypatch, "10.0.0.1")
        monkeypatch.setattr(http1_resolve, "_MAX_CACHED_HOSTS", 2)
        resolver = Resolver(ttl=60)
        for host in ("a", "b", "c", "c", "a"):
            await resolver.resolve(host)
        assert loop.asked == ["a", "b", "c", "a"]

    asyncio.run(main())
