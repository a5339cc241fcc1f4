"""`python -m bench`: measures every step beside the floor and prints the tables."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench import measure, nginx, wrk
from bench.failure import BenchFailureError
from bench.instructions import measuring
from bench.processes import Cores, stop_on_signals
from bench.report import LEGEND, NOISY_PERCENT, tables
from bench.results import Result, single
from bench.steps import STEPS, chosen, floor_of

_HELP = f"""\
The thing under test runs alone on the first core that this process may use; the load generator
and the mock upstream share the last one. Each step starts afresh, is warmed up for 1 s and is then
measured --repeats times; the median is shown. Machines and neighbours differ, nginx in the same run
differs with them: compare the multiples of nginx, not the absolute numbers.

columns:
{LEGEND}

examples:
  python -m bench                          everything, about nine minutes
  python -m bench --only headgate-proxy    one step and its floor
  python -m bench --only headgate --seconds 5 --json bench.json
  python -m bench.soak                     1,000 streams at once: do they all end well?
"""


def main() -> int:
    """Runs the chosen steps; 0 when all of them could be measured."""
    args = _arguments()
    if args.list:
        for step in STEPS:
            print(f"{step.name:<20} {step.about}")
        return 0
    steps = chosen(args.only)
    if not steps:
        print(f"no step begins with {', '.join(args.only)}; see --list", file=sys.stderr)
        return 2
    stop_on_signals()
    try:
        nginx.program(), wrk.program()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            plan = _plan(Path(folder), args.seconds, args.repeats)
            results = []
            for step in steps:
                results.append(measure.run(step, plan))
                if results[-1].problem:
                    plan.say(f"{step.name}: failed")
        results = counted(results, plan) if args.count else results
    except BenchFailureError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; everything that was started has been ended", file=sys.stderr)
        return 130
    print(f"\n{tables(results)}\n\n{_noise(results)}")
    if args.json:
        by_name = {result.step.name: result for result in results}
        rows = [r.as_json(by_name.get(floor_of(r.step).name)) for r in results]
        facts = {"seconds": args.seconds, "repeats": args.repeats, "steps": rows}
        args.json.write_text(json.dumps(facts, indent=2) + "\n")
    return 1 if any(result.problem for result in results) else 0


def counted(results: list[Result], plan: measure.Plan) -> list[Result]:
    """With the instructions of each step, where this machine can count them."""
    kind = measuring.kind_of_counter()
    steps = [result.step for result in results if result.step.target == "headgate"]
    if kind == "time" or not steps:
        plan.say("no instructions: neither the processor's counter nor valgrind is here")
        return results
    plan.say(f"instructions of {len(steps)} steps, counted by {kind}")
    try:
        found = measuring.measure(steps, kind, requests=100, redis=True)
    except BenchFailureError as error:  # what was measured before is shown all the same
        plan.say(f"no instructions: {error}")
        return results
    more = {name: {"instructions_k": single(f.spent / 1e3)} for name, f in found.items()}
    return [
        replace(result, measures={**result.measures, **more.get(result.step.name, {})})
        for result in results
    ]


def _plan(folder: Path, seconds: int, repeats: int) -> measure.Plan:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {line}", file=sys.stderr, flush=True)

    cores = Cores.pick()
    if cores.test == cores.load:
        say("only one core: the load shares it, so req/s and latencies say little; cpu us stands")
    return measure.Plan(cores, seconds, repeats, folder, say)


def _noise(results: list[Result]) -> str:
    """Whether to believe the run."""
    noisy = [r.step.name for r in results if (r.median("others_percent") or 0) > NOISY_PERCENT]
    if not noisy:
        return "the test core was quiet"
    return f"doubtful, because others used the test core: {', '.join(noisy)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="CPU per request, throughput, latency and memory of each feature step.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="STEP",
        help="a step's name or how it begins; may be repeated; its floor is measured with it",
    )
    parser.add_argument("--seconds", type=int, default=2, help="of one measurement (default 2)")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measures here too")
    parser.add_argument(
        "--no-count", dest="count", action="store_false", help="leave the instructions out"
    )
    parser.add_argument("--list", action="store_true", help="the steps, and nothing else")
    args = parser.parse_args()
    if args.seconds < 1 or args.repeats < 1:
        parser.error("--seconds and --repeats are at least 1")
    return args


if __name__ == "__main__":
    sys.exit(main())
