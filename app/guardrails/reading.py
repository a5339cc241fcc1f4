"""Whole texts under the rules of a phase: what they become, or why they may not go on.

Long texts are read in pieces, and others have their turn between them, so that a mebibyte never
stops the loop. A text in pieces gives what it gives as a whole (see ``scanner``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from time import perf_counter

from app.core.errors import GuardrailBlocked, GuardrailUnavailable, Problem
from app.guardrails.answers.redactor import Found, Redactor, Replace
from app.guardrails.matching.normal_form import differs
from app.guardrails.matching.scanner import Finding, Scanner
from app.guardrails.matching.view import View
from app.guardrails.plan import PhasePlan
from app.guardrails.rule import Asked, RemoteFailure, Rule
from app.guardrails.texts.walk import Text

AT_ONCE = 16 << 10  # characters of a text that is looked at as a whole first,
FEW_HINTS = 16  # and more closely where it has so few words that a rule begins with
PIECE = 4096  # characters looked at without a pause, and
SMALL_PIECE = 256  # where they are full of matches
SLOW_SECONDS = 0.001
TURN_SECONDS = 0.001  # after which others have theirs


class Report:
    """What the rules did to one call. ``said`` goes to the caller, ``observed`` to the record only."""

    __slots__ = ("actions", "bypassed", "observed", "seconds")

    def __init__(self) -> None:
        self.actions: dict[tuple[str, str, str], int] = {}  # rule, what it found, action
        self.observed: dict[str, int] = {}
        self.bypassed: list[tuple[str, str]] = []  # rule, reason
        self.seconds: dict[str, float] = {}

    def act(self, rule: Rule, entity: str, action: str) -> None:
        key = (rule.name, rule.says(entity), action)
        self.actions[key] = self.actions.get(key, 0) + 1

    def header(self) -> bytes:
        """What was done, as ``pii.email=redact, no-secrets=block``; nothing that only observes."""
        said = {
            f"{what}={action}" for _, what, action in self.actions if action in ("redact", "block")
        }
        return ", ".join(sorted(said)).encode()


class Reading:
    """Reads the texts of one phase of a call. ``asked`` is for whom rules beyond a network are asked."""

    def __init__(self, plan: PhasePlan, report: Report, asked: Asked) -> None:
        self._plan = plan
        self._report = report
        self._asked = asked
        self._turn = perf_counter()

    async def read(
        self, texts: Sequence[Text], joined: Sequence[Sequence[int]] = ()
    ) -> dict[int, str]:
        """The new texts by position, where one changes.

        Raises GuardrailBlocked and GuardrailUnavailable.
        """
        began = perf_counter()
        try:
            changed: dict[int, str] = {}
            for position, text in enumerate(texts):
                await self._whole(text)
                new = await self._one(text)
                if new != text.text:
                    changed[position] = new
            for group in joined:
                await self._across(texts, group, changed)
        finally:
            spent = perf_counter() - began
            self._report.seconds["local"] = self._report.seconds.get("local", 0.0) + spent
        for _, rule in self._plan.remote:
            if rule.mode != "observe":
                await self.ask(rule, texts, changed)
        return changed

    async def listen(self, texts: Sequence[Text], *, whole: bool) -> None:
        """Let the rules that only observe, and nobody waits for, have their look.

        With ``whole``, those too that need whole texts.
        """
        for rule in self._plan.later:
            await self.ask(rule, texts)
        if whole:
            for text in texts:
                for _, rule in self._plan.whole:
                    entity = rule.whole(text.text) if rule.whole is not None else None
                    if entity is not None and rule.mode == "observe":
                        self._report.act(rule, entity, "observe")
                    await self.pause()

    def blocked(self, rule: Rule, entity: str, param: str | None) -> GuardrailBlocked:
        self._report.act(rule, entity, "block")
        return blocked(rule, self._plan.phase, param, self._report)

    async def _one(self, text: Text) -> str:
        """One text under the patterns and words."""
        plan = self._plan
        if plan.watching is not None and not _holds_nothing(plan.watching, text):
            await self._watch(plan.watching, text.text)
        if plan.acting is None or _holds_nothing(plan.acting, text):
            return text.text

        def label_of(finding: Finding) -> str | None:
            return None if text.name else plan.label_of(finding)

        seen = Seen(plan, self._report, label_of)
        reader = plan.filter_of(seen.label_of, json=text.json)
        out = []
        try:
            async for piece, final in self._pieces(text.text):
                out.append(reader.feed(piece, final=final, coarse=True))
        except Found as found:
            finding = found.finding
            raise self.blocked(plan.rules[finding.rule], finding.entity, text.param) from None
        return "".join(out)

    async def _watch(self, scanner: Scanner, text: str) -> None:
        view = View(scanner)
        async for piece, final in self._pieces(text):
            self.observe(view.feed(piece, final=final, coarse=True))

    def observe(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            if not finding.more:
                self._report.act(self._plan.rules[finding.rule], finding.entity, "observe")

    async def _whole(self, text: Text) -> None:
        """One text under the rules that need it whole."""
        if text.name:
            return
        for _, rule in self._plan.longest:
            if rule.longest is not None and len(text.text) > rule.longest:
                self.broken(rule, "", text.param)
        for _, rule in self._plan.whole:
            assert rule.whole is not None
            entity = rule.whole(text.text)
            await self.pause()
            if entity is not None:
                self.broken(rule, entity, text.param)

    def broken(self, rule: Rule, entity: str, param: str | None) -> None:
        if rule.mode == "observe":
            self._report.act(rule, entity, "observe")
        else:
            raise self.blocked(rule, entity, param)

    async def _across(
        self, texts: Sequence[Text], group: Sequence[int], changed: dict[int, str]
    ) -> None:
        """What begins in one text and ends in another: the model reads them as one."""
        plan = self._plan
        if plan.acting is None:
            return
        pieces = [changed.get(position, texts[position].text) for position in group]
        if _holds_nothing(plan.acting, texts[group[0]]._replace(text="".join(pieces))):
            return
        edges, length = [], 0
        for piece in pieces:
            length += len(piece)
            edges.append(length)
        redactor = Redactor(plan.acting, lambda _: "")
        for index, piece in enumerate(pieces):
            last = index == len(pieces) - 1
            async for part, at_end in self._pieces(piece):
                try:
                    steps = redactor.feed(part, final=last and at_end, coarse=True)
                except Found:
                    return  # in the normal form alone: each text was read in it already
                for step in steps:
                    if isinstance(step, Replace):
                        self._crossing(step.finding, edges, texts[group[0]])

    def _crossing(self, finding: Finding, edges: Sequence[int], text: Text) -> None:
        """Refuse what lies over an edge: it cannot be cut out of one text."""
        if any(finding.start < edge < finding.end for edge in edges):
            raise self.blocked(self._plan.rules[finding.rule], finding.entity, text.param)

    async def ask(
        self, rule: Rule, texts: Sequence[Text], changed: dict[int, str] | None = None
    ) -> None:
        """Ask a rule beyond the network about the texts as they are by now; notes in ``changed`` what
        it makes of them. Raises GuardrailBlocked and GuardrailUnavailable."""
        changed = {} if changed is None else changed
        assert rule.remote is not None
        positions = [i for i, text in enumerate(texts) if not text.name]
        sent = [changed.get(i, texts[i].text) for i in positions]
        if not sent:
            return
        began = perf_counter()
        try:
            verdict = await rule.remote(self._asked, sent)
        except RemoteFailure as failure:
            if rule.fails_open or rule.mode == "observe":
                self._report.bypassed.append((rule.name, str(failure)))
                return
            raise GuardrailUnavailable(
                f"The guardrail `{rule.name}` gave no verdict: {failure}."
            ) from None
        finally:
            spent = self._report.seconds.get(rule.name, 0.0)
            self._report.seconds[rule.name] = spent + perf_counter() - began
        if verdict.action == "allow":
            return
        if rule.mode == "observe":
            self._report.act(rule, verdict.entity, "observe")
        elif verdict.action == "block" or rule.mode == "block":
            raise self.blocked(rule, verdict.entity, texts[positions[0]].param)
        else:
            self._report.act(rule, verdict.entity, "redact")
            for position, new in zip(positions, verdict.texts, strict=True):
                if new != changed.get(position, texts[position].text):
                    changed[position] = new

    async def _pieces(self, text: str) -> AsyncIterator[tuple[str, bool]]:
        """A text in pieces, and whether each is the last; others have their turn between two."""
        size, at = SMALL_PIECE * 2, 0
        while True:
            end = at + size
            began = perf_counter()
            yield text[at:end], end >= len(text)
            at = end
            if at >= len(text):
                return
            spent = perf_counter() - began
            size = max(SMALL_PIECE, size // 2) if spent > SLOW_SECONDS else min(PIECE, size * 2)
            await self.pause()

    async def pause(self) -> None:
        if perf_counter() - self._turn > TURN_SECONDS:
            await asyncio.sleep(0)
            self._turn = perf_counter()


def _holds_nothing(scanner: Scanner, text: Text) -> bool:
    """Whether a look at a short text as a whole shows that nothing is in it; False says nothing.

    Most texts are so, and to see it costs a third of reading them in pieces.
    """
    content = text.text
    if len(content) > AT_ONCE or (text.json and "\\" in content) or differs(content):
        return False
    hints = scanner.hints_in(content)
    if hints == 0:
        return True
    return hints <= FEW_HINTS and not View(scanner).feed(content, final=True)


class Seen:
    """Notes in a report what a filter finds."""

    __slots__ = ("_label_of", "_plan", "_report")

    def __init__(
        self, plan: PhasePlan, report: Report, label_of: Callable[[Finding], str | None]
    ) -> None:
        self._plan = plan
        self._report = report
        self._label_of = label_of

    def label_of(self, finding: Finding) -> str | None:
        label = self._label_of(finding)
        if label is not None and not finding.more:
            self._report.act(self._plan.rules[finding.rule], finding.entity, "redact")
        return label


def blocked(rule: Rule, phase: str, param: str | None, report: Report) -> GuardrailBlocked:
    """The refusal of a text by a rule."""
    where = f" in `{param}`" if param else ""
    message = f"The guardrail `{rule.name}` refuses the {phase}{where}."
    headers = [(b"x-headgate-guardrails", report.header())] if report.header() else []
    return GuardrailBlocked(
        message, param=param, details=[Problem(param, message)], headers=headers
    )
