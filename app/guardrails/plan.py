"""The rules of one phase of a call, put together so that a text is looked through once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from app.guardrails.answers.redactor import UNREADABLE
from app.guardrails.answers.text_filter import JsonFilter, PlainFilter, TextFilter
from app.guardrails.matching.scanner import Finding, Scanner
from app.guardrails.rule import Phase, Rule

MOST_PLANS = 4096  # combinations of rules kept ready


class PhasePlan:
    """The rules of a phase. ``acting`` block or redact, ``watching`` only observe.

    ``whole`` are the rules that need a text as a whole, ``later`` those that are asked without
    anybody waiting for them.
    """

    def __init__(self, phase: Phase, rules: Sequence[Rule]) -> None:
        self.phase = phase
        self.rules = tuple(rules)
        acting = [(i, rule) for i, rule in enumerate(rules) if rule.mode != "observe"]
        watching = [(i, rule) for i, rule in enumerate(rules) if rule.mode == "observe"]
        self.acting = _scanner(acting)
        self.watching = _scanner(watching)
        self.whole = [(i, rule) for i, rule in enumerate(rules) if rule.whole is not None]
        self.remote = [(i, rule) for i, rule in enumerate(rules) if rule.remote is not None]
        self.later = [rule for _, rule in self.remote if rule.mode == "observe"]
        self.windowed = [r for _, r in self.remote if r.mode != "observe" and r.window is not None]
        self.longest = [(i, rule) for i, rule in enumerate(rules) if rule.longest is not None]
        self.refuses = [rule for rule in rules if rule.unscannable == "refuse"]
        self.detokenizes = [rule for rule in rules if rule.unscannable == "detokenize"]

    @property
    def hears_all(self) -> bool:
        """Whether rules that only observe need a stream as a whole."""
        return any(rule.mode == "observe" for _, rule in (*self.whole, *self.remote))

    @property
    def needs_all(self) -> bool:
        """Whether a stream must be whole before any of it may go on."""
        return any(
            rule.mode != "observe" and rule.window is None
            for _, rule in (*self.whole, *self.remote)
        )

    def label_of(self, finding: Finding) -> str | None:
        """What stands in the place of a finding; None where it blocks."""
        rule = self.rules[finding.rule]
        if rule.mode != "redact" or finding.entity == UNREADABLE:
            return None
        return rule.label(finding.entity)

    def filter_of(self, label_of: Callable[[Finding], str | None], *, json: bool) -> TextFilter:
        """A filter for one text, under the rules that act."""
        scanner = self.acting or Scanner([])
        return (JsonFilter if json else PlainFilter)(scanner, label_of)


class GuardPlan(NamedTuple):
    """The rules of a call. ``policy`` is what an answer must have passed; empty: nothing."""

    input: PhasePlan | None
    output: PhasePlan | None
    policy: bytes


class GuardPlans:
    """The plan of every key and model; a caller may add the rules that wait to be asked for."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._on_request = frozenset(rule.name for rule in self._rules if rule.on_request)
        self._plans: dict[tuple[str, ...], GuardPlan] = {}
        self._names: dict[tuple[str, str, str, frozenset[str]], tuple[str, ...]] = {}

    def unknown(self, asked: Iterable[str]) -> list[str]:
        """Which of these names are no rules that a caller can ask for."""
        return [name for name in asked if name not in self._on_request]

    def of(self, model: str, tenant: str, key: str, asked: frozenset[str]) -> GuardPlan:
        """The rules for a key's requests for a model."""
        place = (model, tenant, key, asked)
        names = self._names.get(place)
        if names is None:
            if len(self._names) >= MOST_PLANS:
                self._names.clear()
            names = self._names[place] = tuple(
                rule.name
                for rule in self._rules
                if rule.scope.covers(model, tenant, key)
                and (not rule.on_request or rule.name in asked)
            )
        plan = self._plans.get(names)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            plan = self._plans[names] = self._plan(names)
        return plan

    def _plan(self, names: tuple[str, ...]) -> GuardPlan:
        rules = [rule for rule in self._rules if rule.name in names]
        phases = {
            phase: [rule for rule in rules if phase in rule.phases] for phase in ("input", "output")
        }
        changing = [rule.identity for rule in phases["output"] if rule.mode != "observe"]
        policy = blake2b(b"".join(changing), digest_size=16).digest() if changing else b""
        return GuardPlan(
            PhasePlan("input", phases["input"]) if phases["input"] else None,
            PhasePlan("output", phases["output"]) if phases["output"] else None,
            policy,
        )


def _scanner(rules: Sequence[tuple[int, Rule]]) -> Scanner | None:
    patterns = [(index, pattern) for index, rule in rules for pattern in rule.patterns]
    words = [(index, group) for index, rule in rules for group in rule.words]
    return Scanner(patterns, words) if patterns or words else None
