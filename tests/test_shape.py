"""The shape of the code: no file in a circle of imports, few files in a room, short functions."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(p for room in ("app", "middleware", "cache") for p in (ROOT / room).rglob("*.py"))
MOST_LINES = 40
MOST_FILES = 15

# Longer functions, each with its reason.
LONG = {
    "app/chain/model_chain.py:model_chain": "the chain is one list, read from top to bottom",
    "app/openai/completions/stream.py:shape": "each chunk of a stream passes it, and every call in between costs it",
    "app/providers/client/client.py:post": "one request on its way: every call in between costs each request",
    "cache/semantic/canonical/tokens.py:tokens_of": "a call for each token costs as much as the work",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text("utf-8")) for path in FILES}


def imported_by(tree: ast.Module) -> Iterator[str]:
    """The modules of ours that a module imports anywhere in it: late, or for types only, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in below)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle of imports, if there is one."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of what a function does, without its signature and docstring."""
    described = ast.get_docstring(function, clean=False) is not None
    body = function.body[1:] if described else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def long_functions() -> set[str]:
    return {
        f"{path.relative_to(ROOT)}:{node.name}"
        for path in FILES
        for node in ast.walk(MODULES[name_of(path)])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > MOST_LINES
    }


def test_no_two_files_import_each_other() -> None:
    graph = {name: MODULES.keys() & set(imported_by(tree)) for name, tree in MODULES.items()}
    assert circle_in(graph) == []


def test_a_circle_would_be_seen() -> None:
    assert set(circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()})) == {"a", "b", "c"}


def test_a_function_is_short_or_has_a_reason() -> None:
    assert long_functions() <= LONG.keys()


def test_the_words_everybody_uses_are_few() -> None:
    core = [path for path in FILES if path.parent == ROOT / "app" / "core"]
    assert len([path for path in core if path.name != "__init__.py"]) < 15


def test_a_folder_holds_one_subject() -> None:
    rooms = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert {str(room.relative_to(ROOT)): n for room, n in rooms.items() if n > MOST_FILES} == {}
