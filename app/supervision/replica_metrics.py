"""The measurements of a replica: those of its workers, those that ended included. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from app.observability.metrics.snapshot import Snapshot, lasting, merged


class ReplicaMetrics:
    """Adds workers up so that no count ever falls: whoever reads rates from counts would take a fall
    for a restart, and count everything once more."""

    def __init__(self) -> None:
        self._latest: dict[int, Snapshot] = {}  # by pid
        self._gone: Snapshot = {}

    def together(self, told: Mapping[int, Snapshot | None]) -> Snapshot:
        """The sum over the workers that there are, by pid; None for one that did not answer.

        Such a one counts as it did last, and one that ended as it was when it was asked last.
        """
        for pid in self._latest.keys() - told.keys():
            self._gone = merged([self._gone, lasting(self._latest.pop(pid))])
        self._latest |= {pid: snapshot for pid, snapshot in told.items() if snapshot is not None}
        return merged([self._gone, *self._latest.values()])
