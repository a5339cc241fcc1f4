"""`python -m bench.curve`: not a point but a curve, as tables and plots for the docs.

Requests and CPU over connections (with one worker and two), over the size of the body, and over the
number of keys in the file. Each point is a gateway of its own, measured as `python -m bench` does it.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import measure, nginx, wrk
from bench.failure import BenchFailureError
from bench.plot import Series, plot
from bench.processes import Cores, stop_on_signals
from bench.requests import KEYS
from bench.results import Result
from bench.steps import FLOOR, PlainLoad, Step, step_of

CONNECTIONS = (1, 16, 64, 256, 1024)
WORKERS = (1, 2)
BODY_KB = (1, 10, 100, 1000)
KEYS_IN_FILE = (10, 100, 1_000, 10_000, 100_000)
_PROXY = step_of("headgate-proxy")


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: what was varied, and what it cost."""

    name: str
    x: float
    result: Result

    def shown(self, measure_name: str, digits: int = 0) -> str:
        value = self.result.median(measure_name)
        return self.result.problem[:40] or "-" if value is None else f"{value:,.{digits}f}"


def main() -> int:
    """Measures every curve; 0 when all points could be measured."""
    args = _arguments()
    stop_on_signals()
    try:
        nginx.program(), wrk.program()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            plan = measure.Plan(Cores.pick(), args.seconds, args.repeats, Path(folder), _say)
            curves = {name: curve(plan) for name, curve in CURVES.items() if name in args.curves}
    except BenchFailureError as error:
        print(error, file=sys.stderr)
        return 2
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"measured {time.strftime('%Y-%m-%d')}, load of the machine (1, 5, 15 minutes): {load}\n")
    for name, points in curves.items():
        print(_table(name, points))
        if args.plots is not None:
            (args.plots / f"curve-{name}.svg").write_text(
                plot(_TITLES[name], name, _series(points))
            )
    return int(any(point.result.problem for points in curves.values() for point in points))


def _connections(plan: measure.Plan) -> list[Point]:
    points = []
    for workers in WORKERS:
        for count in CONNECTIONS:
            step = _changed(f"workers-{workers}", {"server": {"workers": workers}})
            points.append(_point(step, count, replace(plan, connections=count)))
    floor = replace(FLOOR, name="nginx")
    return points + [_point(floor, n, replace(plan, connections=n)) for n in CONNECTIONS]


def _bodies(plan: measure.Plan) -> list[Point]:
    points = []
    for name, step in (("headgate", _PROXY), ("nginx", FLOOR)):
        for size in BODY_KB:
            load = PlainLoad(prompt="word " * (size * 200))
            points.append(_point(replace(step, name=name, load=load), size, plan))
    return points


def _keys(plan: measure.Plan) -> list[Point]:
    points = []
    for count in KEYS_IN_FILE:
        others = [
            KEYS[0] | {"id": f"k{number}", "secret": f"hg-bench-other-{number:032d}"}
            for number in range(count - 1)
        ]
        points.append(_point(_changed("headgate", {"keys": [*KEYS, *others]}), count, plan))
    return points


CURVES = {"connections": _connections, "body": _bodies, "keys": _keys}
_TITLES = {
    "connections": "CPU a request over connections",
    "body": "CPU a request over kB of prompt",
    "keys": "CPU a request over keys in the file",
}


def _changed(name: str, overlay: dict[str, Any]) -> Step:
    return replace(_PROXY, name=name, overlay=overlay)


def _point(step: Step, x: float, plan: measure.Plan) -> Point:
    plan.say(f"{step.name}, {x:g}")
    folder = plan.folder / f"{time.monotonic_ns()}"
    folder.mkdir()
    quiet = replace(plan, folder=folder, say=lambda _: None)
    return Point(step.name, x, measure.run(step, quiet))


def _series(points: Sequence[Point]) -> list[Series]:
    names = list(dict.fromkeys(point.name for point in points))
    return [
        Series(
            name, [(p.x, p.result.median("cpu_request_us") or 0) for p in points if p.name == name]
        )
        for name in names
    ]


def _table(name: str, points: Sequence[Point]) -> str:
    lines = [f"| {name} | | requests/s | CPU µs a request | p50 ms | p99 ms | RSS MiB | start ms |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    columns = (("requests_per_s", 0), ("cpu_request_us", 1), ("p50_ms", 2), ("p99_ms", 2))
    more = (("rss_mib", 0), ("cold_start_ms", 0))
    for point in points:
        cells = [point.shown(measure_name, digits) for measure_name, digits in (*columns, *more)]
        lines.append(f"| {point.x:,g} | {point.name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.curve", description=__doc__)
    parser.add_argument("--seconds", type=int, default=2, help="of one measurement (default 2)")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement (default 3)")
    parser.add_argument("--plots", type=Path, help="a folder to write SVG plots into")
    parser.add_argument("curves", nargs="*", default=list(CURVES), help=", ".join(CURVES))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
