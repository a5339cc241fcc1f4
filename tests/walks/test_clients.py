"""docs/clients.md and the pages on moving: what they show is right, and runs where it can here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from app.config.loading import load
from tests.harness.credentials import KEY
from tests.walks.conftest import Walked

DOCS = Path(__file__).parents[2] / "docs"
VARIABLES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "WEB_KEY")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_the_sdks_example_runs(walk: Walked, tmp_path: Path) -> None:
    code = blocks("clients.md", "python")[0].replace("http://127.0.0.1:8080", walk.gateway.url)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HEADGATE_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("number", [1, 2])
def test_the_other_examples_are_python(number: int) -> None:
    compile(blocks("clients.md", "python")[number], "clients.md", "exec")


def test_the_files_of_other_programs_can_be_read() -> None:
    assert [yaml.safe_load(text) for text in blocks("clients.md", "yaml")]
    assert [json.loads(text) for text in blocks("clients.md", "json")]


def test_the_file_of_the_move_from_portkey_is_right() -> None:
    [text] = [text for text in blocks("from-portkey.md", "yaml") if "providers:" in text]
    environment = dict.fromkeys(VARIABLES, "hg-0123456789abcdef")
    assert load(text, "from-portkey.md", environment).warnings == ()
