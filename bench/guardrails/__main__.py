"""`python -m bench.guardrails [DATA...]`: recall and false positives by kind, and what it costs."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import cast

from app.config import guardrails as sections
from app.guardrails.kinds.pii import ENTITIES
from app.guardrails.matching.scanner import Scanner
from app.guardrails.matching.view import View
from app.policy.guardrails import rule_of
from bench.failure import BenchFailureError
from bench.guardrails import costs, files, own_set
from bench.guardrails.files import Row

_HELP = """\
DATA is tab-separated text in UTF-8 with the header `label`, `text`, `kind`, in any order. Label 1 must
be caught, 0 is harmless. Without DATA it is a set of our own making. In a text \\n, \\t and \\\\ stand for a line's end, a tab and a backslash.

Every text is looked at by `secrets`, `pii` with all its entities, `injection` and `invisible`. A row
with label 1 is caught where the rule for its kind finds something, or, of a kind that is no rule's,
any rule. A row with label 0 is a false positive where `secrets` or `pii` finds something; `injection`
only observes by default, so what it finds is counted apart.
"""

# What rows of a kind are looked for by, where the kind has other names.
_NAMES = {
    "secret": "secrets", "credentials": "secrets", "credential": "secrets", "api_key": "secrets",
    "password": "secrets", "token": "secrets", "e-mail": "email", "mail": "email",
    "email_address": "email", "telephone": "phone", "phone_number": "phone", "tel": "phone",
    "credit_card": "card", "creditcard": "card", "cc": "card", "us_ssn": "ssn",
    "ip_address": "ip", "ipv4": "ip", "ipv6": "ip", "prompt_injection": "injection",
    "jailbreak": "injection",
}  # fmt: skip


class Detectors:
    """The rules, each on its own."""

    def __init__(self) -> None:
        secrets = rule_of("secrets", sections.SecretsRule())
        injection = rule_of("injection", sections.InjectionRule())
        invisible = rule_of("invisible", sections.InvisibleRule())
        rules = {"secrets": secrets, "injection": injection, "invisible": invisible}
        for entity in ENTITIES:
            rules[entity] = rule_of(
                entity, sections.PiiRule(entities=cast("tuple[sections.Entity, ...]", (entity,)))
            )
        self._scanners = {
            name: Scanner([(0, pattern) for pattern in rule.patterns])
            for name, rule in rules.items()
        }

    def found(self, text: str) -> set[str]:
        """The names of the detectors that find something."""
        return {
            name for name, scanner in self._scanners.items() if View(scanner).feed(text, final=True)
        }

    def of_kind(self, kind: str) -> str | None:
        """The detector of a kind of rows; None where it is nobody's."""
        plain = kind.strip().lower().replace(" ", "_").replace("-", "_")
        plain = _NAMES.get(plain, _NAMES.get(kind.strip().lower(), plain))
        if plain in self._scanners:
            return plain
        plain = plain.removesuffix("s")
        return plain if plain in self._scanners else None


class Tally:
    """The counts of one kind."""

    def __init__(self) -> None:
        self.harmful = self.caught = self.harmless = self.wrong = self.injection = 0


def play(rows: Iterable[Row], missed: int, wrong: int) -> tuple[dict[str, Tally], list[str]]:
    """The counts by kind, and the places of some rows that were missed or wrongly found."""
    detectors = Detectors()
    tallies: dict[str, Tally] = defaultdict(Tally)
    shown: list[str] = []
    for row in rows:
        tally, own = tallies[row.kind], detectors.of_kind(row.kind)
        found = detectors.found(row.text)
        if row.harmful:
            tally.harmful += 1
            if own in found or (own is None and found):
                tally.caught += 1
            elif missed > 0:
                missed -= 1
                shown.append(f"missed      {_said(row)}")
            continue
        tally.harmless += 1
        tally.injection += "injection" in found
        others = found - {"injection", "invisible"}
        if others:
            tally.wrong += 1
            if wrong > 0:
                wrong -= 1
                shown.append(f"false       {_said(row)}: {', '.join(sorted(others))}")
    return tallies, shown


def _said(row: Row) -> str:
    """Where a row stands, or what it is, where it stands in no file."""
    return f"{row.text!r} ({row.kind})" if row.place == "own" else f"{row.place} ({row.kind})"


def table(tallies: dict[str, Tally]) -> list[str]:
    """The counts as lines, the kinds in alphabetical order and then all of them."""
    head = ("kind", "harmful", "caught", "recall", "harmless", "false", "rate", "injection")
    lines = [_line(head)]
    total = Tally()
    for kind in sorted(tallies):
        tally = tallies[kind]
        lines.append(_line((kind, *_cells(tally))))
        for name, value in vars(tally).items():
            setattr(total, name, getattr(total, name) + value)
    lines.append(_line(("all", *_cells(total))))
    return lines


def _cells(tally: Tally) -> tuple[str, ...]:
    recall = f"{tally.caught / tally.harmful:.3f}" if tally.harmful else "-"
    rate = f"{tally.wrong / tally.harmless:.2%}" if tally.harmless else "-"
    observed = f"{tally.injection / tally.harmless:.2%}" if tally.harmless else "-"
    counts = (tally.harmful, tally.caught, recall, tally.harmless, tally.wrong, rate, observed)
    return tuple(map(str, counts))


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:<24}" + "".join(f"{cell:>10}" for cell in cells[1:])


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.guardrails",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="*", help="files, or folders of .tsv files")
    parser.add_argument("--missed", type=int, default=0, help="name so many rows that were missed")
    parser.add_argument("--wrong", type=int, default=0, help="name so many false positives")
    parser.add_argument("--no-cost", action="store_true", help="leave the cost out")
    args = parser.parse_args(argv)
    if not args.no_cost:
        print("\n".join([*costs.report(), ""]))
    try:
        rows = files.rows(args.data) if args.data else own_set.rows()
        tallies, shown = play(rows, args.missed, args.wrong)
    except BenchFailureError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join([*table(tallies), *shown]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
