"""docs/architecture.md is true: who writes the facts of a call, the files it names, its glossary.

The writers are found in the code's syntax trees, so that a new one fails here until the table has it.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.call import Call
from app.core.exchange import Exchange, Outcome

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ROOMS = ("app", "middleware", "cache")

HOLDERS: dict[str, type] = {"exchange": Exchange, "call": Call, "outcome": Outcome}
HOMES = {"exchange": "app/core/exchange.py", "outcome": "app/core/exchange.py"}
HOMES |= {"call": "app/core/call.py"}  # what a class does to itself is not a writer's work

# What makes a new holder or a changed copy of one, and the facts that it sets.
LATER = {
    "caller",
    "fan_out",
    "guards",
    "targets",
    "steering",
    "metadata",
    "to_add",
    "context",
}  # made empty
MAKERS = {
    "Exchange": ("exchange", ("request_id", "headers", "started")),
    "Call.of": ("call", tuple(sorted(set(Call.__slots__) - LATER))),
    "with_request": ("call", ("request",)),
    "background": ("call", ("outcome", "reply_headers", "started")),
    "leg": (
        "call",
        ("request", "headers", "header_lines", "outcome", "reply_headers", "started", "steering"),
    ),
}
MUTATORS = frozenset(
    {"append", "extend", "insert", "clear", "update", "pop", "remove", "setdefault"}
)

GLOSSARY = (
    "lookup",
    "hit",
    "stale",
    "miss",
    "leader",
    "follower",
    "flight",
    "local tier",
    "directives",
    "reservation",
    "settle",
    "client disconnect",
    "cache entry",
    "fingerprint",
    "semantic index",
    "near match",
    "family",
    "call",
    "reply writer",
    "lease",
    "breaker",
    "listening time",
)

Facts = dict[str, set[str]]  # "call.request" -> the files that write it


def chain_of(node: ast.AST) -> list[str]:
    """The names in ``a.b().c``, left to right: ``["a", "b", "c"]``."""
    if isinstance(node, ast.Attribute):
        return [*chain_of(node.value), node.attr]
    if isinstance(node, ast.Call):
        return chain_of(node.func)
    if isinstance(node, ast.Subscript):
        return chain_of(node.value)
    return [node.id] if isinstance(node, ast.Name) else []


def holder_named(name: str) -> str | None:
    """The holder that a name stands for: ``_outcome`` is an outcome, ``exchange_of(…)`` an exchange."""
    name = name.removeprefix("_").removesuffix("_of")
    return name if name in HOLDERS else None


def made_by(node: ast.AST) -> tuple[str, tuple[str, ...]] | None:
    """What a call to a constructor or a copying method makes, and the facts that it sets."""
    if not isinstance(node, ast.Call):
        return None
    chain = chain_of(node.func)
    if not chain:
        return None
    if chain[-1] == "background" and len(node.args) + len(node.keywords) > 1:
        return "call", (*MAKERS["background"][1], "key")  # another key pays
    return MAKERS.get(".".join(chain[-2:])) or MAKERS.get(chain[-1])


class Uses(ast.NodeVisitor):
    """Collects the facts that one file writes, and those that it reads.

    A name that a function gives to a holder counts as that holder (``bound = call.with_request(…)``),
    and a parameter counts by its annotation.
    """

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.read: set[str] = set()
        self._aliases: list[dict[str, str | None]] = [{}]

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        aliases = dict(self._aliases[-1])
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if argument.annotation is not None:
                kinds = set(re.findall(r"\w+", ast.unparse(argument.annotation)))
                holders = [name for name, kind in HOLDERS.items() if kind.__name__ in kinds]
                aliases[argument.arg] = holders[0] if holders else None
        self._aliases.append(aliases)
        self.generic_visit(node)
        self._aliases.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's name

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = [node.value] * len(names)
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                values = node.value.elts
            for name, value in zip(names, values, strict=True):
                if isinstance(name, ast.Name):
                    self._aliases[-1][name.id] = self._holder_in(value) or holder_named(name.id)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and node.value is not None:
            made = self._holder_in(node.value) or holder_named(node.target.id)
            self._aliases[-1][node.target.id] = made

    def visit_Attribute(self, node: ast.Attribute) -> None:
        facts = self.read if isinstance(node.ctx, ast.Load) else self.written
        facts |= self._facts(chain_of(node))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        chain = chain_of(node.func)
        if chain and chain[-1] in MUTATORS:
            self.written |= self._facts(chain[:-1])
        if chain == ["setattr"]:
            self.written |= self._facts([*chain_of(node.args[0]), ast.unparse(node.args[1])[1:-1]])
        made = made_by(node)
        if made is not None:
            holder, facts = made
            self.written |= {f"{holder}.{fact}" for fact in facts}
        self.generic_visit(node)

    def _holder_in(self, value: ast.AST) -> str | None:
        made = made_by(value)
        if made is not None:
            return made[0]
        chain = chain_of(value)
        return self._holder(chain, len(chain) - 1) if chain else None

    def _holder(self, chain: list[str], position: int) -> str | None:
        name = chain[position]
        if position == 0 and name in self._aliases[-1]:
            return self._aliases[-1][name]
        return holder_named(name)

    def _facts(self, chain: list[str]) -> set[str]:
        """The fact behind the last holder in a chain: ``cost`` in ``self.call.outcome.cost``."""
        for position in reversed(range(len(chain) - 1)):
            holder = self._holder(chain, position)
            if holder is not None:
                return {f"{holder}.{chain[position + 1]}"}
        return set()


def uses_in(source: str) -> Uses:
    """What the text of a file writes and reads."""
    uses = Uses()
    uses.visit(ast.parse(source))
    return uses


def writers_in_the_code() -> Facts:
    """Every fact with the files that write it, but for the class's own."""
    found: Facts = defaultdict(set)
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for fact in uses_in(path.read_text("utf-8")).written:
                if HOMES[fact.partition(".")[0]] != name:
                    found[fact].add(name)
    return dict(found)


