"""`python -m tests.real`: Headgate between real servers and real clients.

Starts vLLM and llama-cpp-python with small random models that it makes itself, puts the gateway
in front of both, asks everything twice, and prints a table. The environments that this needs
(several gigabytes) are made once under `.real/`; everything runs on loopback.
"""

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.real import places, servers
from tests.real.checks import Check, selected
from tests.real.processes import NotStartedError
from tests.real.report import Finding, Row, table
from tests.real.servers import Servers


def main() -> int:
    """0 when every check passed, 1 when one failed, 2 when a server did not start."""
    arguments = _arguments()
    checks = selected(arguments.only, direct=arguments.direct)
    if arguments.list:
        print("\n".join(check.label for check in checks))
        return 0
    if not checks:
        print("no check has such a name; --list shows all", file=sys.stderr)
        return 2
    places.make_folders()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped
    try:
        rows = _run(checks, direct=arguments.direct)
    except NotStartedError as error:
        print(f"a server did not start: {error}", file=sys.stderr)
        return 2
    text = table(rows)
    print(text)
    if arguments.report:
        arguments.report.write_text(text, encoding="utf-8")
    return int(any(not row.finding.passed for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.real",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="an area or a label, such as vllm, 'llama/echo*' or 'clients/llm'; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="show the labels and stop")
    parser.add_argument(
        "--direct", action="store_true", help="ask the servers only, without the gateway"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table there, too")
    return parser.parse_args()


def _run(checks: list[Check], *, direct: bool) -> list[Row]:
    needs = frozenset[str]().union(*(check.needs for check in checks))
    with ExitStack() as stack:
        _say("starting " + ", ".join(sorted(needs) + ([] if direct else ["gateway"])))
        vllm = stack.enter_context(servers.vllm()) if "vllm" in needs else None
        llama = stack.enter_context(servers.llama()) if "llama" in needs else None
        gateway = None if direct else stack.enter_context(servers.gateway(vllm, llama))
        running = Servers(vllm, llama, gateway)
        rows = []
        for number, check in enumerate(checks, 1):
            rows.append(_one(check, running))
            word = "ok" if rows[-1].finding.passed else "FAILED"
            seconds = f"{rows[-1].seconds:.1f} s"
            _say(f"[{number}/{len(checks)}] {check.label}: {word} ({seconds})")
            if not rows[-1].finding.passed:
                _say("    " + rows[-1].finding.note[:600])
        return rows


def _one(check: Check, running: Servers) -> Row:
    """Run one check; whatever it raises is its failure, and the others go on."""
    start = time.monotonic()
    try:
        finding = check.run(running)
    except Exception as error:  # noqa: BLE001 - the outermost door of a check
        finding = Finding(False, f"{type(error).__name__}: {error}")
    return Row(check.area, check.name, finding, time.monotonic() - start)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
