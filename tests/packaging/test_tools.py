"""The two tools that install a program for a person or run it at once: pipx and uvx.

Both resolve and install the real dependencies, from wheels of the versions that the lock pins: those
are fetched once from the package index that this environment was made from.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.building import CONFIGURATION, ROOT, run

BIN = Path(sys.executable).parent


def needed(package: str) -> set[str]:
    """What an installation of ours takes along on this machine, without the optional parts."""
    found: set[tuple[str, frozenset[str]]] = set()
    left = [(package, frozenset[str]())]
    while left:
        name, extras = one = left.pop()
        if one in found:
            continue
        found.add(one)
        for wanted in map(Requirement, requires(name) or []):
            marker = wanted.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in extras or {""}):
                left.append((canonicalize_name(wanted.name), frozenset(wanted.extras)))
    return {name for name, _ in found} - {package}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of what is needed, as the lock pins them."""
    folder = tmp_path_factory.mktemp("wheels")
    pinned = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text())
    names = needed("headgate")
    chosen = [pin for pin in pinned if canonicalize_name(pin.partition("==")[0]) in names]
    assert len(chosen) >= len(names)
    (folder / "pinned.txt").write_text("\n".join(chosen))
    pip = (sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check")
    options = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", "pinned.txt")
    done = subprocess.run(
        [*pip, *options], cwd=folder, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Somebody's home, with a configuration in it."""
    (tmp_path / "gateway.yaml").write_text(CONFIGURATION)
    return tmp_path


def from_these(wheels: Path) -> dict[str, str]:
    """The environment in which uv, and pipx over it, takes wheels from nowhere else."""
    return {"UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels)}


def test_pipx_installs_the_command_and_takes_it_away_again(
    wheel: Path, wheels: Path, home: Path
) -> None:
    command = home / ".local" / "bin" / "headgate"
    run(BIN / "pipx", "install", wheel, cwd=home, **from_these(wheels))
    assert "headgate" in run(command, "--version", cwd=home)
    run(command, "check", "gateway.yaml", cwd=home)
    run(BIN / "pipx", "uninstall", "headgate", cwd=home)
    assert not command.exists()


def test_uvx_runs_the_command_from_the_wheel(wheel: Path, wheels: Path, home: Path) -> None:
    uvx = (BIN / "uvx", "--python", sys.executable, "--from", wheel, "headgate")
    here = from_these(wheels)
    assert "headgate" in run(*uvx, "--version", cwd=home, **here)
    run(*uvx, "check", "gateway.yaml", cwd=home, **here)
