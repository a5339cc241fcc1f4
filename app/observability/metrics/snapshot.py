"""What processes measured, added up, and as Prometheus text. Pure.

A snapshot has rows by the metric's name and the series' labels: of a counter or a gauge one number,
of a histogram its sum and the counts of its buckets. It is made of what JSON has, because workers
send it to the main process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from app.observability.metrics.families import FAMILIES, Family

Rows = dict[str, list[float]]
Snapshot = dict[str, Rows]


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as a series has them; those without a value are left out."""
    return ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items() if value)


def add(into: Snapshot, family: Family, labels: str, row: Sequence[float]) -> None:
    """Put a row into a snapshot, added to the one that has the same labels."""
    if not row:
        return
    rows = into.setdefault(family.name, {})
    there = rows.get(labels)
    if there is None:
        rows[labels] = list(row)
    elif family.merged == "max":
        rows[labels] = [max(pair) for pair in zip(there, row, strict=True)]
    else:
        rows[labels] = [sum(pair) for pair in zip(there, row, strict=True)]


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """The snapshots of several processes as one; rows that do not fit each other are left out."""
    whole: Snapshot = {}
    for snapshot in snapshots:
        for name, rows in snapshot.items():
            family = FAMILIES.get(name)
            for labels, row in rows.items() if family is not None else ():
                assert family is not None
                add(whole, family, labels, row)
    return whole


def lasting(snapshot: Snapshot) -> Snapshot:
    """What stays true when the process is gone: all but its gauges."""
    return {name: rows for name, rows in snapshot.items() if FAMILIES[name].kind != "gauge"}


def text(snapshot: Snapshot) -> str:
    """The page, version 0.0.4 of the text format."""
    lines: list[str] = []
    for name, family in FAMILIES.items():
        rows = snapshot.get(name)
        if rows:
            lines += (f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}")
            for labels in sorted(rows):
                lines += _lines(family, labels, rows[labels])
    return "".join(f"{line}\n" for line in lines)


def _lines(family: Family, labels: str, row: Sequence[float]) -> Iterable[str]:
    if family.kind != "histogram":
        yield f"{_series(family.name, labels)} {_number(row[0])}"
        return
    total, before = 0.0, f"{labels}," if labels else ""
    for bound, count in zip((*family.bounds, None), row[1:], strict=True):
        total += count
        most = "+Inf" if bound is None else _number(bound)
        yield f'{family.name}_bucket{{{before}le="{most}"}} {_number(total)}'
    yield f"{_series(family.name + '_sum', labels)} {_number(row[0])}"
    yield f"{_series(family.name + '_count', labels)} {_number(total)}"


def _series(name: str, labels: str) -> str:
    return f"{name}{{{labels}}}" if labels else name


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
