"""Log lines: structlog's processors, and a writer that never holds up the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
import structlog

FLUSH_SECONDS = 0.05
MAX_BUFFERED_BYTES = 4 << 20

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LineWriter:
    """Collects lines and writes them together, off the loop; bounded, what is too much is counted.

    Without a running loop a line is written at once.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self.dropped = 0  # since the start; the other is what the log has not been told
        self._writing = False

    def msg(self, line: bytes | str) -> None:
        data = line if isinstance(line, bytes) else line.encode(errors="replace")
        if self._size + len(data) > MAX_BUFFERED_BYTES:
            self._dropped += 1
            self.dropped += 1
            return
        self._lines.append(data)
        self._size += len(data) + 1
        if self._writing:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._writing = True
        loop.call_later(FLUSH_SECONDS, self._write_aside, loop)

    debug = info = warning = error = critical = log = msg

    def flush(self) -> None:
        """Write everything now, in the calling thread."""
        data = self._take()
        if data:
            self._write(data)

    def _write_aside(self, loop: asyncio.AbstractEventLoop) -> None:
        done = loop.run_in_executor(None, self._write, self._take())
        done.add_done_callback(lambda _: self._written(loop))

    def _written(self, loop: asyncio.AbstractEventLoop) -> None:
        self._writing = False
        if self._lines and not loop.is_closed():
            self._writing = True
            loop.call_later(FLUSH_SECONDS, self._write_aside, loop)

    def _take(self) -> bytes:
        if self._dropped:
            self._lines.append(b'{"event":"log_lines_dropped","count":%d}' % self._dropped)
            self._dropped = 0
        lines, self._lines, self._size = self._lines, [], 0
        return b"\n".join(lines) + b"\n" if lines else b""

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            return  # nobody reads our output any more; there is nowhere to say so


def dropped_lines() -> int:
    """Lines that this process could not write fast enough, since it was started."""
    factory = structlog.get_config().get("logger_factory")
    writer = factory() if factory is not None else None
    return writer.dropped if isinstance(writer, LineWriter) else 0


def configure(form: Literal["auto", "json", "console"], level: str) -> LineWriter:
    """Set structlog up for this process; returns the writer, to be flushed at the end."""
    writer = LineWriter(sys.stdout.fileno())
    console = form == "console" or (form == "auto" and sys.stdout.isatty())
    processors: list[structlog.typing.Processor] = [json_line]
    if console:
        processors = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_empty,
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), sort_keys=False),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING)
    return writer


def request_log(level: Literal["debug", "info"] = "info") -> Callable[[dict[str, Any]], None]:
    """What takes the line of each request: structlog, or where it would only hand the line on, the
    writer itself (4 us less, on every request)."""
    config = structlog.get_config()
    logger = structlog.get_logger("headgate")
    if config["processors"] != [json_line]:
        return lambda facts: logger.log(LEVELS[level], "request", **facts)
    if not logger.is_enabled_for(LEVELS[level]):
        return _no_line
    writer = config["logger_factory"]()

    def line(facts: dict[str, Any]) -> None:
        facts["event"] = "request"
        writer.msg(json_line(None, level, facts))

    return line


def probe_log() -> Callable[[dict[str, Any]], None]:
    """What takes the line of a health check or a scrape: balancers ask all day long, so one that was
    answered well is of interest to those who debug only."""
    well, badly = request_log("debug"), request_log()

    def line(facts: dict[str, Any]) -> None:
        (badly if facts["status"] >= 400 else well)(facts)

    return line


def _no_line(_: dict[str, Any]) -> None:
    """What a level above info makes of a request's line."""


def json_line(_: Any, level: str, event: MutableMapping[str, Any]) -> bytes:
    """One event as a line of JSON; a single step, because it is on every request."""
    if "exc_info" in event:
        structlog.processors.format_exc_info(None, level, event)
    line = {"time": datetime.now(UTC), "level": level, **event}
    return orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z)


def _without_empty(_: Any, __: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """People reading a console want what happened, not what did not."""
    return {name: value for name, value in event.items() if value is not None}
