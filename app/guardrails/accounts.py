"""What rules did to a call, in metrics and in its record."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.usage import Counts
from app.guardrails.plan import PhasePlan
from app.guardrails.reading import Reading, Report
from app.guardrails.rule import Asked
from app.guardrails.texts.walk import Text

CHECKS = "headgate_guardrail_checks_total"
MICROSECONDS = "headgate_guardrail_microseconds_total"
BYPASSES = "headgate_guardrail_bypass_total"


def count(counts: Counts, plan: PhasePlan, report: Report) -> None:
    """Count one call's checks: what each rule did, how long it took, where it was left out."""
    acted = {rule for rule, _, _ in report.actions}
    for (name, _, action), times in report.actions.items():
        counts.add(CHECKS, {"rule": name, "phase": plan.phase, "action": action}, times)
    for rule in plan.rules:
        if rule.name not in acted:
            counts.add(CHECKS, {"rule": rule.name, "phase": plan.phase, "action": "allow"}, 1)
    _count_time(counts, report)


def left_out(counts: Counts, plan: PhasePlan) -> None:
    """Count that rules which only observe did not look, because too much runs already."""
    for rule in plan.later:
        counts.add(BYPASSES, {"rule": rule.name, "reason": "busy"}, 1)


async def listen(
    counts: Counts, plan: PhasePlan, asked: Asked, texts: Sequence[Text], *, whole: bool
) -> None:
    """Let rules look that only observe, and count what they saw."""
    report = Report()
    await Reading(plan, report, asked).listen(texts, whole=whole)
    for (name, _, action), times in report.actions.items():
        counts.add(CHECKS, {"rule": name, "phase": plan.phase, "action": action}, times)
    _count_time(counts, report)


def _count_time(counts: Counts, report: Report) -> None:
    for name, seconds in report.seconds.items():
        counts.add(MICROSECONDS, {"rule": name}, max(1, round(seconds * 1e6)))
    for name, reason in report.bypassed:
        counts.add(BYPASSES, {"rule": name, "reason": reason}, 1)


def note(guardrails: dict[str, int], report: Report) -> None:
    """Write down what was done, for the record of the call."""
    for (_, what, action), times in report.actions.items():
        said = f"{what}={action}"
        guardrails[said] = guardrails.get(said, 0) + times
    for name, reason in report.bypassed:
        guardrails[f"{name}=bypass:{reason}"] = guardrails.get(f"{name}=bypass:{reason}", 0) + 1
