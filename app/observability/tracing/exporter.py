"""Spans on their way to a collector: a bounded queue, and posts from a thread of their own.

OTLP over HTTP with JSON, written here: the SDK and its exporter are sixteen packages for what is one
document and one POST.
Source: OTLP specification 1.x, "OTLP/HTTP": what may be sent again is 429, 502, 503, 504.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog

from app.observability.tracing.spans import Span, export_of

MOST_WAITING = 4_096  # spans
BATCH = 512
EVERY_SECONDS = 1.0
POST_SECONDS = 5.0
TRIES = 5
PAUSE_SECONDS = 1.0  # before the second try; twice as long before each further one
QUIET_SECONDS = 60.0
END_SECONDS = 3.0
_AGAIN = frozenset({429, 502, 503, 504})


class NotExported(Exception):
    """The collector did not take a batch; ``again`` says whether it may later."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


class Exporter:
    """Sends spans to the collector at ``url``; what is too much is dropped and counted."""

    def __init__(self, url: str, headers: Mapping[str, str], resource: Mapping[str, Any]) -> None:
        self._url = urlsplit(url)
        self._headers = {"content-type": "application/json", "user-agent": "headgate", **headers}
        self._resource = resource
        self._waiting: deque[Span] = deque()
        self._full = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spans")
        self._told = float("-inf")
        self.counts = {"exported": 0, "dropped": 0, "failed": 0}

    def add(self, spans: Iterable[Span]) -> None:
        """Take the spans of a finished request."""
        for span in spans:
            if len(self._waiting) >= MOST_WAITING:
                self.counts["dropped"] += 1
            else:
                self._waiting.append(span)
        if len(self._waiting) >= BATCH:
            self._full.set()

    async def keep_exporting(self) -> None:
        """Send what has come in, again and again, while this task runs."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._full.wait()
            self._full.clear()
            while self._waiting:
                await self._export(TRIES)

    async def aclose(self) -> None:
        """Send what is left, once, within a bound."""
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                while self._waiting:
                    await self._export(1)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _export(self, tries: int) -> None:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        pause = PAUSE_SECONDS
        for left in reversed(range(tries)):
            try:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, self._post, batch)
            except NotExported as error:
                self._say(error)
                if not error.again or not left:
                    break
            else:
                self.counts["exported"] += len(batch)
                return
            await asyncio.sleep(pause)
            pause *= 2
        self.counts["failed"] += len(batch)

    def _post(self, batch: list[Span]) -> None:
        """Runs in the thread. Raises NotExported."""
        body = orjson.dumps(export_of(self._resource, batch))
        connection = self._connection()
        try:
            connection.request("POST", self._url.path, body, self._headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise NotExported(_reason(error), again=True) from None
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise NotExported(f"status {status}", again=status in _AGAIN)

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=POST_SECONDS, context=context)
        return http.client.HTTPConnection(host, port, timeout=POST_SECONDS)

    def _say(self, error: NotExported) -> None:
        """Once a minute: where to, and why not."""
        if monotonic() - self._told >= QUIET_SECONDS:
            self._told = monotonic()
            structlog.get_logger("headgate").warning(
                "spans_not_exported", collector=self._url.netloc, reason=str(error)
            )


def _reason(error: Exception) -> str:
    """In the words of the system, without what was sent."""
    said = error.strerror if isinstance(error, OSError) else None
    return said or type(error).__name__
