"""The command ``headgate``, as somebody types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.harness.waiting import PATIENCE


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``headgate`` with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "headgate", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=PATIENCE * 3,
        check=False,
    )
