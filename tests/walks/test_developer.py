"""A developer with five minutes: docs/tutorial.md, pasted in order into an empty folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
PATIENCE = 60


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after the walk."""
    folder = tmp_path_factory.mktemp("walk")
    port = free_port()
    script = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    assert script.count("headgate serve >") == 1
    # Another port than the default, because other tests run beside this one.
    script = script.replace("headgate serve", f"headgate serve --port {port}")
    script = script.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    done = subprocess.run(
        ["bash", "-c", f"set -e\n{script}\nwait\n"],
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    log = (folder / "headgate.log").read_text() if (folder / "headgate.log").exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + log
    (folder / "printed").write_text(done.stdout)
    return folder


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_first_answer_comes_and_the_second_one_is_a_hit(walked: Path) -> None:
    assert read(walked, "first.json")["choices"][0]["text"]
    assert read(walked, "first.json")["choices"] == read(walked, "again.json")["choices"]
    assert "x-headgate-cache: hit" in (walked / "headers.txt").read_text().lower()
    assert "x-headgate-cache: hit" in (walked / "printed").read_text().lower()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_stream_says_the_same_and_ends(walked: Path) -> None:
    *events, end = [
        line.removeprefix("data: ")
        for line in (walked / "stream.txt").read_text().splitlines()
        if line
    ]
    texts = [choice["text"] for event in events for choice in json.loads(event)["choices"]]
    assert end == "[DONE]"
    assert "".join(texts) == read(walked, "first.json")["choices"][0]["text"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_budget_and_limit_say_both_numbers_and_what_to_do(walked: Path) -> None:
    budget = read(walked, "refused.json")["error"]
    assert budget["code"] == "budget_exceeded"
    assert re.search(r"which may cost \$0\.5\d*: of \$0\.01 per hour", budget["message"])
    assert "wait until" in budget["message"]
    limit = read(walked, "limited.json")["error"]
    assert limit["code"] == "rate_limit_exceeded"
    assert "try again in" in limit["message"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_what_was_used_is_shown(walked: Path) -> None:
    usage = read(walked, "usage.json")
    assert usage["key"] == "intern"
    assert usage["budgets"][0]["limit_usd"] == "0.01"
    printed = (walked / "printed").read_text()
    assert re.search(r"^intern +default +completions +\* +few +cent", printed, re.MULTILINE)


def test_no_block_of_the_page_is_left_out() -> None:
    assert set(re.findall(r"```(\w+)", PAGE)) == {"sh"}
