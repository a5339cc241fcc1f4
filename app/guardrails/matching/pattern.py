"""One thing to look for: an RE2 pattern, how wide its matches are, and what must hold beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import re2

from app.guardrails.matching.pattern_shape import Alphabet, shape_of

MAX_MATCH = 256  # characters of a match whose repeats have no end
MEMORY = 64 << 20  # of one compiled pattern; RE2 goes on without its automaton beyond it
NO_SPACE = "\0"  # as a run: everything up to the next white space

# What of a match counts, as a span of bytes in the text; None where it is no finding after all.
Check = Callable[[bytes, int, int], tuple[int, int] | None]


class BadPattern(ValueError):
    """RE2 does not take this pattern, or it could never match."""


class Pattern:
    """Looks for ``regex``; ``entity`` names what it finds.

    With ``keywords`` (lower case), one of them begins within ``lead`` characters of a match's start:
    where none is in a text, the pattern is not tried. ``group`` is what a finding covers. ``run`` are
    characters by which a finding goes on as long as they follow. ``check`` has the last word.
    ``hint`` is a cheaper pattern that matches wherever this one does.
    """

    __slots__ = (
        "_group",
        "_regex",
        "alphabet",
        "check",
        "entity",
        "exact",
        "hint",
        "keywords",
        "lead",
        "run",
        "width",
    )

    def __init__(
        self,
        entity: str,
        regex: str,
        *,
        keywords: Iterable[str] = (),
        lead: int = 0,
        group: int = 0,
        run: str = "",
        check: Check | None = None,
        max_match: int = MAX_MATCH,
        hint: str = "",
    ) -> None:
        self.entity = entity
        self.hint = hint or regex
        self._regex = compiled(regex)
        shape = shape_of(regex)
        if shape.narrowest > max_match:
            raise BadPattern(
                f"matches {shape.narrowest} characters at least, and `max_match` is {max_match}"
            )
        self.exact = shape.widest is not None and shape.widest <= max_match
        self.width = max(1, shape.widest if self.exact and shape.widest else max_match)
        self.alphabet = _stripped(shape.alphabet)
        self.keywords = tuple(keywords)
        self.lead = lead
        self.run = run
        self.check = check
        self._group = group

    def search(self, data: bytes, at: int, stop: int, end_of: Callable[[int], int]) -> Match | None:
        """The first finding whose match begins at byte ``at`` or later, and before ``stop``.

        ``end_of`` says where a match that begins at some byte must end.
        """
        check = self.check
        while True:
            found = self._next(data, at, stop, end_of)
            if found is None:
                return None
            start, end = found.span()
            if start >= stop:
                return None
            if not self.exact:
                found = self._regex.match(data, start, end_of(start))
                end = found.end() if found is not None else start
            # What is empty is no finding; RE2 finds it everywhere.
            if found is not None and end > start:
                span = found.span(self._group) if self._group else (start, end)
                if span[0] < 0:
                    span = start, end
                checked = span if check is None else check(data, *span)
                if checked is not None:
                    return Match(start, end, *checked)
            at = start + 1
            while at < len(data) and data[at] & 0xC0 == 0x80:
                at += 1  # to the next character

    def _next(self, data: bytes, at: int, stop: int, end_of: Callable[[int], int]) -> Any:
        """Where RE2 finds it next. A repeat without an end is looked for in stretches: else every
        place where it could begin would be followed to the end of the text."""
        if self.exact:
            return self._regex.search(data, at, end_of(stop))
        while at < stop:
            most = end_of(at)
            found = self._regex.search(data, at, end_of(most))
            if found is not None and found.start() < most:
                return found
            at = most
        return None


class Match:
    """Where a pattern matched and what of it counts, in bytes."""

    __slots__ = ("end", "found_end", "found_start", "start")

    def __init__(self, start: int, end: int, found_start: int, found_end: int) -> None:
        self.start = start
        self.end = end
        self.found_start = found_start
        self.found_end = found_end


def compiled(regex: str, *, capture: bool = True) -> Any:
    """A pattern as RE2 has it. Raises BadPattern, with RE2's own reason."""
    options = re2.Options()
    options.max_mem = MEMORY
    options.log_errors = False
    options.never_capture = not capture
    try:
        return re2.compile(regex, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        if isinstance(reason, bytes):
            reason = reason.decode(errors="replace")
        raise BadPattern(f"RE2 cannot do it: {reason}") from None


def _stripped(alphabet: Alphabet) -> str | None:
    """An alphabet as ``str.rstrip`` takes it."""
    return None if alphabet is None else "".join(sorted(alphabet))
