"""`make run` and `make test` find their `.venv` right, or make it so."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.building import ROOT
from tools.environment import FULL, digest, installed, state, unusable, up_to_date

NOTED = {"python": "3.12", "root": "/home/me/headgate", "packages": ["orjson-3.11.dist-info"]}
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "small"
version = "1"
[project.scripts]
small = "small:main"
[tool.setuptools]
py-modules = ["small"]
"""


def environment(folder: Path, *packages: str) -> Path:
    venv = folder / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").touch()
    for package in packages:
        (venv / "lib" / "python3.12" / "site-packages" / package).mkdir(parents=True)
    return venv


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"python": "3.11"}, "it was made with Python 3.11"),
        ({"root": "/somewhere/else"}, "it was made in /somewhere/else"),
        ({"packages": ["httpx-0.28.dist-info"]}, "httpx is missing"),
    ],
)
def test_another_place_another_python_or_a_lost_package_make_it_anew(
    tmp_path: Path, change: dict[str, Any], reason: str | None
) -> None:
    venv = environment(tmp_path, "orjson-3.11.dist-info")
    assert unusable(venv, "3.12", NOTED | {"root": str(tmp_path)} | change) == reason


def test_one_that_was_not_finished_or_lost_its_python_is_made_anew(tmp_path: Path) -> None:
    venv = environment(tmp_path)
    assert unusable(venv, "3.12", state(venv)) == "it was not finished"
    (venv / "bin" / "python").unlink()
    assert unusable(venv, "3.12", state(venv)) == "its Python is gone"


@pytest.mark.parametrize("rubbish", ["", "not JSON", "[]"])
def test_a_note_that_says_nothing_means_only_that_packages_are_looked_at(
    tmp_path: Path, rubbish: str
) -> None:
    venv = environment(tmp_path)
    (venv / ".installed").write_text(rubbish)
    noted = state(venv)
    assert noted == {}
    assert unusable(venv, "3.12", noted) is None
    assert not up_to_date(ROOT, FULL, noted)


def test_an_environment_for_development_also_runs() -> None:
    full = {"locks": {FULL: digest(ROOT, FULL)}}
    small = {"locks": {"runtime.lock": digest(ROOT, "runtime.lock")}}
    assert up_to_date(ROOT, "runtime.lock", full)
    assert up_to_date(ROOT, "runtime.lock", small)
    assert not up_to_date(ROOT, FULL, small)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one file that needs nothing but what builds it."""
    root = tmp_path / "project"
    (root / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "environment.py", root / "tools")
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "setup.py").write_text("from setuptools import setup\nsetup()\n")
    (root / "small.py").write_text("def main(): print('it runs')\n")
    pins = re.split(r"\n(?=\S)", (ROOT / "runtime.lock").read_text())
    (root / "runtime.lock").write_text(next(pin for pin in pins if pin.startswith("setuptools==")))
    return root


def set_up(project: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, project / "tools" / "environment.py", "runtime.lock")
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_a_moved_one_is_made_anew_and_then_left_alone(project: Path) -> None:
    venv = environment(project)
    (venv / ".installed").write_text(json.dumps({"root": "/somewhere/else"}))
    first = set_up(project)
    assert "Making .venv anew: it was made in /somewhere/else" in first.stdout
    assert "done in" in first.stdout, first.stdout + first.stderr
    small = subprocess.run([venv / "bin" / "small"], capture_output=True, text=True, check=True)
    assert small.stdout == "it runs\n"
    assert any(name.startswith("setuptools-") for name in installed(venv))
    again = set_up(project)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_package_with_another_hash_is_refused_and_nothing_counts_as_done(project: Path) -> None:
    lock = project / "runtime.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", lock.read_text()))
    failed = set_up(project)
    assert failed.returncode == 1
    assert "do not match" in failed.stderr.lower()
    assert state(project / ".venv") is None


@pytest.mark.parametrize(("target", "lock"), [("run", "runtime.lock"), ("lint", FULL)])
def test_make_asks_for_the_lock_of_what_it_does(target: str, lock: str) -> None:
    command = ("make", "--dry-run", target)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    asked = re.findall(r"tools/environment\.py (\S+)", done.stdout)
    assert asked == [lock]
