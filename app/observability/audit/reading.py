"""Reading the log: the records of every chain, oldest first."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.observability.audit.chain import time_text
from app.observability.audit.files import chains_in


class Read(NamedTuple):
    """One record: when, its line, and what it says."""

    time: str
    text: str
    facts: dict[str, Any]


def records_since(folders: Iterable[Path], since: float) -> Iterator[Read]:
    """Every record from a moment on (unix seconds), by time; a line that is no record is left out."""
    start = time_text(since)
    chains = (_chain(files.values(), since, start) for files in chains_in(*folders).values())
    return heapq.merge(*chains, key=lambda record: record.time)


def _chain(files: Iterable[Path], since: float, start: str) -> Iterator[Read]:
    for path in files:
        if path.stat().st_mtime < since:
            continue
        with path.open("rb") as lines:
            for line in lines:
                read = _read(line)
                if read is not None and read.time >= start:
                    yield read


def _read(line: bytes) -> Read | None:
    try:
        facts = orjson.loads(line)
        return Read(str(facts["time"]), line.decode().rstrip("\n"), facts)
    except (orjson.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return None
