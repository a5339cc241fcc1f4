"""A chain of records: each names the hash of the one before it, so none can be changed unseen."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from re import compile as pattern
from typing import Any, NamedTuple

from app.observability.audit.canonical import NO_DIGEST, canonical, digest

VERSION = 1
KIND = "chain"  # of the records that say where a chain or a file of it begins and ends
BEGIN, CONTINUE, END = "begin", "continue", "end"
SUFFIX = ".jsonl"
SIGNED = ".checkpoints"  # what the file of a chain's checkpoints ends with

_FILE = pattern(
    r"(?P<replica>[A-Za-z0-9_-]+)\.(?P<worker>[A-Za-z0-9_-]+)\.(?P<boot>[A-Za-z0-9_-]+)"
    r"\.(?P<number>[0-9]{6,})\.jsonl"
)
_NOT_IN_NAMES = pattern(r"[^A-Za-z0-9_-]")


class Writer(NamedTuple):
    """Who writes a chain: a process of a replica, from one start to its end."""

    replica: str
    worker: str
    boot: str

    @property
    def name(self) -> str:
        return f"{self.replica}.{self.worker}.{self.boot}"

    def file(self, number: int) -> str:
        """The name of the chain's file with this number, counted from 1."""
        return f"{self.name}.{number:06d}{SUFFIX}"


class Position(NamedTuple):
    """How far a chain is: the records so far, and the hash of the last."""

    length: int
    tip: str


EMPTY = Position(0, NO_DIGEST)


class Chain:
    """Gives records their place; ``position`` is where it stands."""

    __slots__ = ("position",)

    def __init__(self, position: Position = EMPTY) -> None:
        self.position = position

    def link(self, record: Mapping[str, Any]) -> bytes:
        """The next line, without its end; the chain is one record longer."""
        length, tip = self.position
        line = canonical({**record, "v": VERSION, "seq": length, "prev": tip})
        self.position = Position(length + 1, digest(line))
        return line


def new_writer(replica: str, worker: str) -> Writer:
    """A writer that has never been: its name has the time and a random part."""
    began = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Writer(replica_name(replica), worker, f"{began}-{secrets.token_hex(4)}")


def replica_name(given: str | None) -> str:
    """What a replica is called in names of files; the host's name where none is given."""
    return _NOT_IN_NAMES.sub("-", given or socket.gethostname())[:64] or "replica"


def read_name(file: str) -> tuple[Writer, int] | None:
    """The writer and the number that a file's name says; None where it is no such file."""
    found = _FILE.fullmatch(file)
    if found is None:
        return None
    return Writer(found["replica"], found["worker"], found["boot"]), int(found["number"])


def now_text() -> str:
    """The time as records have it: RFC 3339, UTC, microseconds."""
    return time_text(datetime.now(UTC).timestamp())


def time_text(seconds: float) -> str:
    """Unix seconds as records have them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
