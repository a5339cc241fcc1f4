"""Gets the clients that are no dependencies of ours, for the tests, once: into ``.clients/``.

Packages come from the machine's own registries, by npm and pip. Without Node, or without a
registry, the tests of these clients are skipped, and say so.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".clients"
SCRIPTS = ROOT / "tests" / "clients" / "sdks"
SECONDS = 300
LANGCHAIN = ("langchain-openai==1.7.3", "langchain-core==1.7.2")


class Unavailable(Exception):
    """These clients cannot be had on this machine; the text says why."""


@cache
def node() -> Path:
    """A folder with the scripts for Node and their packages. Raises Unavailable."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Unavailable("there is no Node and npm")
    lock = (SCRIPTS / "node" / "package-lock.json").read_bytes()
    return _made(
        "node", lock, [npm, "ci", "--silent", "--no-audit", "--no-fund", "--omit=optional"]
    )


@cache
def langchain() -> Path:
    """A folder of Python packages. Raises Unavailable."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return _made("langchain", " ".join(LANGCHAIN).encode(), [*pip, "--target", ".", *LANGCHAIN])


def _made(name: str, recipe: bytes, command: list[str]) -> Path:
    folder = FOLDER / name
    mark = folder / f".made-{hashlib.sha256(recipe).hexdigest()[:12]}"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may start at once
        if not mark.exists():
            print(f"getting the clients {name} for the tests, once …", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for file in ("package.json", "package-lock.json") if name == "node" else ():
                shutil.copy(SCRIPTS / name / file, folder)
            _run(command, folder)
            mark.touch()
    for script in (SCRIPTS / name).glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took more than {SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"{command[0]} failed: {error.stderr[-500:]}") from None
