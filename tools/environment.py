"""Makes `.venv`, or leaves it alone where it is right: ``python3 tools/environment.py runtime.lock``.

It is right for one Python, one place and one lock. Another Python or another place needs a new one,
because scripts in it name both; another lock only needs its packages. ``requirements.lock`` holds
every pin of ``runtime.lock`` (a test compares), so an environment for development also runs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FULL = "requirements.lock"
KEPT_LINES = 40  # of what pip said, shown where it fails
PIP = ("-m", "pip", "--disable-pip-version-check", "--python")


class SetupError(Exception):
    """Why there is no environment, and what to do."""


def digest(root: Path, lock: str) -> str:
    """Of all that decides what is installed."""
    parts = [(root / name).read_bytes() for name in (lock, "pyproject.toml", "setup.py")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def installed(venv: Path) -> list[str]:
    """The packages in it, as ``name-version.dist-info``."""
    return sorted(found.name for found in venv.glob("lib/python3.*/site-packages/*.dist-info"))


def state(venv: Path) -> dict[str, Any] | None:
    """What was noted when it was finished; None if it never was."""
    try:
        noted = json.loads((venv / ".installed").read_text() or "{}")
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}


def unusable(venv: Path, python: str, noted: dict[str, Any] | None) -> str | None:
    """Why the whole environment must be made anew, if it must."""
    if not (venv / "bin" / "python").exists():
        return "its Python is gone"
    if noted is None:
        return "it was not finished"
    if noted.get("root", str(venv.parent)) != str(venv.parent):
        return f"it was made in {noted['root']}"
    if noted.get("python", python) != python:
        return f"it was made with Python {noted['python']}"
    gone = set(noted.get("packages", [])) - set(installed(venv))
    if gone:
        return f"{min(gone).split('-')[0]} is missing"
    return None


def up_to_date(root: Path, lock: str, noted: dict[str, Any]) -> bool:
    """Whether it has what this lock names."""
    done = noted.get("locks", {})
    return any(done[known] == digest(root, known) for known in (lock, FULL) if known in done)


def pip_of(venv: Path) -> tuple[str, ...]:
    """The pip that fills it: the one beside us, which saves the seconds of unpacking another."""
    python = sys.executable if find_spec("pip") else str(venv / "bin" / "python")
    return (python, *PIP, str(venv / "bin" / "python"))


def create(venv: Path) -> None:
    """An empty environment."""
    if not find_spec("ensurepip") and not find_spec("pip"):
        raise SetupError(
            f"{sys.executable} cannot make environments. On Debian and Ubuntu: apt install "
            "python3-venv. Or name another Python: make PYTHON=/path/to/python3.12"
        )
    bare = ("--without-pip",) if find_spec("pip") else ()
    subprocess.run([sys.executable, "-m", "venv", *bare, str(venv)], check=True)


def lines_of(command: tuple[str, ...], cwd: Path) -> Iterator[str]:
    """What a command says, line by line; SetupError with the last of it where it fails."""
    last: list[str] = []
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            last = [*last[1 - KEPT_LINES :], line]
            yield line
    if running.returncode:
        raise SetupError("".join(last) + "Setting up failed; the reason stands above.")


def show(text: str, *, passing: bool = False) -> None:
    """One line; on a terminal a passing one is written over by the next."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="" if passing else "\n", flush=True)
    elif not passing:
        print(text, flush=True)


def fill(root: Path, lock: str) -> None:
    """Installs what the lock names, each file by its hash, and the command itself."""
    pip = pip_of(root / ".venv")
    pins = sum("==" in line for line in (root / lock).read_text().splitlines())
    show(f"  up to {pins} packages of {lock}, each checked against its hash")
    every = ("install", "--no-deps", "--require-hashes", "-r", lock)
    # Bytecode is made when a module is first used: most modules of most packages never are.
    quick = ("--no-compile", "--progress-bar", "off")
    count = 0
    for line in lines_of((*pip, *every, *quick), root):
        if line.startswith("Collecting "):
            count += 1
            show(f"  {count} of up to {pins}: {line.split()[1]}", passing=True)
        elif line.startswith("Installing "):
            show(f"  unpacking {count} packages", passing=True)
    show("  the command .venv/bin/headgate")
    for _ in lines_of((*pip, "install", "--no-deps", "--no-build-isolation", "-e", "."), root):
        pass


def prepare(root: Path, lock: str) -> None:
    """Makes the environment right for the lock, with as little work as that needs."""
    venv, python, begun = root / ".venv", ".".join(map(str, sys.version_info[:2])), time.monotonic()
    noted = state(venv)
    if venv.exists() and (reason := unusable(venv, python, noted)):
        show(f"Making .venv anew: {reason}")
        shutil.rmtree(venv)
        noted = None
    if noted is not None and up_to_date(root, lock, noted):
        return
    show(f"Setting up .venv with Python {sys.version.split()[0]}")
    if not venv.exists():
        create(venv)
    (venv / ".installed").unlink(missing_ok=True)
    fill(root, lock)
    note = {
        "python": python,
        "root": str(root),
        "locks": {lock: digest(root, lock)},
        "packages": installed(venv),
    }
    (venv / ".installed").write_text(json.dumps(note, indent=1))
    show(f"  done in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    try:
        prepare(ROOT, sys.argv[1])
    except SetupError as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError:
        sys.exit("Setting up failed; the reason stands above.")
