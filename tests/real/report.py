"""What was found, as a markdown table."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check and what there is to say about it."""

    passed: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    area: str
    name: str
    finding: Finding
    seconds: float

    def line(self) -> str:
        word = "ok" if self.finding.passed else "**FAILED**"
        return f"| {self.area} | {self.name} | {word} | {_cell(self.finding.note)} |"


def table(rows: Iterable[Row]) -> str:
    """The whole report."""
    rows = list(rows)
    failed = sum(not row.finding.passed for row in rows)
    head = [
        "# Real servers and real clients",
        "",
        f"{len(rows)} checks, {failed} failed.",
        "",
        "| area | check | result | note |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *(row.line() for row in rows), ""])


def _cell(note: str, longest: int = 400) -> str:
    flat = " ".join(note.split()).replace("|", "\\|")
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"
