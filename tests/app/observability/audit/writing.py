"""Chains to look at, and keys to sign them with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.observability.audit.chain import Writer
from app.observability.audit.checkpoints import Checkpoints, Verifier, checkpoints_in, public_key
from app.observability.audit.trail import Places, Trail
from app.observability.audit.verify import Report, verify

KEY = bytes(range(32))
WRITER = Writer("edge-1", "w7", "20261121T000000Z-00000000")


def records(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"kind": "request", "request_id": f"r{first + n}"} for n in range(count)]


def write_chain(folder: Path, writer: Writer = WRITER, *, end: bool = True) -> Checkpoints:
    """Three files of four records each, the first its head, and one with the end; each signed."""
    trail = Trail(writer, Places(folder / "log", rotate_bytes=1))
    signed = Checkpoints(folder / "signed", writer, KEY)
    for part in range(3):
        trail.write(records(3, part * 3))
        signed.write(trail.position)
    if end:
        trail.end()
        signed.write(trail.position)
    return signed


def look(folder: Path) -> Report:
    """What verification says of it."""
    return verify([folder / "log"], checkpoints_in(folder / "signed"), Verifier(public_key(KEY)))


def files(folder: Path, writer: Writer = WRITER) -> list[Path]:
    return sorted((folder / "log").glob(f"{writer.name}.*.jsonl"))


def lines(path: Path) -> Iterator[bytes]:
    return iter(path.read_bytes().splitlines(keepends=True))
