"""A worker hears what others say to it, and hears again after whatever cut it off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cache.store import subscriber as mailboxes
from cache.store.embedded import EmbeddedStore
from cache.store.opening import open_store
from cache.store.redis_connection import Address
from cache.store.redis_urls import finder_for
from cache.store.subscriber import Mailbox
from tests.cache.stores import server_of, until
from tests.harness.redis_server import RedisServer

CHANNEL = "hg1:mail:w"


@asynccontextmanager
async def listening(
    url: str, find: Callable[[], Awaitable[Address]] | None = None
) -> AsyncIterator[tuple[Mailbox, list[bytes]]]:
    """A mailbox at work, and what came in."""
    came: list[bytes] = []
    mailbox = Mailbox(find or finder_for(url), CHANNEL, came.append)
    task = asyncio.create_task(mailbox.keep_listening())
    try:
        yield mailbox, came
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def reached(server: RedisServer, text: str) -> bool:
    """Whether anybody hears it."""
    said = await asyncio.to_thread(server.cli, "PUBLISH", CHANNEL, text)
    return said == "1"


def test_what_is_said_comes_in_order(server: RedisServer) -> None:
    async def body() -> list[bytes]:
        async with listening(server.url) as (mailbox, came):
            await until(lambda: mailbox.open)
            for number in range(100):
                await reached(server, str(number))
            await until(lambda: len(came) == 100)
            return came

    assert asyncio.run(body()) == [b"%d" % number for number in range(100)]


def test_what_one_store_publishes_comes_in_order(server: RedisServer) -> None:
    async def body() -> list[bytes]:
        store = open_store(server.url, 2.0)
        store.start()
        async with listening(server.url) as (mailbox, came):
            await until(lambda: mailbox.open)
            for number in range(200):
                store.publish(CHANNEL, b"%d" % number)
                if number == 100:
                    await asyncio.to_thread(server.cli, "SCRIPT", "FLUSH")
            await until(lambda: len(came) == 200)
        await store.aclose()
        return came

    assert asyncio.run(body()) == [b"%d" % number for number in range(200)]


def test_the_embedded_store_publishes_in_order_too() -> None:
    async def body() -> list[bytes]:
        store = EmbeddedStore()
        heard = store._redis.pubsub(ignore_subscribe_messages=True)
        heard.subscribe(CHANNEL)
        heard.get_message()
        for number in range(10):
            store.publish(CHANNEL, b"%d" % number)
        came = [heard.get_message()["data"] for _ in range(10)]
        heard.close()
        await store.aclose()
        return came

    assert asyncio.run(body()) == [b"%d" % number for number in range(10)]


def test_publishing_to_a_store_that_is_gone_harms_nobody(server: RedisServer) -> None:
    server.kill()

    async def body() -> bool:
        store = open_store(server.url, 0.05)
        store.start()
        store.publish(CHANNEL, b"lost")
        await until(lambda: store.breaker.open)
        store.publish(CHANNEL, b"lost")
        await store.aclose()
        return True

    assert asyncio.run(body())


@pytest.mark.parametrize(
    "message",
    [b"", bytes(range(256)), b"\r\n$5\r\n", b"x" * (4 << 20)],
    ids=["empty", "every-byte", "like-a-command", "large"],
)
def test_a_message_is_any_bytes(server: RedisServer, message: bytes) -> None:
    async def body() -> list[bytes]:
        store = open_store(server.url, 2.0)
        store.start()
        async with listening(server.url) as (mailbox, came):
            await until(lambda: mailbox.open)
            store.publish(CHANNEL, message)
            await until(lambda: bool(came))
        await store.aclose()
        return came

    assert asyncio.run(body()) == [message]


def test_what_is_said_to_others_does_not_come(server: RedisServer) -> None:
    async def body() -> list[bytes]:
        async with listening(server.url) as (mailbox, came):
            await until(lambda: mailbox.open)
            await asyncio.to_thread(server.cli, "PUBLISH", CHANNEL + "x", "other")
            await reached(server, "mine")
            await until(lambda: bool(came))
            return came

    assert asyncio.run(body()) == [b"mine"]


def test_it_is_open_only_while_it_listens(server: RedisServer) -> None:
    async def body() -> list[bool]:
        async with listening(server.url) as (mailbox, _):
            seen = [mailbox.open]
            await until(lambda: mailbox.open)
            seen.append(await reached(server, "now"))
        return [*seen, mailbox.open]

    assert asyncio.run(body()) == [False, True, False]


def test_it_listens_again_after_the_server_closed_its_connection(server: RedisServer) -> None:
    async def body() -> list[bytes]:
        async with listening(server.url) as (mailbox, came):
            for number in range(3):
                await until(lambda: mailbox.open)
                await reached(server, str(number))
                await until(lambda: len(came) > number)  # noqa: B023 - awaited here
                await asyncio.to_thread(server.cli, "CLIENT", "KILL", "TYPE", "pubsub")
                await until(lambda: not mailbox.open)
            return came

    assert asyncio.run(body()) == [b"0", b"1", b"2"]


def test_it_listens_again_after_the_server_died(server: RedisServer) -> None:
    async def body() -> list[bytes]:
        async with listening(server.url) as (mailbox, came):
            await until(lambda: mailbox.open)
            server.kill()
            await until(lambda: not mailbox.open)
            await asyncio.to_thread(server.restart)
            await until(lambda: mailbox.open)
            await reached(server, "again")
            await until(lambda: bool(came))
            return came

    assert asyncio.run(body()) == [b"again"]


def test_it_waits_for_a_server_that_is_not_there_yet(server: RedisServer) -> None:
    server.kill()

    async def body() -> bool:
        asked = 0
        there = finder_for(server.url)

        async def find() -> Address:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise ConnectionError("no primary")
            return await there()

        async with listening(server.url, find) as (mailbox, _):
            await until(lambda: asked == 2)
            await asyncio.to_thread(server.restart)
            await until(lambda: mailbox.open)
            return await reached(server, "at last")

    assert asyncio.run(body())


def test_it_gives_up_a_server_that_says_nothing(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "PING_SECONDS", 0.1)
    monkeypatch.setattr(mailboxes, "ENTER_SECONDS", 0.2)

    async def body() -> bool:
        async with listening(server.url) as (mailbox, _):
            await until(lambda: mailbox.open)
            server.pause()
            await until(lambda: not mailbox.open)
            server.resume()
            await until(lambda: mailbox.open)
            return await reached(server, "again")

    assert asyncio.run(body())


def test_it_stays_with_a_server_that_has_nothing_to_say(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "PING_SECONDS", 0.05)

    async def pings() -> int:
        stats = await asyncio.to_thread(server.info, "commandstats")
        return int(stats.get("cmdstat_ping", "calls=0").split(",")[0].removeprefix("calls="))

    async def body() -> bool:
        async with listening(server.url) as (mailbox, _):
            await until(lambda: mailbox.open)
            began = await pings()

            async def several() -> bool:
                assert mailbox.open
                return await pings() >= began + 3

            await until(several)
            return await reached(server, "still here")

    assert asyncio.run(body())


def test_nothing_stays_behind_it(server: RedisServer) -> None:
    async def body() -> None:
        async with listening(server.url) as (mailbox, _):
            await until(lambda: mailbox.open)

        async def gone() -> bool:
            return not await asyncio.to_thread(server.cli, "CLIENT", "LIST", "TYPE", "pubsub")

        await until(gone)

    asyncio.run(body())


def _entering(server: RedisServer, words: str, tail: str = "") -> Any:
    return f"redis://{words}127.0.0.1:{server.port}{tail}"


@pytest.mark.parametrize(("words", "opens"), [(":secret@", True), (":wrong@", False), ("", False)])
def test_it_enters_with_the_password_only(words: str, opens: bool) -> None:
    with server_of("7") as server:
        server.cli("CONFIG", "SET", "requirepass", "secret")

        async def body() -> bool:
            tried = 0
            there = finder_for(_entering(server, words, "/3"))

            async def find() -> Address:
                nonlocal tried
                tried += 1
                return await there()

            async with listening("", find) as (mailbox, _):
                await until(lambda: mailbox.open or tried == 3)
                return mailbox.open

        assert asyncio.run(body()) == opens


def test_it_listens_at_a_socket_in_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with server_of("7", ("--unixsocket", str(path))) as server:

        async def body() -> bool:
            async with listening(f"unix://{path}") as (mailbox, _):
                await until(lambda: mailbox.open)
                return await reached(server, "here")

        assert asyncio.run(body())