def section(title: str) -> str:
    """The text under a heading of the second level."""
    found = re.search(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL
    )
    assert found is not None, f"no section {title!r}"
    return found[1]


def files_in(text: str) -> set[str]:
    return set(re.findall(r"`([\w./-]+\.(?:py|lua|md|toml|yaml|cfg))`", text))


def rows() -> Iterator[tuple[list[str], str, str]]:
    """The facts of each row, and its columns "written by" and "read by"."""
    for line in section("The facts of a call").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and re.match(r"`(exchange|call|outcome)\.", cells[0]):
            yield re.findall(r"`([\w.]+)`", cells[0]), cells[1], cells[2]


def facts_in_the_table() -> list[str]:
    return [fact for facts, _, _ in rows() for fact in facts]


def writers_in_the_table() -> Facts:
    found = {fact: files_in(written) for facts, written, _ in rows() for fact in facts}
    return {fact: files for fact, files in found.items() if files}


def test_every_writer_of_a_fact_stands_in_the_table() -> None:
    code, table = writers_in_the_code(), writers_in_the_table()
    facts = sorted(code.keys() | table.keys())
    wrong = {f: code.get(f, set()) ^ table.get(f, set()) for f in facts}
    assert {fact: files for fact, files in wrong.items() if files} == {}


def test_every_fact_stands_in_the_table_once() -> None:
    facts = {f"{name}.{fact}" for name, kind in HOLDERS.items() for fact in kind.__slots__}
    assert sorted(facts_in_the_table()) == sorted(facts)


def test_whoever_is_named_as_a_reader_reads_the_fact() -> None:
    indirect = {
        # Through `alias_for`, a method of the outcome.
        ("outcome.alias", "app/observability/request_record.py"): "outcome.alias_for",
        ("outcome.alias", "cache/quotas/ledger.py"): "outcome.alias_for",
        # A record is made of an exchange or of a call.
        ("call.started", "app/observability/request_record.py"): "exchange.started",
        ("call.outcome", "app/observability/request_record.py"): "exchange.outcome",
        # One list, under two names.
        ("call.reply_headers", "middleware/asgi/transfer.py"): "exchange.reply_headers",
    }
    for facts, _, read in rows():
        for name in files_in(read):
            found = uses_in((ROOT / name).read_text("utf-8")).read
            for fact in facts:
                assert indirect.get((fact, name), fact) in found, f"{name} does not read {fact}"


@pytest.mark.parametrize(
    ("source", "fact"),
    [
        ("exchange.key = key", "exchange.key"),
        ("exchange_of(scope).outcome.error_code = code", "outcome.error_code"),
        ("self._lookup.call.outcome.cost += 1", "outcome.cost"),
        ("outcome.status, outcome.model = 499, name", "outcome.model"),
        ("a, b = outcome.target = pair", "outcome.target"),
        ("call.reply_headers.append(pair)", "call.reply_headers"),
        ("self.call.caller.linger = wait", "call.caller"),
        ("changed = call.with_request(request)", "call.request"),
        ("bound = call.with_request(request)\nbound.calls = 2", "call.calls"),
        ("facts = call.outcome\nfacts.saved = 1", "outcome.saved"),
        ("def note(facts: Outcome):\n    facts.saved = 1", "outcome.saved"),
        ("setattr(outcome, 'saved', 1)", "outcome.saved"),
    ],
)
def test_a_new_writer_is_noticed(source: str, fact: str) -> None:
    assert fact in uses_in(source).written


@pytest.mark.parametrize(
    "source",
    [
        "cost = outcome.cost",
        "def post(call: UpstreamCall):\n    call.attempts += 1",
        "outcome = other",
    ],
)
def test_what_writes_no_fact_is_none(source: str) -> None:
    assert uses_in(source).written == set()


def test_every_file_that_is_named_exists() -> None:
    named = files_in(DOCUMENT)
    assert len(named) > 50
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_an_acts_counts_are_those_of_its_files() -> None:
    """Those that decide are named outside the brackets of the numbered steps."""
    for act in section("Four acts").split("\n### ")[1:]:
        steps = "\n".join(line for line in act.splitlines() if re.match(r"\d+\. ", line))
        deciding = files_in(re.sub(r"\([^()]*`[^()]*\)", "", steps))
        said = re.search(r"\*\*Decide: (\d+).*Opened: (\d+)\.\*\*", act)
        assert said is not None
        assert (int(said[1]), int(said[2])) == (len(deciding), len(files_in(steps))), act[:40]


def test_the_stairs_are_those_that_are_enforced() -> None:
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    stairs = layers["tool"]["importlinter"]["contracts"][0]["layers"]
    picture = section("The rooms and the stairs").split("```")[1]
    steps = [line.split("  ")[0].strip() for line in picture.splitlines()]
    assert [step for step in steps if step] == stairs
    contributing = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert " → ".join(f"`{step}`" for step in stairs) in contributing


def test_the_glossarys_names_in_the_code_are_classes() -> None:
    names = set(re.findall(r"`([A-Z]\w+)`", section("Glossary")))
    code = "\n".join(
        path.read_text("utf-8") for room in ROOMS for path in (ROOT / room).rglob("*.py")
    )
    assert names
    assert [name for name in sorted(names) if f"\nclass {name}" not in code] == []


@pytest.mark.parametrize("word", GLOSSARY)
def test_the_glossary_has_the_word_once(word: str) -> None:
    assert section("Glossary").count(f"| **{word}** |") == 1
