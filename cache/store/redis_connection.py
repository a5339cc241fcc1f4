"""One pipelined connection to a Redis server: commands out, answers in the same order.

Ours and not redis-py's, because it is on every request: a script costs 5 us of CPU this way and 22
through redis-py's pipeline (64 in flight; alone 40 and 105). hiredis packs and parses. Source: the RESP protocol.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import hiredis

from app.concurrency.listening import listening_timeout
from cache.store.command import Pending
from cache.store.outages import outage_of, refusal_of

Answered = Callable[[Pending, Any], None]


class Address(NamedTuple):
    """Where a server listens and how to enter."""

    host: str = ""
    port: int = 6379
    path: str = ""
    tls: ssl.SSLContext | None = None
    username: str = ""
    password: str = ""
    database: int = 0

    @property
    def where(self) -> str:
        """For a log: nothing of how to enter."""
        return self.path or f"{self.host}:{self.port}"

    def greeting(self) -> list[tuple[Any, ...]]:
        """The commands to send before any other."""
        commands: list[tuple[Any, ...]] = []
        if self.password:
            commands.append(("AUTH", *([self.username] if self.username else []), self.password))
        if self.database:
            commands.append(("SELECT", self.database))
        return [*commands, ("PING",)]  # a server that is full says so to the first command


class Wire(asyncio.Protocol):
    """A connection. ``answered`` gets each answer (an exception for an error), ``lost`` the end."""

    def __init__(self, answered: Answered, lost: Callable[[Wire], None]) -> None:
        self._answered = answered
        self._lost = lost
        self._reader = hiredis.Reader(replyError=hiredis.ReplyError)
        self._transport: asyncio.Transport | None = None
        self._greeting: deque[asyncio.Future[Any]] = deque()
        self.unanswered: deque[Pending] = deque()

    async def greet(self, address: Address) -> None:
        """Enter. Raises Outage where the server refuses, OSError where it does not answer."""
        loop = asyncio.get_running_loop()
        commands = address.greeting()
        answers = [loop.create_future() for _ in commands]
        self._greeting.extend(answers)
        self._write(b"".join(hiredis.pack_command(command) for command in commands))
        came = await asyncio.gather(*answers, return_exceptions=True)
        for command, answer in zip(commands, came, strict=True):
            if isinstance(answer, hiredis.ReplyError):
                raise refusal_of(command[0], answer, address.where)
            if isinstance(answer, BaseException):
                raise answer

    def send(self, batch: Sequence[Pending]) -> None:
        """Everything in one write."""
        self.unanswered.extend(batch)
        self._write(b"".join([hiredis.pack_command(pending.args) for pending in batch]))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        reader.feed(data)
        try:
            while (answer := reader.gets()) is not False:
                if self._greeting:
                    self._greet_answered(answer)
                else:
                    self._answered(self.unanswered.popleft(), answer)
        except (hiredis.ProtocolError, IndexError):
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        for future in self._greeting:
            if not future.done():
                future.set_exception(ConnectionError("the store closed the connection"))
        self._lost(self)

    def _greet_answered(self, answer: Any) -> None:
        waiting = self._greeting.popleft()
        if not waiting.done():  # by who no longer waits to enter
            waiting.set_result(answer)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def open_wire(
    address: Address, answered: Answered, lost: Callable[[Wire], None], *, within: float
) -> Wire:
    """A connection that has entered. Raises Outage, also where it takes longer than ``within``."""
    try:
        async with listening_timeout(within):
            made = await _connect(address, answered, lost)
            try:
                await made.greet(address)
            except BaseException:
                made.close()
                raise
    except (OSError, ValueError) as error:
        raise outage_of(error, address.where) from error
    return made


async def _connect(address: Address, answered: Answered, lost: Callable[[Wire], None]) -> Wire:
    loop = asyncio.get_running_loop()

    def wire() -> Wire:
        return Wire(answered, lost)

    if address.path:
        _, made = await loop.create_unix_connection(wire, address.path)
    else:
        name = address.host if address.tls is not None else None
        _, made = await loop.create_connection(
            wire, address.host, address.port, ssl=address.tls, server_hostname=name
        )
    return made
