"""A test that failed beside others is asked once more, alone and with fixtures of its own.

Four tests share two processors with their gateways and stores, so one that measures time can fail
for its neighbours' sake. The second answer counts, and the summary names the test and what it said
first. What fails alone fails; where many fail, the code is wrong and nobody is asked again.
"""

from __future__ import annotations

from typing import Any

import pytest
from _pytest.runner import runtestprotocol

MOST = 5  # tests of one worker that are asked again
AGAIN = "asked again"
SECOND = pytest.StashKey[bool]()


class SecondLook:
    """Of one worker: runs its tests, and says which one must be run again."""

    def __init__(self) -> None:
        self._asked = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        failed = [report for report in reports if report.failed]
        if failed and not is_alone(item) and self._asked < MOST:
            self._asked += 1
            item.stash[SECOND] = True
            item.session._setupstate.teardown_exact(None)  # its module's fixtures are made anew
            failed[0].outcome = AGAIN  # type: ignore[assignment]
            reports = failed[:1]
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True


class SecondLookSummary:
    """Of the process that prints."""

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        return (AGAIN, "R", "AGAIN") if report.outcome == AGAIN else None

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for report in terminalreporter.getreports(AGAIN):
            said = str(report.longrepr).splitlines()[-1]
            terminalreporter.write_line(f"failed beside others, asked again: {report.nodeid}")
            terminalreporter.write_line(f"    {said}")


def is_alone(item: pytest.Item | None) -> bool:
    """Whether a test has the machine for itself: it is marked so, or has its second look."""
    return item is not None and (
        item.get_closest_marker("alone") is not None or SECOND in item.stash
    )
