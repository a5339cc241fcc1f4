"""Gets the clients that are no dependencies of ours, for the tests, once: into ``.clients/``.

A browser is one of them. Packages come from the machine's own registries, by npm and pip. Without Node, or without a
registry, the tests of these clients are skipped, and say so.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".clients"
SCRIPTS = ROOT / "tests" / "clients" / "sdks"
SECONDS = 300
PLAYWRIGHT = "playwright==1.65.2"
AXE = (
    "axe-core",
    "4.14.1",
    "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",  # SHA-256 of the package
)
PORTKEY = "portkey-ai==2.3.4"
ANTHROPIC = ("anthropic==2.12.0",)
LANGCHAIN = ("langchain-openai==1.7.3", "langchain-core==1.7.2")


class Unavailable(Exception):
    """These clients cannot be had on this machine; the text says why."""


@cache
def node() -> Path:
    """A folder with the scripts for Node and their packages. Raises Unavailable."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Unavailable("there is no Node and npm")
    return _packages(npm, "node")


@cache
def portkey_node() -> Path:
    """A folder with Portkey's package for Node, and the script. Raises Unavailable."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Unavailable("there is no Node and npm")
    return _packages(npm, "portkey-node")


@cache
def continued() -> Path:
    """A folder with Continue's adapters, and the script. Raises Unavailable."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Unavailable("there is no Node and npm")
    return _packages(npm, "continue")


@cache
def portkey() -> Path:
    """A folder with Portkey's package for Python. Raises Unavailable."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return _made("portkey", PORTKEY.encode(), [*pip, "--target", ".", PORTKEY])


@cache
def langchain() -> Path:
    """A folder of Python packages. Raises Unavailable."""
    return _of_pip("langchain", LANGCHAIN)


@cache
def anthropic() -> Path:
    """A folder of Python packages. Raises Unavailable."""
    return _of_pip("anthropic", ANTHROPIC)


def _of_pip(name: str, packages: tuple[str, ...]) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return _made(name, " ".join(packages).encode(), [*pip, "--target", ".", *packages])


def _packages(npm: str, name: str) -> Path:
    lock = (SCRIPTS / name / "package-lock.json").read_bytes()
    command = [npm, "ci", "--silent", "--no-audit", "--no-fund", "--omit=optional"]
    return _made(name, lock, command)


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
            for file in (SCRIPTS / name).glob("package*.json"):
                shutil.copy(file, folder)
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


@cache
def playwright() -> Path:
    """A folder of Python packages, to drive a browser that is there already. Raises Unavailable."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return _made("playwright", PLAYWRIGHT.encode(), [*pip, "--target", ".", PLAYWRIGHT])


@cache
def axe() -> str:
    """axe-core, the checker of accessibility, as one script. Raises Unavailable."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("there is no npm")
    name, version, digest = AXE
    folder = _made("axe", "/".join(AXE).encode(), [npm, "pack", "--silent", f"{name}@{version}"])
    packed = folder / f"{name}-{version}.tgz"
    if hashlib.sha256(packed.read_bytes()).hexdigest() != digest:
        raise Unavailable(f"{packed.name} is not the package that is meant")
    with tarfile.open(packed) as package:
        script = package.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@cache
def chromium() -> Path:
    """A browser: what the machine has, else Debian's package, as root. Raises Unavailable."""
    with (_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _browser() is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
            print("getting chromium for the tests, once …", file=sys.stderr, flush=True)
            install = ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for command in (install, ["apt-get", "update"], install):
                done = subprocess.run(
                    command, env=environment, capture_output=True, timeout=SECONDS, check=False
                )
                if command is install and done.returncode == 0:
                    break
    found = _browser()
    if found is None:
        raise Unavailable("there is no chromium, and apt-get does not give one here")
    return found


def _browser() -> Path | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((Path(path) for name in names if (path := shutil.which(name))), None)


def _folder() -> Path:
    FOLDER.mkdir(exist_ok=True)
    return FOLDER
