"""`python -m bench.instructions`: what a request costs, told so that a change of 1 % is seen."""

import argparse
import sys
from collections.abc import Mapping

from bench.failure import BenchFailureError
from bench.instructions import kept, measuring
from bench.instructions.counters import Kind
from bench.instructions.measuring import Figure
from bench.processes import stop_on_signals
from bench.steps import STEPS, Step

# The short form: every part of the chain that needs no other server than the mock upstream.
SHORT = ("headgate-401", "headgate-proxy", "headgate-hit-shelf", "headgate-stream")
_SHORT_REQUESTS = 50
_TRIES = {"time": 3, "hardware": 3, "callgrind": 2}

_HELP = """\
A whole gateway runs in one process and is asked by a caller without a socket, one request after the
other; its upstream (and Redis) are processes of their own and are not counted. So the figures hold
our own code, Python and its packages, but neither Granian nor the kernel: time is what `make bench`
measures. "x reference" divides by work of the same kind that never changes, so that another build of
Python moves both.

counted by: the processor, where the machine lets us; else callgrind (apt-get install valgrind), which
takes a minute; else CPU time, best of three, which a busy machine changes.
"""


def main() -> int:
    """Prints the figures; 1 when ``--check`` finds a step dearer."""
    args = _arguments()
    stop_on_signals()
    steps = [step for step in STEPS if step.target == "headgate" and _wanted(step, args)]
    if not steps:
        print("no such step; see python -m bench --list", file=sys.stderr)
        return 2
    kind = args.counter or measuring.kind_of_counter()
    try:
        if args.check or args.keep:
            return _check(steps, kind, keep=args.keep)
        found = measuring.measure(steps, kind, requests=args.requests, redis=True)
    except BenchFailureError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(found, kind, {}))
    return 0


def _wanted(step: Step, args: argparse.Namespace) -> bool:
    if args.check or args.keep:
        return step.name in SHORT
    return not args.only or any(step.name.startswith(word) for word in args.only)


def _check(steps: list[Step], kind: Kind, *, keep: bool) -> int:
    """Compares the short form with what is kept. A step that seems dearer is measured again, because
    only one that always is has changed."""
    place = kept.place_of(kind)
    known = kept.read().get(place, {})
    figures: dict[str, Figure] = {}
    worse = [step.name for step in steps]
    for _ in range(_TRIES[kind]):
        again = [step for step in steps if step.name in worse]
        found = measuring.measure(again, kind, requests=_SHORT_REQUESTS, redis=False)
        for name, figure in found.items():
            figures[name] = min(figure, figures.get(name, figure), key=lambda one: one.ratio)
        worse = kept.dearer(figures, known, kept.tolerance(kind))
        if not worse or keep:
            break
    print(table(figures, kind, known))
    if keep:
        kept.write(place, figures)
        print(f"kept for {place}")
        return 0
    if not known:
        print(f"nothing to compare with: no figures are kept for {place}")
    for name in worse:
        print(f"{name} got more than {kept.tolerance(kind):.0%} dearer", file=sys.stderr)
    if worse:
        print("if that is meant: python -m bench.instructions --keep, and say why", file=sys.stderr)
    return 1 if worse else 0


def table(figures: Mapping[str, Figure], kind: Kind, known: Mapping[str, float]) -> str:
    """One line a step."""
    unit = "CPU us" if kind == "time" else "k instr."
    scale = 1e6 if kind == "time" else 1e-3
    lines = [f"{'a request (or relayed chunk)':<30}{unit:>10}{'x reference':>13}{'kept':>8}"]
    for name, figure in figures.items():
        change = f"{figure.ratio / known[name] - 1:+8.1%}" if name in known else ""
        lines.append(f"{name:<30}{figure.spent * scale:>10.1f}{figure.ratio:>13.4f}{change}")
    return "\n".join([*lines, f"counted by: {kind}"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.instructions",
        description="Instructions a request, of each step of the bench.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", default=[], metavar="STEP")
    parser.add_argument("--requests", type=int, default=100, help="of each step (default 100)")
    parser.add_argument("--counter", choices=("hardware", "callgrind", "time"))
    parser.add_argument(
        "--check", action="store_true", help="the short form; fail if a step got dearer"
    )
    parser.add_argument("--keep", action="store_true", help="the short form; keep its figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
