"""The tables of a run: aligned text for a person, the same figures for a machine."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.semantic.policies import Hit, Outcome
from bench.semantic.scores import Score
from bench.semantic.swaps import Swaps
from bench.semantic.trials import Trial
from cache.semantic.canonical import Form, Ineligible
from cache.semantic.canonical.wide import Wide
from cache.semantic.near_match import veto

LEGEND = """\
hits       lookups that a policy would answer; "rate" is their share of all lookups
of same    pairs only: right hits of the pairs that mean the same
new        hits that equal texts would not have given
right      precision: hits whose answer fits, of all hits, with Wilson's interval at 95 %
wrong/1k   wrong hits in 1,000 lookups"""


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU microseconds of one text, over all texts of a file, and how many words those had."""

    words: float
    canonical: float
    encode: float | None

    def __str__(self) -> str:
        encode = "" if self.encode is None else f", encode() {self.encode:.0f} us"
        return (
            f"cpu a text ({self.words:.0f} words on average): "
            f"canonical() {self.canonical:.0f} us{encode}"
        )


@dataclass(slots=True)
class Finding:
    """All that was found out about one file."""

    trial: Trial
    forms: Sequence[Form | Ineligible]
    wide: Sequence[Wide | None]
    outcome: Outcome
    scores: list[Score]
    ineligible: Counter[str]
    wide_ineligible: Counter[str]
    by_rule: dict[str, tuple[int, int]]
    costs: Costs
    swaps: Swaps | None = None

    def as_json(self) -> dict[str, object]:
        """The file for a machine to read."""
        found: dict[str, object] = {
            "file": self.trial.name,
            "kind": self.trial.kind,
            "policies": [score.as_json() for score in self.scores],
            "texts": len(self.trial.texts),
            "ineligible": dict(self.ineligible),
            "wide_ineligible": dict(self.wide_ineligible),
            "by_rule": {
                rule: {"hits": hits, "right": right} for rule, (hits, right) in self.by_rule.items()
            },
            "refusals": {
                reason: {"refused": refused, "same": same}
                for reason, (refused, same) in self.outcome.refusals.items()
            },
            "cpu_us": {
                "words": self.costs.words,
                "canonical": self.costs.canonical,
                "encode": self.costs.encode,
            },
        }
        if self.swaps is not None:
            found["swaps"] = {
                "copies": self.swaps.copies,
                "served": {policy: len(pairs) for policy, pairs in self.swaps.served.items()},
            }
        return found


def scores(finding: Finding) -> str:
    """The table of a file, what could not be looked up, and what a lookup costs."""
    trial = finding.trial
    rows = [["", "hits", "rate", "of same", "new", "right", "95 % interval", "wrong/1k"]]
    rows += [_row(score) for score in finding.scores]
    same = "" if trial.same is None else f", {trial.same:,} of the same meaning"
    lines = [f"{trial.name}: {trial.kind}, {trial.lookups:,} lookups{same}", *_aligned(rows)]
    for kind, counts in (("strict", finding.ineligible), ("wide", finding.wide_ineligible)):
        if counts:
            reasons = ", ".join(f"{why} {n:,}" for why, n in counts.most_common())
            total = f"{counts.total():,} of {len(trial.texts):,} texts"
            lines.append(f"without a {kind} key: {total} ({reasons})")
    lines.append(str(finding.costs))
    return "\n".join(lines)


def rules(finding: Finding) -> str:
    """What the rules of the wide key give beyond the strict one; a hit counts for each of its rules."""
    rows = [["tier 1b by rule", "hits", "right"]]
    counts = sorted(finding.by_rule.items(), key=lambda item: -item[1][0])
    rows += [[rule, f"{hits:,}", f"{right:,}"] for rule, (hits, right) in counts]
    return "\n".join(_aligned(rows))


def refusals(finding: Finding) -> str:
    """How often the guard refused a neighbour, and how often it refused a right one."""
    rows = [["refused by", "times", "same meaning"]]
    counts = sorted(finding.outcome.refusals.items(), key=lambda item: -item[1][0])
    rows += [[why, f"{refused:,}", f"{same:,}"] for why, (refused, same) in counts]
    return "\n".join(_aligned(rows))


def swapped(swaps: Swaps, shown: int) -> str:
    """The number swap of a file."""
    rows = [["number swap", "copies", "served", "share"]]
    rows += [
        [policy, f"{swaps.copies:,}", f"{len(pairs):,}", _percent(len(pairs) / swaps.copies)]
        for policy, pairs in swaps.served.items()
    ]
    lines = _aligned(rows) if swaps.copies else ["number swap: no text holds a number"]
    for policy, pairs in swaps.served.items():
        for original, copy in pairs[:shown]:
            lines += [f"{policy} serves", f"  cached  {original}", f"  asked   {copy}"]
    return "\n".join(lines)


def wrong(finding: Finding, shown: int, seed: int) -> str:
    """Some wrong hits of each policy, drawn at random, and what the guard says of them."""
    trial = finding.trial
    lines = []
    for policy, hits in finding.outcome.hits.items():
        bad = [hit for hit in hits if not trial.right(hit.asked, hit.served)]
        if bad:
            lines.append(f"{policy}: {min(shown, len(bad)):,} of {len(bad):,} wrong hits")
            drawn = random.Random(seed).sample(bad, min(shown, len(bad)))
            lines += [line for hit in drawn for line in _told(finding, hit)]
    return "\n".join(lines) if lines else "no policy made a wrong hit"


def _told(finding: Finding, hit: Hit) -> list[str]:
    trial = finding.trial
    a, b = finding.forms[hit.served], finding.forms[hit.asked]
    one, other = finding.wide[hit.served], finding.wide[hit.asked]
    said = [] if hit.similarity is None else [f"cosine {hit.similarity:.4f}"]
    if isinstance(a, Form) and isinstance(b, Form) and a.key == b.key:
        said.append(f"both are {a.key!r}")
    elif one is not None and other is not None and one.key == other.key:
        rules = ", ".join(dict.fromkeys((*one.rules, *other.rules)))
        said.append(f"both are {one.key!r} by the wide rules {rules}")
    elif not (isinstance(a, Form) and isinstance(b, Form)):
        reasons = [form.reason for form in (a, b) if isinstance(form, Ineligible)]
        said.append(f"no key: {reasons[0]}")
    else:
        reason = veto(b, a)
        said.append(f"guard: {reason}" if reason else "guard: none")
    return [
        f"  cached  {trial.texts[hit.served]}  [{trial.label(hit.served)}]",
        f"  asked   {trial.texts[hit.asked]}  [{trial.label(hit.asked)}]",
        f"          {', '.join(said)}",
    ]


def _row(score: Score) -> list[str]:
    interval = score.interval
    return [
        score.policy,
        f"{score.hits:,}",
        _percent(score.hit_rate),
        "" if score.recall is None else _percent(score.recall),
        f"{score.beyond_exact:,}",
        "" if score.precision is None else _percent(score.precision),
        f"{_percent(interval[0])} - {_percent(interval[1])}" if interval else "",
        f"{score.wrong_per_thousand:.2f}",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *figures in rows:
        cells = (cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *cells]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return lines
