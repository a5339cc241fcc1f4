"""Operators' acts: one chain a replica, which every process there adds to, each record on the disk
before the act is done."""

from __future__ import annotations

import fcntl
import getpass
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from app.observability.audit.canonical import Record, digest
from app.observability.audit.chain import BEGIN, CONTINUE, EMPTY, KIND, Chain, Position, Writer
from app.observability.audit.chain import now_text as now
from app.observability.audit.files import ChainFile, chains_in, last_line, make_folder
from app.observability.audit.records import act_record

ACTS, ALWAYS = "acts", "all"  # the worker and the boot in the name of the chain


class NotRecorded(OSError):
    """An act could not be written down, so it must not be done."""


class Acts:
    """Writes down acts. May be used by several processes and threads; waits for the disk."""

    def __init__(
        self,
        folder: Path,
        replica: str,
        *,
        rotate_bytes: int,
        checkpoints: Path | None = None,
        key: bytes | None = None,
    ) -> None:
        self.writer = Writer(replica, ACTS, ALWAYS)
        self._folder = folder
        self._rotate_bytes = rotate_bytes
        self._checkpoints = checkpoints
        self._key = key

    def record(
        self,
        act: str,
        actor: Mapping[str, Any],
        target: str | None = None,
        before: Any = None,
        after: Any = None,
        **more: Any,
    ) -> None:
        """Write down an act before it is done; secrets only as their ``fingerprint``.

        Raises NotRecorded: then the act must not be done.
        """
        self.append([act_record(act, actor, target, before, after, **more)])

    def append(self, records: list[Record]) -> None:
        """Write these records down. Raises NotRecorded."""
        try:
            make_folder(self._folder)
            with self._alone():
                self._append(records)
        except OSError as error:
            reason = error.strerror or str(error)
            raise NotRecorded(f"the audit log {self._folder} cannot be written: {reason}") from None

    def _append(self, records: list[Record]) -> None:
        chain, path, fresh = self._where()
        lines = []
        if fresh:
            lines.append(chain.link(self._header(path, chain.position)))
        lines += [chain.link(record) for record in records]
        file = ChainFile(path, fresh=fresh)
        try:
            file.append(b"\n".join(lines) + b"\n")
            file.sync()
        except OSError:
            if fresh:
                file.remove_if_empty()
            raise
        finally:
            file.close()
        self._sign(chain.position)

    def _where(self) -> tuple[Chain, Path, bool]:
        """The chain where it stands, the file to go on with, and whether that is a new one."""
        files = chains_in(self._folder).get(self.writer, {})
        if not files:
            return Chain(EMPTY), self._folder / self.writer.file(1), True
        number, path = max(files.items())
        line, torn = last_line(path)
        position = position_after(line) if line is not None else EMPTY
        if torn or path.stat().st_size >= self._rotate_bytes:
            return Chain(position), self._folder / self.writer.file(number + 1), True
        return Chain(position), path, False

    def _header(self, path: Path, position: Position) -> Record:
        return {
            "kind": KIND,
            "event": BEGIN if position == EMPTY else CONTINUE,
            "time": now(),
            "writer": self.writer.name,
            "file": int(path.name.split(".")[-2]),
        }

    def _sign(self, position: Position) -> None:
        if self._checkpoints is None or self._key is None:
            return
        from app.observability.audit.checkpoints import Checkpoints  # noqa: PLC0415 - an extra

        checkpoints = Checkpoints(self._checkpoints, self.writer, self._key, fresh=False)
        try:
            checkpoints.write(position)
        finally:
            checkpoints.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(
            self._folder / f"{self.writer.name}.lock",
            os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC,
            0o600,
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def position_after(line: bytes) -> Position:
    """Where a chain stands after this line. Raises OSError where it is no record."""
    try:
        return Position(int(orjson.loads(line)["seq"]) + 1, digest(line))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise OSError(0, "its last line is no record; see `headgate audit verify`") from None


def this_user() -> dict[str, str]:
    """Who runs this process, as the actor of an act."""
    try:
        return {"os_user": getpass.getuser()}
    except (KeyError, OSError):
        return {"os_user": str(os.getuid())}
