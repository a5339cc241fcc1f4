"""`python -m bench.semantic DATA...`: plays labelled texts through the semantic cache's rules."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.failure import BenchFailureError
from bench.semantic import files, report
from bench.semantic.policies import (
    ALL_TIERS,
    COSINES,
    TIER_1,
    TIER_1B,
    TIER_2,
    by_rule,
    ineligible,
    play,
    score,
)
from bench.semantic.swaps import swaps
from bench.semantic.trials import Trial
from cache.semantic.canonical import Form, Ineligible, Reading, read
from cache.semantic.canonical.wide import Wide
from cache.semantic.encoders.local import EncoderUnavailable, LocalEncoder
from cache.semantic.index import MAX_NEIGHBOURS

_HELP = f"""\
DATA is tab-separated text in UTF-8 with a header line. The header's names decide:

label, a, b    pairs; label is 1 where one answer fits both texts, else 0. Each pair is one lookup:
               a is cached, b is asked.
intent, text   a stream. The texts come in a random order that --seed fixes; each looks up all that
               came before it, and the nearest one is served. A hit is right when the intents are
               equal; of the intent "oos" (out of scope) only when the texts are, but for case and
               white space. Equal intent is weaker than equal answer: read some hits with --wrong.

Other columns are ignored. There is no quoting: a tab or a line end cannot be part of a text.

policies:
exact          equal texts, but for runs of white space
tier 1         equal strict keys
tier 1 + 2     tier 1; then the neighbours at or over --threshold, the nearest first, until the
               guard lets one pass
tier 1 + 1b    tier 1; then equal wide keys; and so on
cosine >= x    the nearest neighbour at or over x, whatever it says: what others ship
Similarities are those of the local encoder; the last two kinds need the extra `semantic`.

columns:
{report.LEGEND}

examples:
  python -m bench.semantic questions.tsv
  python -m bench.semantic folder/ more.tsv --swap-numbers --json found.json
  python -m bench.semantic questions.tsv --wrong 20 --vetoes

The exit status is 1 where a swapped number was served by a tier, 2 where nothing was measured.
"""

Say = Callable[[str], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures every file and prints its tables."""
    args = _arguments(argv)
    say = _clock()
    try:
        trials = files.trials(args.data, args.seed)
    except BenchFailureError as error:
        print(error, file=sys.stderr)
        return 2
    encoder = _encoder(say)
    findings = []
    try:
        for trial in trials:
            finding = _measured(trial, encoder, args, say)
            findings.append(finding)
            print(_told(finding, args), flush=True)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    if args.json:
        facts = {
            "seed": args.seed,
            "threshold": args.threshold,
            "nearest": args.nearest,
            "encoder": encoder.identity if encoder else None,
            "files": [finding.as_json() for finding in findings],
        }
        args.json.write_text(json.dumps(facts, indent=2) + "\n")
    return 1 if any(map(_served_a_swap, findings)) else 0


def _measured(
    trial: Trial, encoder: LocalEncoder | None, args: argparse.Namespace, say: Say
) -> report.Finding:
    texts = trial.texts
    say(f"{trial.name}: {len(texts):,} texts")
    began = time.process_time()
    readings = [read(text) for text in texts]
    forms = [reading.strict for reading in readings]
    wide = [reading.wide for reading in readings]
    canonical_us = 1e6 * (time.process_time() - began) / len(texts)
    encode_us = near = None
    if encoder:
        from bench.semantic.nearest import matrix, neighbours  # noqa: PLC0415 - numpy is an extra's

        began = time.process_time()
        vectors = [encoder.encode(text) for text in texts]
        encode_us = 1e6 * (time.process_time() - began) / len(texts)
        rows = matrix(vectors, encoder.dimensions)
        floor = min(args.threshold, *COSINES)
        # More of them, since those that are not eligible fall out before the guard sees them.
        near = neighbours(trial, rows, floor, 4 * args.nearest, say)
    outcome = play(trial, forms, near, args.threshold, args.nearest, wide)
    words = sum(len(text.split()) for text in texts) / len(texts)
    finding = report.Finding(
        trial,
        forms,
        wide,
        outcome,
        [score(trial, policy, outcome) for policy in outcome.hits],
        ineligible(forms),
        ineligible([why(reading) for reading in readings]),
        by_rule(trial, outcome, wide),
        report.Costs(words, canonical_us, encode_us),
    )
    if args.swap_numbers:
        say(f"{trial.name}: swapping numbers")
        finding.swaps = swaps(texts, encoder, args.threshold, args.seed)
    return finding


def why(reading: Reading) -> Wide | Form | Ineligible:
    """The wide key, or why there is none."""
    if reading.wide is None and isinstance(reading.strict, Form):
        return Ineligible("few_words")
    return reading.wide or reading.strict


def _told(finding: report.Finding, args: argparse.Namespace) -> str:
    parts = [report.scores(finding)]
    if finding.by_rule:
        parts.append(report.rules(finding))
    if args.vetoes:
        parts.append(report.refusals(finding))
    if finding.swaps:
        parts.append(report.swapped(finding.swaps, args.wrong))
    if args.wrong:
        parts.append(report.wrong(finding, args.wrong, args.seed))
    return "\n\n".join(parts) + "\n"


def _served_a_swap(finding: report.Finding) -> bool:
    served = finding.swaps.served if finding.swaps else {}
    return any(served.get(policy) for policy in (TIER_1, TIER_1B, TIER_2, ALL_TIERS))


def _encoder(say: Say) -> LocalEncoder | None:
    try:
        return LocalEncoder()
    except EncoderUnavailable as error:
        say(f"no similarities, so neither tier 2 nor plain cosines: {error}")
        return None


def _clock() -> Say:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {line}", file=sys.stderr, flush=True)

    return say


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.semantic",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA", help="files and folders")
    parser.add_argument(
        "--threshold", type=float, default=0.90, help="least cosine of tier 2 (default 0.90)"
    )
    parser.add_argument(
        "--nearest",
        type=int,
        default=MAX_NEIGHBOURS,
        help=f"neighbours the guard may see (default {MAX_NEIGHBOURS}, as in the gateway)",
    )
    parser.add_argument("--seed", type=int, default=1, help="order of a stream (default 1)")
    parser.add_argument("--wrong", type=int, default=0, metavar="N", help="print N wrong hits each")
    parser.add_argument("--vetoes", action="store_true", help="count the refusals of the guard")
    parser.add_argument(
        "--swap-numbers",
        action="store_true",
        help="ask each text again with one of its numbers changed: none may be served",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args(argv)
    if not 0 < args.threshold <= 1 or args.nearest < 1 or args.wrong < 0:
        parser.error(
            "--threshold is over 0 and at most 1, --nearest at least 1, --wrong at least 0"
        )
    return args


if __name__ == "__main__":
    sys.exit(main())
