"""Where a writer's chain is written: files that rotate, and a spool for when the disk is full."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from app.observability.audit.chain import (
    BEGIN,
    CONTINUE,
    END,
    KIND,
    Chain,
    Position,
    Writer,
    now_text,
)
from app.observability.audit.files import ChainFile, make_folder

RETRY_SECONDS = 2.0  # after which the first folder is tried again


class Places(NamedTuple):
    """Where files go and when a new one is begun; ``spool`` is for while ``folder`` takes nothing."""

    folder: Path
    rotate_bytes: int = 64 << 20
    rotate_after: float = 86_400.0
    spool: Path | None = None
    spool_bytes: int = 256 << 20


class Trail:
    """A chain and the file that it is written to. Not for several threads at once."""

    def __init__(
        self, writer: Writer, places: Places, clock: Callable[[], float] = monotonic
    ) -> None:
        """Raises OSError where the folder cannot be made."""
        self.writer = writer
        self._places = places
        self._clock = clock
        self._chain = Chain()
        self._number = 0
        self._file: ChainFile | None = None
        self._spooling_since: float | None = None
        make_folder(places.folder)
        if places.spool is not None:
            make_folder(places.spool)

    @property
    def position(self) -> Position:
        return self._chain.position

    @property
    def spooling(self) -> bool:
        """Whether records go to the spool, because the folder takes none."""
        return self._spooling_since is not None

    def write(self, records: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Append these records; the lines that they became, and those of a new file's beginning.

        Raises OSError, and nothing is written, where neither the folder nor the spool takes them.
        """
        folder, spool = self._places.folder, self._places.spool
        file = self._file if not self._due() else None
        if self._spooling_since is None:
            try:
                return self._write(records, folder, file)
            except OSError:
                if spool is None:
                    raise
        elif self._clock() - self._spooling_since > RETRY_SECONDS:
            try:
                lines = self._write(records, folder, None)
            except OSError:
                self._spooling_since = self._clock()
            else:
                self._spooling_since = None
                return lines
        assert spool is not None
        lines = self._write(records, spool, file if self.spooling else None)
        if self._spooling_since is None:
            self._spooling_since = self._clock()
        return lines

    def sync(self) -> None:
        """Return when what was written would survive a loss of power. Raises OSError."""
        if self._file is not None:
            self._file.sync()

    def end(self) -> None:
        """Write that this chain ends here, and close its file. Raises OSError."""
        try:
            self.write([{"kind": KIND, "event": END, "time": now_text()}])
            self.sync()
        finally:
            self._leave_file()

    def _write(
        self, records: Sequence[Mapping[str, Any]], folder: Path, file: ChainFile | None
    ) -> list[bytes]:
        """Append to this file, or to a new one in ``folder``, which takes its place."""
        before, number = self._chain.position, self._number
        lines: list[bytes] = []
        fresh = None
        try:
            if file is None:
                self._number += 1
                file = fresh = ChainFile(folder / self.writer.file(self._number))
                lines.append(self._chain.link(self._header()))
            lines += [self._chain.link(record) for record in records]
            data = b"\n".join(lines) + b"\n"
            if folder == self._places.spool:
                self._check_room(folder, len(data))
            file.append(data)
        except OSError:
            self._chain.position, self._number = before, number
            if fresh is not None:
                fresh.close()
                fresh.remove_if_empty()
            raise
        if fresh is not None:
            self._leave_file()
            self._file = fresh
        return lines

    def _header(self) -> dict[str, Any]:
        return {
            "kind": KIND,
            "event": BEGIN if self._number == 1 else CONTINUE,
            "time": now_text(),
            "writer": self.writer.name,
            "file": self._number,
        }

    def _due(self) -> bool:
        """Whether the next record begins a new file."""
        file = self._file
        if file is None:
            return False
        old = monotonic() - file.opened > self._places.rotate_after
        return old or file.size >= self._places.rotate_bytes

    def _leave_file(self) -> None:
        if self._file is not None:
            with suppress(
                OSError
            ):  # a disk that fails here failed the record before, which was told
                self._file.sync()
            self._file.close()
            self._file = None

    def _check_room(self, spool: Path, more: int) -> None:
        used = sum(path.stat().st_size for path in spool.iterdir())
        if used + more > self._places.spool_bytes:
            raise OSError(errno.ENOSPC, "the audit log's spool is full", str(spool))
