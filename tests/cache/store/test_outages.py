"""Why a store cannot be asked: the word for the health page, and the sentence for the log."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cache.store import redis_store
from cache.store.base import CommandRefused, Store, StoreFull, StoreUnavailable, UnknownCommand
from cache.store.opening import open_store
from cache.store.outages import REASONS, Outage, outage_of
from cache.store.redis_urls import where_is
from cache.store.refusals import meaning_of
from tests.cache.stores import ADD, on, script_of, server_of, until
from tests.harness.gateway import free_port
from tests.harness.redis_server import RedisServer

PASSWORD = "a-secret-password"


def why(url: str) -> tuple[str | None, str]:
    """The reason and the detail with which a store's breaker opens."""

    async def body(store: Store) -> tuple[str | None, str]:
        await until(lambda: store.breaker.open)
        return store.breaker.reason, store.breaker.detail

    return on(url, body, 0.5)


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A server that asks for a password."""
    with server_of("7") as server:
        server.cli("CONFIG", "SET", "requirepass", "sesame")
        yield server


def test_a_port_where_nobody_listens_refuses() -> None:
    port = free_port()
    assert why(f"redis://:{PASSWORD}@127.0.0.1:{port}") == (
        "refused",
        f"127.0.0.1:{port}: connection refused",
    )


def test_a_name_that_nobody_knows_is_a_matter_of_dns() -> None:
    reason, detail = why(f"redis://:{PASSWORD}@no-such-host.invalid:6379")
    assert reason == "dns"
    assert detail.startswith("no-such-host.invalid:6379: the host's name cannot be resolved")
    assert PASSWORD not in detail


@pytest.mark.parametrize("words", [f":{PASSWORD}@", f"somebody:{PASSWORD}@", ""])
def test_a_wrong_password_is_said_and_never_shown(guarded: RedisServer, words: str) -> None:
    reason, detail = why(f"redis://{words}127.0.0.1:{guarded.port}")
    assert reason == "auth"
    assert detail.startswith(f"127.0.0.1:{guarded.port}: ")
    assert PASSWORD not in detail


def test_a_password_that_nobody_asked_for_is_wrong_too() -> None:
    with server_of("7") as server:
        assert why(f"redis://:{PASSWORD}@127.0.0.1:{server.port}")[0] == "auth"


def test_a_database_that_is_not_there_is_refused() -> None:
    with server_of("7") as server:
        reason, detail = why(f"redis://127.0.0.1:{server.port}/1000")
    assert reason == "refused"
    assert "no such database" in detail


def test_a_server_without_room_refuses() -> None:
    with (
        server_of("7", ("--maxclients", "1")) as server,
        socket.create_connection(("127.0.0.1", server.port)) as other,
    ):
        other.sendall(b"PING\r\n")
        other.recv(7)  # the one place is taken
        reason, detail = why(f"redis://:{PASSWORD}@127.0.0.1:{server.port}")
    assert reason == "refused"
    assert "no room for another client" in detail


def test_a_server_that_does_not_speak_tls_is_a_matter_of_tls() -> None:
    # Somebody who answers a greeting in plain words, as a Redis without TLS may.
    async def run() -> tuple[str | None, str]:
        async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"-ERR plain words\r\n" * 10)
            await writer.drain()
            writer.close()

        listener = await asyncio.start_server(plain, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        store = open_store(f"rediss://:{PASSWORD}@127.0.0.1:{port}", 0.5)
        store.start()
        await until(lambda: store.breaker.open)
        reason, detail = store.breaker.reason, store.breaker.detail
        await store.aclose()
        listener.close()
        await listener.wait_closed()
        return reason, detail

    reason, detail = asyncio.run(run())
    assert reason == "tls"
    assert "no secure connection" in detail


def test_a_server_that_does_not_greet_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr("cache.store.redis_urls.CONNECT_SECONDS", 0.1)
    with server_of("7") as server:
        server.pause()
        assert why(server.url) == ("slow", f"127.0.0.1:{server.port}: no answer while connecting")
        server.resume()


def test_a_socket_that_is_not_there_is_unreachable() -> None:
    assert why("unix:///no/such/redis.sock") == (
        "unreachable",
        "/no/such/redis.sock: No such file or directory",
    )


def test_sentinels_that_are_not_there_are_unreachable() -> None:
    reason, detail = why(f"redis+sentinel://:{PASSWORD}@127.0.0.1:1/main")
    assert reason == "unreachable"
    assert detail.startswith("main of 127.0.0.1:1: ")
    assert PASSWORD not in detail


def test_a_connection_that_ends_is_told_with_its_address() -> None:
    with server_of("7") as server:

        async def body(store: Store) -> tuple[str | None, str]:
            await store.command("PING")
            server.kill()
            await until(lambda: store.breaker.open)
            return store.breaker.reason, store.breaker.detail

        assert on(server.url, body) == (
            "unreachable",
            f"127.0.0.1:{server.port}: the connection was closed",
        )


def test_what_goes_on_in_an_outage_is_known_beside_its_first_reason() -> None:
    with server_of("7") as server:

        async def body(store: Store) -> tuple[str | None, tuple[str, str]]:
            await store.command("PING")
            server.kill()
            await until(lambda: store.breaker.latest[0] == "refused")
            return store.breaker.reason, store.breaker.latest

        reason, latest = on(server.url, body)
        assert reason == "unreachable"
        assert latest == ("refused", f"127.0.0.1:{server.port}: connection refused")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "refused"),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), "
                "[Errno 111] Connect call failed ('127.0.0.1', 1)"
            ),
            "refused",
        ),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 113] No route"),
            "unreachable",
        ),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable"),
        (TimeoutError(), "slow"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "dns"),
        (UnicodeError("label too long"), "dns"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "unreachable"),
        (ValueError("whatever"), "unreachable"),
        (Outage("auth", "as it was"), "auth"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_every_error_has_one_of_the_words(error: Exception, reason: str) -> None:
    assert outage_of(error, "here").reason == reason
    assert reason in REASONS


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://u:secret@h:7/1", "h:7"),
        ("rediss://:secret@h", "h:6379"),
        ("unix://:secret@/run/redis.sock", "/run/redis.sock"),
        ("redis+sentinel://u:secret@a:1,b/main", "main of a:1,b:26379"),
        ("redis+cluster://u:secret@h:7", "h:7"),
    ],
)
def test_an_address_is_told_without_how_to_enter(url: str, where: str) -> None:
    assert where_is(url) == where


# What a server's errors mean.


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreFull, "OOM"),
        ("READONLY You can't write against a read only replica.", StoreUnavailable, "READONLY"),
        (
            "ERR unknown command 'VSIM', with args beginning with: 'secret prompt'",
            UnknownCommand,
            "ERR unknown command 'VSIM'",
        ),
        ("unknown command 'vsim'", UnknownCommand, "unknown command 'vsim'"),
        (
            "ERR Unknown Redis command called from script script: abc, on @user_script:1.",
            UnknownCommand,
            "ERR Unknown Redis command called from script script: abc, on @user_script:1.",
        ),
        ("ERR value is not an integer", CommandRefused, "ERR value is not an integer"),
        ("WRONGTYPE Operation against a key", CommandRefused, "WRONGTYPE Operation against a key"),
    ],
)
def test_an_error_is_told_by_its_words(text: str, kind: type[Exception], said: str) -> None:
    found = meaning_of(Exception(text))
    assert type(found) is kind
    assert str(found) == said


def test_every_store_tells_its_errors_by_type(url: str) -> None:
    async def body(store: Store) -> list[type[BaseException]]:
        await store.command("SET", "text", "x")
        asked: list[Any] = [
            store.command("NOSUCHCOMMAND", "argument"),
            store.run(script_of("return redis.call('NOSUCHCOMMAND')"), [], []),
            store.command("INCR", "text"),
            store.run(script_of(ADD), ["text"], [1]),
        ]
        return [type(a) for a in await asyncio.gather(*asked, return_exceptions=True)]

    unknown, refused = UnknownCommand, CommandRefused
    assert on(url, body) == [unknown, unknown, refused, refused]
