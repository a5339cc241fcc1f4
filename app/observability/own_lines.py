"""What the processes say for themselves, beside the log: to people as text, and where the log's format
is `json` as JSON too, so that whoever collects the output never meets another kind of line."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from app.observability.logs import json_line

Say = Callable[[str], None]

_JSON = {"()": "app.observability.own_lines.JsonFormatter"}


def sayer(form: str) -> Say:
    """What writes one line to stderr."""
    return _say_json if form == "json" else _say


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _say_json(line: str) -> None:
    level = "warning" if line.startswith("warning: ") else "info"
    _say(json_line(None, level, {"event": "gateway", "message": line}).decode())


class JsonFormatter(logging.Formatter):
    """A record of Python's logging as one line like all others."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {"event": record.name, "message": record.getMessage()}
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json_line(None, record.levelname.lower(), said).decode()


def server_logging(form: str) -> dict[str, Any] | None:
    """How the HTTP server below us logs; None for its own way."""
    if form != "json":
        return None
    return {"formatters": {"generic": _JSON, "access": _JSON}}


def take_over(form: str) -> Say:
    """Have what Python itself says, and what nobody caught, written as everything else is; what writes
    lines of ours. Holds for this process and for those that it forks."""
    if form != "json":
        return sayer(form)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    log = logging.getLogger("headgate")

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.critical("uncaught", exc_info=(kind, error, trace))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            uncaught(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    return sayer(form)
