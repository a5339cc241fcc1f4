"""Texts of requests, where the operator wants them kept: files of their own, outside the chain, so
that erasing one breaks nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from app.observability.audit.canonical import canonical, plain
from app.observability.audit.chain import Writer, time_text
from app.observability.audit.files import ChainFile, make_folder
from app.observability.audit.records import Finished


class Contents:
    """Appends prompts and answers to one file a day and writer. Raises OSError."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        make_folder(folder)
        self._folder = folder
        self._writer = writer
        self._day = ""
        self._file: ChainFile | None = None

    def write(self, finished: Sequence[Finished]) -> None:
        """Keep the texts of these requests, as guardrails left them."""
        lines = [_line(one) for one in finished if one.shown is not None]
        if lines:
            self._of_today().append(b"\n".join(lines) + b"\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _of_today(self) -> ChainFile:
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        if self._file is None or day != self._day:
            self.close()
            self._day = day
            self._file = ChainFile(self._folder / f"{self._writer.name}.{day}.content.jsonl")
        return self._file


def _line(one: Finished) -> bytes:
    assert one.shown is not None
    return canonical(
        {
            "time": time_text(one.time),
            "request_id": one.facts["request_id"],
            "tenant": one.facts["tenant"],
            "key": one.facts["key"],
            "prompt": one.shown.decode(errors="replace"),
            "completion": plain("".join(one.answer)),
        }
    )
