"""The files of a chain: only ever added to, private, and never left with half a record."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

from app.observability.audit.chain import Writer, read_name

MODE = 0o600
FOLDER_MODE = 0o700
TAIL_BYTES = 1 << 20  # no record is longer


class ChainFile:
    """One file, open for its writer alone: it is locked as long as its writer lives.

    Raises OSError.
    """

    def __init__(self, path: Path, *, fresh: bool = True) -> None:
        self.path = path
        self.opened = monotonic()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(path, flags | (os.O_EXCL if fresh else 0), MODE)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if fresh else 0))
        except OSError:
            os.close(self._descriptor)
            raise
        self.size = os.fstat(self._descriptor).st_size
        if fresh:
            sync_folder(path.parent)

    def append(self, data: bytes) -> None:
        """Write all of it or, where the disk takes only a part, none."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def sync(self) -> None:
        """Return when what was written would survive a loss of power."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def remove_if_empty(self) -> None:
        """Take away a file into which nothing could be written."""
        if self.size == 0:
            with suppress(OSError):
                self.path.unlink()


def make_folder(folder: Path) -> None:
    """The folder, private where it is made here. Raises OSError."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder would survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def chains_in(*folders: Path) -> dict[Writer, dict[int, Path]]:
    """The files of every chain in some folders, by writer and number, in their order."""
    found: dict[Writer, dict[int, Path]] = {}
    for folder in folders:
        for path in _files(folder):
            named = read_name(path.name)
            if named is not None:
                found.setdefault(named[0], {})[named[1]] = path
    return {
        writer: dict(sorted(files.items()))
        for writer, files in sorted(found.items(), key=lambda item: item[0].boot)
    }


def is_being_written(path: Path) -> bool:
    """Whether the writer of a file is alive, on this machine."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def last_line(path: Path) -> tuple[bytes | None, bool]:
    """The last whole line of a file, and whether half a one follows it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        *lines, rest = file.read().split(b"\n")
    return (lines[-1] if lines else None), bool(rest)


def _files(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from folder.iterdir()
