"""What other workers say to this one: a connection of its own that listens to one channel.

Apart from the store's connection, because a server that pushes messages answers nothing else there.
A lost connection loses messages; whoever counts on them numbers them and has a time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import hiredis

from app.concurrency.listening import listening_timeout
from cache.store.redis_connection import Address

RETRY_SECONDS = 0.25
ENTER_SECONDS = 1.0
PING_SECONDS = 5.0


class Mailbox:
    """Listens to ``channel`` on the server that ``find`` gives, again and again."""

    def __init__(
        self,
        find: Callable[[], Awaitable[Address]],
        channel: str,
        received: Callable[[bytes], None],
    ) -> None:
        self._find = find
        self._channel = channel
        self._received = received
        self.open = False

    async def keep_listening(self) -> None:
        """Listen while this task runs."""
        while True:
            with suppress(OSError, ValueError, TimeoutError):
                await self._listen()
            self.open = False
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        line = _Line(self._channel, self._received)
        loop = asyncio.get_running_loop()
        try:
            async with listening_timeout(ENTER_SECONDS):
                address = await self._find()
                if address.path:
                    await loop.create_unix_connection(lambda: line, address.path)
                else:
                    name = address.host if address.tls is not None else None
                    await loop.create_connection(
                        lambda: line,
                        address.host,
                        address.port,
                        ssl=address.tls,
                        server_hostname=name,
                    )
                for command in address.greeting():
                    line.send(*command)
                line.send("SUBSCRIBE", self._channel)
                await line.subscribed.wait()
            self.open = True
            while not line.lost.is_set():
                line.heard = False
                with suppress(TimeoutError):
                    async with listening_timeout(PING_SECONDS):
                        await line.lost.wait()
                if not line.heard and not line.pinged:
                    line.pinged = True
                    line.send("PING")
                elif not line.heard:
                    return  # silent for two rounds: nobody is there
                else:
                    line.pinged = False
        finally:
            self.open = False
            line.close()


class _Line(asyncio.Protocol):
    def __init__(self, channel: str, received: Callable[[bytes], None]) -> None:
        self._channel = channel.encode()
        self._received = received
        self._reader = hiredis.Reader(replyError=hiredis.ReplyError)
        self._transport: asyncio.Transport | None = None
        self.subscribed = asyncio.Event()
        self.lost = asyncio.Event()
        self.heard = False
        self.pinged = False

    def send(self, *command: Any) -> None:
        if self._transport is not None:
            self._transport.write(hiredis.pack_command(command))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._reader.feed(data)
        try:
            while (item := self._reader.gets()) is not False:
                self._take(item)
        except hiredis.ProtocolError:
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self.lost.set()
        self.subscribed.set()

    def _take(self, item: Any) -> None:
        if isinstance(item, hiredis.ReplyError):
            self.close()  # it did not let us in
        elif isinstance(item, list) and len(item) == 3 and item[1] == self._channel:
            if item[0] == b"message":
                self._received(item[2])
            elif item[0] == b"subscribe":
                self.subscribed.set()
