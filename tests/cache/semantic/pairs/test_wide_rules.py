"""Pairs for each rule of the wide key: what it must make one, and what it must keep apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from cache.semantic.canonical import read
from cache.semantic.canonical.wide import RULES, Wide
from tests.cache.semantic.pairs.test_pairs import DIFFER, SAME

HERE = Path(__file__).parent
Pair = tuple[str, str]


def _rows(name: str) -> list[list[str]]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    assert all(len(row) == len(rows[0]) for row in rows), name
    return rows[1:]


def _fillers() -> list[dict[str, str]]:
    """What stands for the words in braces, one set for each line; a 2 is the next line's."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for kind, words in _rows("wide_fillers.tsv"):
        by_kind[kind].append(words)
    [many] = {len(words) for words in by_kind.values()}
    sets = []
    for at in range(many):
        one = {kind: words[at] for kind, words in by_kind.items()}
        one |= {kind + "2": words[(at + 1) % many] for kind, words in by_kind.items()}
        sets.append(one | {"ns": one["n"] + "s", "h_": one["h"].replace("-", " ")})
    return sets


def _pairs() -> dict[tuple[str, str], list[Pair]]:
    found: dict[tuple[str, str], dict[Pair, None]] = defaultdict(dict)
    for rule, verdict, a, b in _rows("wide_templates.tsv"):
        for words in _fillers():
            found[rule, verdict][a.format_map(words), b.format_map(words)] = None
    return {kind: list(pairs) for kind, pairs in found.items()}


PAIRS = _pairs()


def wide(text: str) -> Wide:
    form = read(text).wide
    assert form is not None, text
    return form


def test_every_rule_has_pairs_of_both_kinds() -> None:
    assert {rule for rule, _ in PAIRS} == set(RULES)
    for rule in RULES:
        assert len(PAIRS[rule, "same"]) + len(PAIRS[rule, "differ"]) >= 60, rule
    count = Counter(verdict for (_, verdict), pairs in PAIRS.items() for _ in pairs)
    assert count["same"] >= 2000
    assert count["differ"] >= 2000


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_meets_what_means_the_same(rule: str) -> None:
    fired = 0
    for a, b in PAIRS[rule, "same"]:
        one, other = wide(a), wide(b)
        assert one.key == other.key, (a, b)
        fired += rule in one.rules or rule in other.rules
    assert fired >= 0.6 * len(PAIRS[rule, "same"])


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_keeps_apart_what_does_not(rule: str) -> None:
    for a, b in PAIRS[rule, "differ"]:
        assert wide(a).key != wide(b).key, (a, b)


def test_what_the_strict_key_keeps_apart_the_wide_one_does_too() -> None:
    for _, a, b in DIFFER:
        assert wide(a).key != wide(b).key, (a, b)


def test_what_the_strict_key_makes_one_the_wide_one_does_too() -> None:
    for _, a, b in SAME:
        one, other = read(a), read(b)
        if one.strict == other.strict and one.wide is not None and other.wide is not None:
            assert one.wide.key == other.wide.key, (a, b)
