"""What of one text may go on, and with what in the place of what a rule found.

Pure, and fed in pieces: it answers with steps over the text's characters, so that the same decision
serves a plain text and one that stands escaped in JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.guardrails.matching.normal_form import NormalForm, Segment, differs
from app.guardrails.matching.scanner import Finding, Scanner
from app.guardrails.matching.view import View

MOST_HELD = 64 << 10  # characters; only a flood of what nobody sees makes more wait
UNREADABLE = "unreadable"


class Keep(NamedTuple):
    """So many characters go on as they are."""

    size: int


class Replace(NamedTuple):
    """So many characters do not, and ``label`` stands for them (empty: a replacement goes on)."""

    size: int
    label: str
    finding: Finding


Step = Keep | Replace


class Found(Exception):
    """The text may not go on: a rule that blocks has found something, or one that redacts what it cannot cut out."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.entity)
        self.finding = finding


class Redactor:
    """One text under rules of which ``label_of`` gives the replacement; None: the rule blocks.

    Matches are looked for in the text as it is, and in its normal form. A match in the normal form
    alone cannot be cut out of the text, so it blocks.
    """

    __slots__ = (
        "_covered",
        "_done",
        "_folded",
        "_label_of",
        "_length",
        "_queue",
        "_spans",
        "_unseen",
        "_view",
    )

    def __init__(self, scanner: Scanner, label_of: Callable[[Finding], str | None]) -> None:
        self._label_of = label_of
        self._view = View(scanner)
        self._folded: _Folded | None = None
        self._queue: list[tuple[Finding, str]] = []  # what was found, and what stands for it
        self._spans: list[tuple[int, int]] = []  # what was replaced, while the normal form needs it
        self._unseen: list[Finding] = []  # in the normal form, and not yet in the text as it is
        self._length = 0
        self._done = 0  # characters decided
        self._covered = 0  # how far the last replacement goes

    @property
    def held(self) -> int:
        """How many characters wait for a decision."""
        return self._length - self._done

    def feed(self, piece: str, *, final: bool = False, coarse: bool = False) -> list[Step]:
        """The steps over the characters that are decided now. Raises Found.

        With ``coarse`` they may be fewer than could be, which costs less.
        """
        self._length += len(piece)
        if self._folded is None and piece and differs(piece):
            # What came before is its own normal form: the second reading goes on from the first.
            self._folded = _Folded(self._view)
            self._spans = [(self._done, self._covered)]
        for finding in self._view.feed(piece, final=final, coarse=coarse):
            label = self._label_of(finding)
            if label is None:
                raise Found(finding)
            self._queue.append((finding, label))
        limit = self._view.limit
        if self._folded is not None:
            limit = min(limit, self._check_folded(piece, final=final))
        steps = self._steps(limit)
        if self.held > MOST_HELD:
            raise Found(Finding(self._done, self._length, 0, UNREADABLE))
        return steps

    def _steps(self, limit: int) -> list[Step]:
        """Over the characters up to ``limit``; findings that begin before it are all known."""
        self._queue.sort(key=_order)
        steps: list[Step] = []
        at = self._done
        waiting: list[tuple[Finding, str]] = []
        for finding, label in self._queue:
            if finding.start >= limit:
                waiting.append((finding, label))
                continue
            covered = self._covered
            end = min(covered, finding.start)
            if end > at:
                steps.append(Replace(end - at, "", finding))
                at = end
            fresh = finding.start >= covered and not (finding.more and finding.start == covered)
            if fresh:
                if finding.start > at:
                    steps.append(Keep(finding.start - at))
                    at = finding.start
                steps.append(Replace(0, label, finding))
            self._covered = max(covered, finding.end)
            if self._folded is not None:
                self._spans.append((finding.start, finding.end))
            end = min(self._covered, limit)
            if end > at:
                steps.append(Replace(end - at, "", finding))
                at = end
        self._queue = waiting
        end = min(self._covered, limit)
        if end > at:
            steps.append(Replace(end - at, "", Finding(at, end, 0, "", more=True)))
            at = end
        if limit > at:
            steps.append(Keep(limit - at))
        self._done = max(self._done, limit)
        return steps

    def _check_folded(self, piece: str, *, final: bool) -> int:
        """How far the normal form is sure. Raises Found for a match that is in it alone."""
        folded = self._folded
        assert folded is not None
        self._unseen += folded.feed(piece, final=final)
        limit = min(folded.limit, self._view.limit)
        replaced = [(f.start, f.end) for f, _ in self._queue] + self._spans
        waiting = []
        for finding in self._unseen:
            if finding.start >= self._view.limit and not final:
                waiting.append(finding)  # it may be found in the text as it is, too
                limit = min(limit, finding.start)
            elif not _within(finding, replaced):
                raise Found(finding)
        self._unseen = waiting
        self._spans = [span for span in self._spans if span[1] > limit]
        return limit


class _Folded:
    """The second reading: a text in normal form, and which of its characters came from where.

    ``limit`` is in characters of the text itself.
    """

    __slots__ = ("_form", "_next", "_origins", "_position", "_view", "limit")

    def __init__(self, view: View) -> None:
        """Goes on from ``view``, whose text is its own normal form so far."""
        self._form = NormalForm()
        self.limit = view.limit
        self._view, last, at = view.without_last()
        self._next = at  # of the text itself
        self._position = at  # of the normal form
        self._origins: list[tuple[int, int, int, int]] = []  # normal and own begin, and sizes
        self._form.feed(last)  # which waits for what may join it

    def feed(self, piece: str, *, final: bool) -> list[Finding]:
        """The findings that are sure, in characters of the text itself."""
        found = self._take(self._form.feed(piece, final=final), final=final)
        limit = self._view.limit
        self.limit = self._own(limit)[0] if limit < self._position else self._next
        # Findings refer to what is before the limit by a match's width at most.
        keep = limit - 2 * self._view.reach - 1
        self._origins = [origin for origin in self._origins if origin[0] + origin[2] > keep]
        return found

    def _take(self, segments: Sequence[Segment], *, final: bool) -> list[Finding]:
        normal = []
        for segment in segments:
            size = len(segment.normal)
            self._origins.append((self._position, self._next, size, segment.size))
            self._position += size
            self._next += segment.size
            normal.append(segment.normal)
        findings = self._view.feed("".join(normal), final=final)
        return [
            f._replace(start=self._own(f.start)[0], end=self._own(f.end - 1)[1]) for f in findings
        ]

    def _own(self, position: int) -> tuple[int, int]:
        """Where the character of the normal form begins and ends in the text itself."""
        for begin, own, size, own_size in self._origins:
            if begin <= position < begin + size:
                if size == own_size:
                    return own + position - begin, own + position - begin + 1
                return own, own + own_size
        return position, position + 1


def _order(queued: tuple[Finding, str]) -> tuple[int, bool, int, int]:
    finding = queued[0]
    return finding.start, not finding.more, finding.rule, finding.end


def _within(finding: Finding, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether what was found is all replaced already."""
    at = finding.start
    for start, end in sorted(spans):
        if start <= at < end:
            at = end
    return at >= finding.end
