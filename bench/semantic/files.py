"""Reads labelled tab-separated files; what is wrong in one is said with its file and line."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.failure import BenchFailureError
from bench.semantic.trials import Pairs, Trial, stream

_PAIRS = ("label", "a", "b")
_STREAM = ("intent", "text")
_SHOWN = 10  # what is wrong with a file is mostly wrong with all its lines


def trials(data: Iterable[Path], seed: int) -> list[Trial]:
    """Every file named, and every `.tsv` in the folders named. Raises BenchFailureError."""
    found: list[Trial] = []
    problems: list[str] = []
    for path in _files(data):
        read = _trial(path, seed)
        if isinstance(read, list):
            problems += read[:_SHOWN]
            problems += [f"{path}: and {len(read) - _SHOWN} more"] if len(read) > _SHOWN else []
        else:
            found.append(read)
    if problems:
        raise BenchFailureError("\n".join(problems))
    return found


def _files(data: Iterable[Path]) -> Iterator[Path]:
    for path in data:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(path.rglob("*.tsv"))
        if not inside:
            raise BenchFailureError(f"{path}: this folder holds no file that ends in .tsv")
        yield from inside


def _trial(path: Path, seed: int) -> Trial | list[str]:
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    header = lines[0].decode(errors="replace").rstrip("\r").split("\t")
    for wanted in (_PAIRS, _STREAM):
        if set(wanted) <= set(header):
            break
    else:
        named = ", ".join(header)[:200]
        needs = "label, a and b, or intent and text, separated by tabs"
        return [f"{path}:1: the header names {named!r}; it needs {needs}"]
    rows, problems = _rows(path, lines, len(header), [header.index(name) for name in wanted])
    if wanted is _PAIRS:
        problems += [
            f"{path}:{number}: the label is {label!r}, not 1 (same meaning) or 0"
            for number, (label, *_) in rows
            if label not in ("0", "1")
        ]
    if not rows and not problems:
        problems.append(f"{path}: holds a header and nothing else")
    if problems:
        return problems
    if wanted is _PAIRS:
        texts = [text for _, row in rows for text in row[1:]]
        return Pairs(str(path), texts, [label == "1" for _, (label, *_) in rows])
    return stream(str(path), [(intent, text) for _, (intent, text) in rows], seed)


def _rows(
    path: Path, lines: Sequence[bytes], columns: int, wanted: Sequence[int]
) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """The wanted columns of each row with its line, and what is wrong. Empty lines are skipped."""
    rows, problems = [], []
    for number, line in enumerate(lines[1:], start=2):
        try:
            cells = line.decode().rstrip("\r").split("\t")
        except UnicodeDecodeError as error:
            problems.append(f"{path}:{number}: not UTF-8 from byte {error.start + 1} on")
            continue
        if cells == [""]:
            continue
        if len(cells) != columns:
            problems.append(
                f"{path}:{number}: {len(cells)} columns, where the header names {columns}"
            )
            continue
        row = [cells[i].strip() for i in wanted]
        if not all(row):
            problems.append(f"{path}:{number}: a column is empty")
            continue
        rows.append((number, row))
    return rows, problems
