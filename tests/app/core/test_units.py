"""What is easily mixed has types of its own, so that a mix-up does not pass `make lint`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from app.core.units import FREE, NanoDollars, total

ROOT = Path(__file__).resolve().parents[3]

MIX_UPS = """
from app.core.pricing import dollars_text
from app.core.units import Digest
from cache.answers.entry import CacheEntry
from cache.answers.local_tier import LocalTier

def mix_up(entry: CacheEntry, tier: LocalTier, partition: bytes) -> None:
    dollars_text(entry.cost)
    dollars_text(entry.stored)  # wrong
    tier.put(Digest(partition), entry, entry.stored, 0)
    tier.put(Digest(partition), entry, entry.cost, 0)  # wrong
    tier.drop(partition)  # wrong
    entry._replace(cost=entry.fresh)  # wrong
"""


def test_a_mix_up_of_units_is_an_error_of_types(tmp_path: Path) -> None:
    file = tmp_path / "mix_ups.py"
    file.write_text(MIX_UPS)
    command = [sys.executable, "-m", "mypy", "--no-pretty", str(file)]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {int(line) for line in re.findall(r"mix_ups\.py:(\d+): error", checked.stdout)}
    lines = enumerate(MIX_UPS.splitlines(), 1)
    assert found == {number for number, line in lines if line.endswith("# wrong")}, checked.stdout


def test_amounts_add_up() -> None:
    assert total([NanoDollars(1), NanoDollars(2)]) == 3
    assert total([]) == FREE
