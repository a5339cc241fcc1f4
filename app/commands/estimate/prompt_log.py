"""A log of prompts: JSON, one request body a line, as `headgate cache estimate` reads it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from app.core.errors import InvalidRequest
from app.core.usage import Usage
from app.openai.completions.request import CompletionRequest, parse

MAX_LINE = 8 << 20  # bytes; a longer line is not read


class Logged(NamedTuple):
    """One request of the log. ``offset`` is where its line begins; ``time`` is in seconds."""

    offset: int
    request: CompletionRequest
    tenant: str
    usage: Usage | None
    time: float | None


class Unread(NamedTuple):
    """A line that is no request, and why."""

    number: int
    why: str


class PromptLog:
    """A file that is read once from its beginning, and again where a prompt is to be shown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size

    def lines(self) -> Iterator[Logged | Unread]:
        """Every line that is not empty. Raises OSError."""
        with self.path.open("rb") as file:
            number = offset = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE and not line.endswith(b"\n"):
                    offset += len(line) + _rest(file)
                    yield Unread(number, f"longer than {MAX_LINE >> 20} MiB")
                    continue
                if line.strip():
                    yield _logged(number, offset, line)
                offset += len(line)

    def text(self, offset: int) -> str:
        """The prompt, or the last message, of a line that was read."""
        with self.path.open("rb") as file:
            file.seek(offset)
            found = _logged(0, offset, file.readline(MAX_LINE + 1))
        if isinstance(found, Unread):
            return "(the log has changed)"
        request = found.request
        if request.messages is not None:
            content = request.messages[-1].get("content")
            return content if isinstance(content, str) else orjson.dumps(content).decode()
        prompt = request.prompts[0]
        return prompt if isinstance(prompt, str) else f"{len(prompt)} token ids"


def _rest(file: BinaryIO) -> int:
    """Skips to the end of a long line; how many bytes that was."""
    skipped = 0
    while piece := file.readline(MAX_LINE):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def _logged(number: int, offset: int, line: bytes) -> Logged | Unread:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Unread(number, f"no JSON: {error}")
    if not isinstance(document, dict):
        return Unread(number, "no object")
    body, around = document, {}
    for name in ("request", "body"):
        if isinstance(document.get(name), dict):
            body, around = document[name], document
            break
    try:
        request = parse(orjson.dumps(body))
    except InvalidRequest as error:
        return Unread(number, str(error))
    tenant = around.get("tenant")
    return Logged(
        offset,
        request,
        tenant if isinstance(tenant, str) else "",
        _usage(around.get("usage")),
        _seconds(around.get("time")),
    )


def _usage(said: Any) -> Usage | None:
    if not isinstance(said, dict):
        return None
    prompt, completion = said.get("prompt_tokens"), said.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int or prompt < 0 or completion < 0:
        return None
    return Usage(prompt, completion)


def _seconds(said: Any) -> float | None:
    """Seconds since 1970 as a number, or a time in ISO 8601."""
    if isinstance(said, int | float) and not isinstance(said, bool):
        return float(said)
    if not isinstance(said, str):
        return None
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
