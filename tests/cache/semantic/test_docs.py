"""The rules of the wide key as docs/semantic.md tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache.semantic.canonical import Form, read
from cache.semantic.canonical.wide import RULES, Wide

DOCUMENT = Path(__file__).parents[3] / "docs" / "semantic.md"


def _table() -> list[list[str]]:
    _, _, after = DOCUMENT.read_text(encoding="utf-8").partition("## The rules of the wide key")
    section = after.partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in row] for row in rows if len(row) == 5]
    return [row for row in cells if row[0] != "rule"]


ROWS = _table()


def _wide(text: str) -> Wide:
    wide = read(text).wide
    assert wide is not None, text
    return wide


def test_every_rule_is_explained_once() -> None:
    assert sorted(row[0] for row in ROWS) == sorted(RULES)


@pytest.mark.parametrize(("rule", "a", "b", "c", "d"), ROWS, ids=[row[0] for row in ROWS])
def test_the_examples_of_a_rule_hold(rule: str, a: str, b: str, c: str, d: str) -> None:
    one, other = _wide(a), _wide(b)
    assert one.key == other.key
    assert rule in {*one.rules, *other.rules}
    assert _wide(c).key != _wide(d).key
    strict = [read(text).strict for text in (a, b)]
    if all(isinstance(form, Form) for form in strict):
        assert strict[0] != strict[1], "no rule of the wide key is needed for this"
