"""Pairs of our own making: those that must never share an answer, and those that should."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cache.semantic.canonical import Form, canonical
from cache.semantic.near_match import VETOES, veto

HERE = Path(__file__).parent


def pairs(name: str) -> list[tuple[str, str, str]]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "kind\ta\tb"
    rows = [tuple(line.split("\t")) for line in lines[1:]]
    assert all(len(row) == 3 for row in rows)
    return [(kind, a, b) for kind, a, b in rows]


def forms(a: str, b: str) -> tuple[Form, Form] | None:
    one, other = canonical(a), canonical(b)
    if isinstance(one, Form) and isinstance(other, Form):
        return one, other
    return None


DIFFER = pairs("pairs_differ.tsv")
SAME = pairs("pairs_same.tsv")


def test_the_suites_are_as_large_as_promised() -> None:
    differ, same = Counter(kind for kind, _, _ in DIFFER), Counter(kind for kind, _, _ in SAME)
    assert len(set(DIFFER)) == len(DIFFER) >= 500
    assert len(set(SAME)) == len(SAME) >= 300
    for kind in (
        "number", "unit", "negation", "polarity", "entity", "role order", "direction", "tense",
        "question kind",
    ):  # fmt: skip
        assert differ[kind] >= 40, kind
    for kind in (
        "punctuation", "contraction", "politeness", "plural", "number words", "synonym",
    ):  # fmt: skip
        assert same[kind] >= 40, kind


@pytest.mark.parametrize(("kind", "a", "b"), DIFFER)
def test_a_pair_that_differs_is_never_one(kind: str, a: str, b: str) -> None:
    both = forms(a, b)
    assert both is not None, "a pair without keys proves nothing"
    assert both[0].key != both[1].key
    assert veto(*both) in VETOES
    assert veto(*both) == veto(both[1], both[0])


def test_of_the_pairs_that_mean_the_same_four_in_five_have_one_key() -> None:
    hits: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for kind, a, b in SAME:
        both = forms(a, b)
        total[kind] += 1
        hits[kind] += both is not None and both[0].key == both[1].key
    assert hits.total() >= 0.8 * total.total(), hits
    assert all(hits[kind] >= 0.8 * total[kind] for kind in total), hits
