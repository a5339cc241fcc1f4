"""One text on its way through a scanner, in pieces.

What is found does not depend on where the text was cut: a match is taken only when nothing that may
still come can change it, and the same rule holds for a text that is there as a whole. So a streamed
answer and a plain one are treated alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.guardrails.matching.normal_form import last_start
from app.guardrails.matching.pattern import NO_SPACE, Match, Pattern
from app.guardrails.matching.scanner import Finding, Scanner

CONTEXT = 64  # characters before a match that a check may read


class View:
    """One text on its way through a scanner.

    ``limit`` is how far nothing can be found any more that is not found yet, in characters from the
    text's beginning.
    """

    __slots__ = ("_base", "_positions", "_runs", "_scanner", "_text", "_word_limit", "limit")

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._text = ""
        self._base = 0
        self._positions: dict[int, int] = {}  # of each pattern: where it is looked for next
        self._runs: dict[int, tuple[int, str, str]] = {}  # rule, entity, characters
        self._word_limit = 0
        self.limit = 0

    def without_last(self) -> tuple[View, str, int]:
        """A view that has not seen the last character; that character, and where it begins."""
        other = View(self._scanner)
        cut = last_start(self._text)
        end = self._base + cut
        other._text, other._base = self._text[:cut], self._base
        other._positions = {index: min(at, end) for index, at in self._positions.items()}
        other._runs = dict(self._runs)
        other._word_limit, other.limit = self._word_limit, self.limit
        return other, self._text[cut:], end

    def feed(self, piece: str, *, final: bool = False, coarse: bool = False) -> list[Finding]:
        """What is found now that ``piece`` has come; with ``final``, nothing else will.

        With ``coarse`` the limit is not worked out exactly: for a text that nobody waits for.
        """
        text = self._text = self._text + piece
        findings = self._run_on(len(text) - len(piece))
        window = _Window(text)
        literals = self._scanner.literals_in(text)
        gated = self._gated_at(literals)
        limit = len(text)
        if not final:
            # The last character too, because what comes may join it: an accent, for instance.
            limit = max(0, min(limit - self._scanner.gate_hold, last_start(text)))
        for index, starts in gated.items():
            rule, pattern = self._scanner.gated[index]
            mine = _limit(pattern, text, starts, final=final, coarse=coarse)
            near = _regions(pattern, starts, len(text))
            findings += self._search(index, rule, pattern, window, mine, near)
            limit = min(limit, mine)
        limit = min(limit, self._open(window, findings, final=final, coarse=coarse))
        limit = min(limit, self._words_in(literals, findings, final=final))
        self._advance(limit)
        return findings

    def _open(self, window: _Window, findings: list[Finding], *, final: bool, coarse: bool) -> int:
        """Try the patterns without keywords; how far they are sure."""
        scanner, text = self._scanner, window.text
        limit = len(text)
        if not scanner.open:
            return limit
        found = scanner.may_match(window.data)
        offset = len(scanner.gated)
        if not found and (final or coarse):
            return limit if final else max(0, limit - scanner.widest_open)
        for index, (rule, pattern) in enumerate(scanner.open, offset):
            mine = _limit(pattern, text, None, final=final, coarse=coarse)
            if found:
                findings += self._search(index, rule, pattern, window, mine)
            limit = min(limit, mine)
        return limit

    def _gated_at(self, literals: Sequence[tuple[int, int, int]]) -> dict[int, list[int]]:
        """Which patterns have a keyword here, and where their keywords begin."""
        starts: dict[int, list[int]] = {}
        for literal, start, _ in literals:
            for index in self._scanner.of_literal[literal][0]:
                starts.setdefault(index, []).append(start)
        return starts

    def _search(
        self,
        index: int,
        rule: int,
        pattern: Pattern,
        window: _Window,
        limit: int,
        regions: Iterable[tuple[int, int]] = (),
    ) -> list[Finding]:
        """The findings of a pattern that begin before character ``limit``, within ``regions``."""
        base = self._base
        at = max(self._positions.get(index, 0), self.limit) - base
        findings: list[Finding] = []

        def end_of(start: int) -> int:
            return window.byte(window.character(start) + pattern.width)

        for begin, end in regions or ((0, limit),):
            if max(at, begin) >= min(limit, end):
                continue
            position, stop = window.byte(max(at, begin)), window.byte(min(limit, end))
            while position < stop and index not in self._runs:
                match = pattern.search(window.data, position, stop, end_of)
                if match is None:
                    break
                finding = self._finding(index, rule, pattern, window, match)
                findings.append(finding)
                position = max(match.end, window.byte(finding.end - base))
                at = window.character(position)
        self._positions[index] = base + max(limit, at)
        return findings

    def _finding(
        self, index: int, rule: int, pattern: Pattern, window: _Window, match: Match
    ) -> Finding:
        start, end = window.character(match.found_start), window.character(match.found_end)
        run = pattern.run
        if not pattern.exact and window.character(match.end) - window.character(match.start) >= (
            pattern.width
        ):
            run = NO_SPACE  # cut at its greatest width: what hangs on to it goes with it
        if run:
            end = _run_end(window.text, end, run)
            if end == len(window.text):
                self._runs[index] = (rule, pattern.entity, run)
        return Finding(self._base + start, self._base + end, rule, pattern.entity)

    def _run_on(self, at: int) -> list[Finding]:
        """What new text, from local character ``at``, adds to findings that were not at their end."""
        findings = []
        for index, (rule, entity, run) in list(self._runs.items()):
            end = _run_end(self._text, at, run)
            if end < len(self._text):
                del self._runs[index]
            findings.append(Finding(self._base + at, self._base + end, rule, entity, more=True))
            self._positions[index] = self._base + end
        return [finding for finding in findings if finding.end > finding.start]

    def _words_in(
        self, literals: Sequence[tuple[int, int, int]], findings: list[Finding], *, final: bool
    ) -> int:
        """The words found whose end is sure; how far they are."""
        scanner, text = self._scanner, self._text
        if not scanner.words:
            return len(text)
        limit = len(text) if final else max(0, len(text) - scanner.longest_word)
        begin = self._word_limit - self._base
        for literal, start, end in literals:
            if not begin <= start < limit:
                continue
            for index, word in scanner.of_literal[literal][1]:
                rule, group = scanner.words[index]
                if group.cased and text[start:end] != word:
                    continue
                if group.whole and not (_apart(text, start, -1) and _apart(text, end, 0)):
                    continue
                findings.append(Finding(self._base + start, self._base + end, rule, group.entity))
        self._word_limit = max(self._word_limit, self._base + limit)
        return limit

    def _advance(self, limit: int) -> None:
        """Forget what neither a match nor its context can reach any more."""
        self.limit = max(self.limit, self._base + limit)
        spare = self.limit - self._base - CONTEXT
        if spare > 0:
            self._text = self._text[spare:]
            self._base += spare
        if self._positions:
            self._positions = {i: at for i, at in self._positions.items() if at > self.limit}

    @property
    def reach(self) -> int:
        """How many characters are kept: those that wait, and their context."""
        return len(self._text)


class _Window:
    """A text with its bytes, and the way between their offsets."""

    __slots__ = ("_ascii", "_at_byte", "_at_character", "data", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode(errors="replace")
        self._ascii = len(self.data) == len(text)
        # The last way gone: most of them begin near the one before.
        self._at_byte = self._at_character = 0

    def byte(self, character: int) -> int:
        if character >= len(self.text):
            return len(self.data)
        if self._ascii or character <= 0:
            return max(0, character)
        if character >= self._at_character:
            between = self.text[self._at_character : character].encode(errors="replace")
            byte = self._at_byte + len(between)
        else:
            byte = len(self.text[:character].encode(errors="replace"))
        self._at_byte, self._at_character = byte, character
        return byte

    def character(self, byte: int) -> int:
        if self._ascii:
            return byte
        if byte >= self._at_byte:
            between = self.data[self._at_byte : byte].decode(errors="replace")
            character = self._at_character + len(between)
        else:
            character = len(self.data[:byte].decode(errors="replace"))
        self._at_byte, self._at_character = byte, character
        return character


def _limit(
    pattern: Pattern,
    text: str,
    keyword_starts: Sequence[int] | None,
    *,
    final: bool,
    coarse: bool,
) -> int:
    """Before which character no match can begin that is not whole yet."""
    if final:
        return len(text)
    limit = len(text) - pattern.width
    if coarse:
        return max(0, limit)
    if pattern.alphabet is not None:
        limit = max(limit, len(text.rstrip(pattern.alphabet)))
    if keyword_starts is not None:
        unfinished = len(text) - max(map(len, pattern.keywords)) + 1
        near = [start for start in keyword_starts if start >= len(text) - pattern.width]
        limit = max(limit, min([unfinished, *near]) - pattern.lead)
    return max(0, limit)


def _regions(pattern: Pattern, starts: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Where matches can begin, by the places of the keywords; nothing: anywhere.

    Trying a place costs as much as looking through a kibibyte, so of many places none is picked.
    """
    if len(starts) > size >> 9:
        return []
    regions: list[tuple[int, int]] = []
    for start in sorted(starts):
        begin = start - pattern.lead
        if regions and begin <= regions[-1][1]:
            regions[-1] = (regions[-1][0], start + 1)
        else:
            regions.append((begin, start + 1))
    return regions


def _run_end(text: str, at: int, run: str) -> int:
    if run == NO_SPACE:
        end = at
        while end < len(text) and not text[end].isspace():
            end += 1
        return end
    return len(text) - len(text[at:].lstrip(run))


def _apart(text: str, at: int, side: int) -> bool:
    """Whether a word's edge is one: the character beyond is no letter and no digit."""
    index = at + side
    return not 0 <= index < len(text) or not (text[index].isalnum() or text[index] == "_")
