"""Labelled texts: tab-separated files with a header."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.failure import BenchFailureError

COLUMNS = ("label", "text", "kind")
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


class Row(NamedTuple):
    """One text. ``harmful``: it must be caught."""

    harmful: bool
    text: str
    kind: str
    place: str


def rows(paths: Sequence[str]) -> list[Row]:
    """The rows of all files; a folder stands for the ``.tsv`` in it. Raises BenchFailureError."""
    files: list[Path] = []
    for path in map(Path, paths):
        files += sorted(path.glob("**/*.tsv")) if path.is_dir() else [path]
    if not files:
        raise BenchFailureError("no files to read: name some, as in DATA=texts.tsv")
    return [row for file in files for row in _rows(file)]


def _rows(file: Path) -> Iterator[Row]:
    try:
        lines = file.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchFailureError(f"{file}: cannot be read: {error}") from None
    header = lines[0].rstrip("\r").split("\t")
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise BenchFailureError(f"{file}:1: the header has no {', '.join(missing)}")
    places = [header.index(name) for name in COLUMNS]
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(header):
            raise BenchFailureError(
                f"{file}:{number}: {len(cells)} cells under {len(header)} names"
            )
        label, text, kind = (cells[place] for place in places)
        if label not in ("0", "1"):
            raise BenchFailureError(f"{file}:{number}: the label is {label!r}, not 0 or 1")
        yield Row(label == "1", unescaped(text), kind, f"{file}:{number}")


def unescaped(text: str) -> str:
    r"""A cell's text: ``\n``, ``\t`` and ``\\`` stand for what a cell cannot hold."""
    out = []
    at = 0
    while at < len(text):
        escape = _ESCAPES.get(text[at + 1]) if text[at] == "\\" and at + 1 < len(text) else None
        out.append(escape or text[at])
        at += 2 if escape else 1
    return "".join(out)
