"""Is every record there, as it was written and where it was written? Says where not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.observability.audit.acts import ACTS
from app.observability.audit.canonical import NO_DIGEST, Record, canonical, digest
from app.observability.audit.chain import BEGIN, CONTINUE, END, KIND, Position, Writer
from app.observability.audit.files import chains_in, is_being_written
from app.observability.audit.records import ACT, GAP

BROKEN_OFF, PRUNED = "audit.broken_off", "audit.prune"
MOST_FINDINGS = 1_000


class Finding(NamedTuple):
    """Something that was changed, or is missing: the place, and what is wrong there."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class Report:
    """What verification saw. ``findings`` are evidence of a change; ``notices`` are losses that the
    log itself tells of, and what no checkpoint covers."""

    def __init__(self) -> None:
        self.chains = 0
        self.records = 0
        self.checkpoints = 0
        self.findings: list[Finding] = []
        self.notices: list[Finding] = []

    def found(self, place: str, message: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(place, message))

    def noticed(self, place: str, message: str) -> None:
        if len(self.notices) < MOST_FINDINGS:
            self.notices.append(Finding(place, message))


Signed = Iterable[tuple[str, Record]]


def verify(
    folders: Iterable[Path],
    checkpoints: Signed = (),
    is_signed: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Report:
    """Follow every chain in some folders, and hold it against its checkpoints.

    Without ``is_signed`` a checkpoint's signature is not looked at. Raises OSError.
    """
    report = Report()
    wanted = _wanted(report, checkpoints, is_signed)
    said: list[Record] = []  # by acts, on other chains
    chains = chains_in(*folders)
    ends: dict[str, _Walk] = {}
    for writer, files in chains.items():
        report.chains += 1
        walk = _Walk(report, writer, wanted.pop(writer.name, {}))
        for number, path in files.items():
            walk.file(number, path)
        ends[writer.name] = walk
        said += walk.said
    pruned = _pruned(said)
    for walk in ends.values():
        walk.finish(pruned.get(walk.writer.name))
    for record in said:
        if record["act"] == BROKEN_OFF:
            _check_broken_off(report, record, ends)
    for name, positions in wanted.items():
        if name not in pruned:
            place = max(positions.items())[1][1]
            report.found(place, f"the whole chain {name} is missing, which this checkpoint is of")
    return report


class _Walk:
    """Follows one chain through its files."""

    def __init__(self, report: Report, writer: Writer, signed: dict[int, tuple[str, str]]) -> None:
        self.writer = writer
        self.said: list[Record] = []
        self._report = report
        self._signed = signed  # count -> tip, place
        self._next = Position(0, NO_DIGEST)
        self._first: tuple[int, Position] | None = None
        self._number = 0
        self._place = writer.name
        self._ended = False
        self._torn: str | None = None
        self._last: Path | None = None
        self._covered = 0
        self.tips: dict[int, str] = {}

    def file(self, number: int, path: Path) -> None:
        if self._number and number != self._number + 1:
            gone = f"files {self._number + 1} to {number - 1} of this chain are missing"
            self._report.found(path.name, gone)
        self._number, self._last = number, path
        with path.open("rb") as lines:
            for count, line in enumerate(lines, 1):
                self._place = f"{path.name}:{count}"
                if not line.endswith(b"\n"):
                    self._torn = self._place
                    return
                self._line(line[:-1], number if count == 1 else None)

    def _line(self, line: bytes, file: int | None) -> None:
        record = self._read(line)
        if record is None:
            self._next = Position(self._next.length + 1, digest(line))
            return
        seq, prev = record["seq"], record["prev"]
        if file is not None:
            self._header(record, file)
        if self._first is None:
            self._first = (self._number, Position(seq, prev))
            if self._number > 1:
                self._next = Position(seq, prev)  # whether that may be is looked at in the end
        self._link(seq, prev)
        if self._ended:
            self._report.found(self._place, "stands behind the end of its chain")
        self._next = Position(seq + 1, digest(line))
        self._report.records += 1
        self._note(record)
        self._compare()

    def _read(self, line: bytes) -> Record | None:
        try:
            record = orjson.loads(line)
            right = canonical(record) == line and type(record["seq"]) is int
            if right and isinstance(record["prev"], str):
                return dict(record)
        except (orjson.JSONDecodeError, TypeError, KeyError):
            pass
        self._report.found(self._place, "is no record in canonical form: it was edited")
        return None

    def _header(self, record: Record, file: int) -> None:
        event = BEGIN if file == 1 else CONTINUE
        right = (KIND, event, self.writer.name, file)
        seen = tuple(record.get(name) for name in ("kind", "event", "writer", "file"))
        if seen != right:
            self._report.found(
                self._place,
                f"begins as file {record.get('file')} of {record.get('writer')}: files were swapped "
                "or renamed",
            )

    def _link(self, seq: int, prev: str) -> None:
        expected = self._next
        if seq > expected.length:
            self._report.found(
                self._place, f"record {seq} follows: {_span(expected.length, seq - 1)} missing"
            )
        elif seq < expected.length:
            self._report.found(
                self._place,
                f"record {seq} stands where {expected.length} belongs: reordered, or put in twice",
            )
        elif prev != expected.tip:
            self._report.found(
                self._place,
                f"names another record before it: record {seq - 1} was changed after it was "
                "written, or this one",
            )

    def _note(self, record: Record) -> None:
        kind = record.get("kind")
        self._ended = self._ended or (kind == KIND and record.get("event") == END)
        if kind == GAP:
            self._report.noticed(
                self._place,
                f"{record.get('lost')} requests have no record, and {record.get('refused')} were "
                f"refused, since {record.get('since')}",
            )
        elif kind == ACT and record.get("act") in {BROKEN_OFF, PRUNED}:
            self.said.append(record | {"place": self._place})

    def _compare(self) -> None:
        """Hold the chain so far against the checkpoint of this place, where there is one."""
        signed = self._signed.pop(self._next.length, None)
        if signed is None:
            return
        if signed[0] != self._next.tip:
            self._report.found(
                self._place,
                f"the checkpoint {signed[1]} has another hash for this record: the chain was "
                "written anew",
            )
        self._covered = self._next.length

    def finish(self, pruned: Position | None) -> None:
        """Look at what is only known when all chains were read."""
        report, place = self._report, self._place
        self._beginning(pruned)
        begun = self._first[1].length if self._first is not None else 0
        for count, (_, where) in sorted(self._signed.items()):
            if count > self._next.length:
                report.found(
                    place,
                    f"{_span(self._next.length, count - 1)} missing at the end: the checkpoint "
                    f"{where} was made of them",
                )
            elif count > begun:
                report.found(place, f"the checkpoint {where} fits no record")
        self.tips[self._next.length] = self._next.tip
        if self._torn is not None:
            report.noticed(self._torn, "half a record: its writer lost its power, or its disk")
        if self._ended or self._last is None:
            return
        left = self._next.length - self._covered
        rest = f"; its last {left} records are covered by no checkpoint" if left else ""
        if self.writer.worker == ACTS:  # which has no end, and is whole after each act
            if left:
                report.noticed(place, f"goes on{rest}")
        elif is_being_written(self._last):
            report.noticed(place, f"still being written{rest}")
        else:
            report.noticed(
                place, f"breaks off: its writer was killed, so its last second may be lost{rest}"
            )

    def _beginning(self, pruned: Position | None) -> None:
        if self._first is None or self._first[0] == 1:
            return
        number, position = self._first
        if pruned is None or pruned != position:
            self._report.found(
                self.writer.name,
                f"its first {number - 1} files are missing, and no act says that they were pruned",
            )


def _wanted(
    report: Report, checkpoints: Signed, is_signed: Callable[[Mapping[str, Any]], bool] | None
) -> dict[str, dict[int, tuple[str, str]]]:
    """Tip and place of each checkpoint, by chain and count."""
    wanted: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
    for place, checkpoint in checkpoints:
        report.checkpoints += 1
        name, count, tip = (checkpoint.get(member) for member in ("writer", "count", "tip"))
        if not (isinstance(name, str) and type(count) is int and isinstance(tip, str)):
            report.found(place, "is no checkpoint")
        elif is_signed is not None and not is_signed(checkpoint):
            report.found(place, "is not signed with this key: forged or edited")
        else:
            before = wanted[name].setdefault(count, (tip, place))
            if before[0] != tip:
                report.found(place, f"contradicts the checkpoint {before[1]}")
    return dict(wanted)


def _pruned(said: Iterable[Record]) -> dict[str, Position]:
    """Where chains begin whose first files an operator took away, by name."""
    found: dict[str, Position] = {}
    for record in said:
        if record["act"] == PRUNED:
            for chain in record.get("after") or ():
                position = Position(chain["count"], chain["tip"])
                name = chain["chain"]
                found[name] = max(position, found.get(name, position))
    return found


def _check_broken_off(report: Report, record: Record, ends: Mapping[str, _Walk]) -> None:
    walk = ends.get(str(record.get("target")))
    if walk is not None and walk.tips.get(record["count"]) != record["tip"]:
        report.found(
            record["place"],
            f"{record['target']} had {record['count']} records when its writer was gone, and does "
            "not end there now",
        )


def _span(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"
