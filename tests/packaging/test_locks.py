"""Four locks, one choice of versions: what runs, what the images hold, what developers use."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.building import ROOT
from tests.packaging.test_tools import needed

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
OPTIONAL = tuple(sorted(set(EXTRAS) - {"dev"}))
PIN = re.compile(r"^(\S+)==(\S+)")

Pins = dict[str, tuple[str, frozenset[str]]]
# Each with its extras, from the smallest.
LOCKS = {
    "runtime.lock": (),
    "image.lock": tuple(sorted(set(OPTIONAL) - {"semantic"})),
    "image-semantic.lock": OPTIONAL,
    "requirements.lock": tuple(EXTRAS),
}


def pins_of(lock: str) -> Pins:
    """Version and hashes of each package."""
    pins: Pins = {}
    for block in re.split(r"\n(?=\S)", (ROOT / lock).read_text("utf-8")):
        found = PIN.match(block)
        assert found, block
        hashes = frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", block))
        assert hashes, block
        pins[found[1]] = found[2], hashes
    return pins


@pytest.mark.parametrize(("small", "large"), list(pairwise(LOCKS)))
def test_every_pin_of_a_smaller_lock_is_the_larger_ones(small: str, large: str) -> None:
    assert pins_of(small).items() < pins_of(large).items()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_what_pyproject_asks_for(lock: str) -> None:
    pins = pins_of(lock)
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]
    for extra in LOCKS[lock]:
        asked += EXTRAS[extra]
    for wanted in map(Requirement, asked):
        version, _ = pins[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"make lock: {wanted} is {version} in {lock}"


def test_what_runs_needs_nothing_that_its_lock_lacks() -> None:
    assert needed("headgate") <= pins_of("runtime.lock").keys()


@pytest.mark.parametrize("lock", sorted(set(LOCKS) - {"requirements.lock"}))
def test_what_runs_has_no_development_tools(lock: str) -> None:
    tools = {"hypothesis", "import-linter", "mypy", "openai", "pipx", "pytest", "ruff", "uv"}
    assert tools < pins_of("requirements.lock").keys()
    assert not tools & pins_of(lock).keys()
