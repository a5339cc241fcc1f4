"""What the processes say for themselves, where JSON was asked for."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from app.observability.own_lines import JsonFormatter, sayer, server_logging

PROGRAM = """
import logging, sys, threading, warnings
from app.observability.own_lines import sayer, take_over
take_over(sys.argv[1])
sayer(sys.argv[1])("warning: a setting")
warnings.warn("old", DeprecationWarning)
logging.getLogger("asyncio").error("a task failed")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("nobody caught it")
"""


def said_by(form: str) -> list[str]:
    command = [sys.executable, "-W", "always", "-c", PROGRAM, form]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    return done.stderr.splitlines()


def test_whatever_a_process_says_is_json() -> None:
    lines = [json.loads(line) for line in said_by("json")]
    assert [line["level"] for line in lines] == [
        "warning", "warning", "error", "critical", "critical",
    ]  # fmt: skip
    assert lines[0]["message"] == "warning: a setting"
    assert "DeprecationWarning" in lines[1]["message"]
    assert "ZeroDivisionError" in lines[3]["exception"]
    assert "nobody caught it" in lines[4]["exception"]
    assert all(line["time"].endswith("Z") for line in lines)


def test_people_are_told_in_plain_words(capsys: pytest.CaptureFixture[str]) -> None:
    sayer("auto")("reload: configuration g")
    assert capsys.readouterr().err == "reload: configuration g\n"
    assert server_logging("auto") is None


def test_the_servers_own_lines_are_json_too() -> None:
    record = logging.LogRecord("_granian", logging.WARNING, "f", 1, "bad %s", ("head",), None)
    line = json.loads(JsonFormatter().format(record))
    assert (line["event"], line["level"], line["message"]) == ("_granian", "warning", "bad head")
    assert server_logging("json") is not None
