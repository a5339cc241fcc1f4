"""Who may run beside whom among the workers of one test run: all together, or one alone."""

from __future__ import annotations

import fcntl
from pathlib import Path


class Turns:
    """One worker's part in it; all workers of a run name the same folder.

    Whoever runs a test holds `room`: shared, or exclusively where the test must be alone on the
    machine. `door` is held on the way in only, so that while somebody waits for an empty room,
    nobody else comes in.
    """

    def __init__(self, folder: Path) -> None:
        self._door = (folder / "door").open("w")
        self._room = (folder / "room").open("w")
        self._alone = False

    def begin(self, *, alone: bool) -> None:
        """Wait for the turn of a test."""
        if self._alone:
            return
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)
        self._alone = alone

    def end(self, *, stay: bool) -> None:
        """The test is over; one that was alone may ``stay`` so for the next."""
        if self._alone and stay:
            return
        fcntl.flock(self._room, fcntl.LOCK_UN)
        self._alone = False

    def close(self) -> None:
        self._door.close()
        self._room.close()
