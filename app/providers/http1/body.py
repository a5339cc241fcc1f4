"""A response body as it arrives: the buffer between one socket and one reader."""

from __future__ import annotations

import asyncio
from typing import Protocol

import httpx

# Bytes waiting for the reader above which the socket is no longer read.
MAX_BUFFERED = 65536


class Source(Protocol):
    """The connection, as its reader sees it."""

    def expect_bytes(self) -> None:
        """Start the idle clock: the reader now waits."""

    def resume_reading(self) -> None:
        """Read the socket again: the reader has caught up."""

    def abort(self) -> None:
        """Close the socket at once, throwing away what is in flight."""


class ResponseBody(httpx.AsyncByteStream):
    """The body of one response, for one reader; iterate it, or `read()` the whole, then `aclose()`.

    Chunks come as the network gave them; those that arrived while the reader was away come as one.
    What ended the body early is raised after the bytes that came before it. Closing early, or
    being cancelled while waiting, aborts the connection at once.
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_loop",
        "_source",
        "_waiter",
        "answered",
        "buffered",
        "complete",
        "paused",
    )

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # None once the connection is no longer ours.
        self._source: Source | None = source
        self._chunks: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.buffered = 0
        self.paused = False
        self.answered = False
        self.complete = False

    # The reader's side.

    async def head(self) -> None:
        """Wait until the response head is in, or raise what came instead."""
        while not self.answered:
            if self._error is not None:
                raise self._error
            await self._wait()

    def __aiter__(self) -> ResponseBody:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.complete:
                raise StopAsyncIteration
            if self._source is not None:
                self._source.expect_bytes()
            self._waiter = waiter = self._loop.create_future()
            try:
                await waiter
            except BaseException:
                self.close()
                raise
            finally:
                self._waiter = None
        return self._take()

    async def read(self) -> bytes:
        """The rest of the body; its size is bounded by the exchange's `max_body_bytes`."""
        if self.complete and self._error is None:
            return self._take()
        return b"".join([chunk async for chunk in self])

    async def aclose(self) -> None:
        """Be done with the body; one that is not complete costs its connection."""
        self.close()

    def close(self) -> None:
        """`aclose`, which has nothing to wait for."""
        source, self._source = self._source, None
        if source is not None:
            source.abort()
        if self._error is None and (self._chunks or not self.complete):
            self._error = httpx.StreamClosed()
        self._chunks.clear()
        self.buffered = 0
        self.wake()

    def _take(self) -> bytes:
        chunks = self._chunks
        chunk = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.buffered = 0
        if self.paused:
            self.paused = False
            if self._source is not None:
                self._source.resume_reading()
        return chunk

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._waiter = None

    # The connection's side.

    def push(self, chunk: bytes) -> None:
        """Hand on `chunk`; `buffered` says how far the reader is behind."""
        self._chunks.append(chunk)
        self.buffered += len(chunk)

    def wake(self) -> None:
        """Let the reader look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def finish(self) -> None:
        """The body is whole, and the connection somebody else's."""
        self._source = None
        self.paused = False
        self.answered = self.complete = True
        self.wake()

    def fail(self, error: Exception) -> None:
        """The exchange is over, by `error`."""
        self._source = None
        self._error = error
        self.wake()
