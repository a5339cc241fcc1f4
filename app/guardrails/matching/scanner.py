"""The patterns and words of several rules, put together so that one look finds what may be there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import ahocorasick_rs

from app.guardrails.matching.pattern import Pattern, compiled

MANY_HINTS = 1 << 20  # more than a look at each is worth


class _Search(Protocol):
    """A compiled pattern, as RE2's module gives it."""

    def search(self, text: bytes) -> object | None: ...


class Finding(NamedTuple):
    """What a rule found, in characters from the beginning of the text.

    ``more``: it only goes on where an earlier finding of the same pattern ended.
    """

    start: int
    end: int
    rule: int
    entity: str
    more: bool = False


class Words(NamedTuple):
    """Words that a rule looks for; ``whole``: not inside of longer words."""

    entity: str
    words: Sequence[str]
    whole: bool = True
    cased: bool = False


class Scanner:
    """The patterns and words of several rules, by the rules' numbers."""

    def __init__(
        self, patterns: Sequence[tuple[int, Pattern]], words: Sequence[tuple[int, Words]] = ()
    ) -> None:
        self.gated: list[tuple[int, Pattern]] = [(r, p) for r, p in patterns if p.keywords]
        self.open: list[tuple[int, Pattern]] = [(r, p) for r, p in patterns if not p.keywords]
        self.words = list(words)
        gates: dict[str, list[int]] = {}
        for index, (_, pattern) in enumerate(self.gated):
            for keyword in pattern.keywords:
                gates.setdefault(keyword.lower(), []).append(index)
        tails: dict[str, list[tuple[int, str]]] = {}
        for index, (_, group) in enumerate(self.words):
            for word in group.words:
                tails.setdefault(_lower(word), []).append((index, word))
        literals = sorted(gates.keys() | tails.keys())
        self.of_literal = [(gates.get(one, []), tails.get(one, [])) for one in literals]
        self._automaton = _automaton(literals) if literals else None
        self.longest_word = max(map(len, tails), default=0)
        # How much of a text without any of the keywords may be the beginning of a match.
        self.gate_hold = max(
            (min(p.width, p.lead + max(map(len, p.keywords)) - 1) for _, p in self.gated),
            default=0,
        )
        self.widest_open = max((pattern.width for _, pattern in self.open), default=0)
        self._any_open = _any_of([pattern for _, pattern in self.open])

    def literals_in(self, text: str) -> list[tuple[int, int, int]]:
        """Literal number, start and end of every keyword and word in a text."""
        if self._automaton is None:
            return []
        lower = _lower(text)
        data = lower.encode(errors="replace")
        found: list[tuple[int, int, int]] = self._automaton.find_matches_as_indexes(
            data, overlapping=True
        )
        if len(data) == len(text) or not found:
            return found
        characters = _characters(data, {at for hit in found for at in hit[1:]})
        return [(literal, characters[start], characters[end]) for literal, start, end in found]

    def hints_in(self, text: str) -> int:
        """How many signs of a match there are, at least; 0: there is none. Costs least of all."""
        if self._automaton is None:
            found = 0
        else:
            data = _lower(text).encode(errors="replace")
            found = len(self._automaton.find_matches_as_indexes(data))
        if self._any_open is not None and self._any_open.search(text.encode(errors="replace")):
            found += MANY_HINTS
        return found

    def may_match(self, data: bytes) -> bool:
        """Whether any of the patterns without keywords has a match."""
        return self._any_open is not None and self._any_open.search(data) is not None


def _any_of(patterns: Sequence[Pattern]) -> _Search | None:
    """One pattern that matches where any of these does."""
    if not patterns:
        return None
    found: _Search = compiled("|".join(sorted({f"(?:{p.hint})" for p in patterns})), capture=False)
    return found


def _automaton(literals: Sequence[str]) -> ahocorasick_rs.BytesAhoCorasick:
    return ahocorasick_rs.BytesAhoCorasick(
        [literal.encode(errors="replace") for literal in literals],
        implementation=ahocorasick_rs.Implementation.DFA,
    )


def _characters(data: bytes, offsets: Iterable[int]) -> dict[int, int]:
    """How many characters stand before each of some bytes."""
    characters: dict[int, int] = {}
    count = before = 0
    for offset in sorted(offsets):
        count += len(data[before:offset].decode(errors="replace"))
        characters[offset] = count
        before = offset
    return characters


def _lower(text: str) -> str:
    """Lower case, character by character: the result is as long as the text."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
