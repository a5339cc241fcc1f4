"""How the whole suite runs: what runs first, what runs alone, and the profiles of hypothesis."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.harness import forked
from tests.harness.second_look import SECOND, SecondLook, SecondLookSummary, is_alone
from tests.harness.turns import Turns

settings.register_profile("quick", max_examples=20)  # `make check`, for an answer within a minute

# Workers take whole files, in this order. What waits for long stands first, so that no worker is
# left with it at the end, and what computes fills the processors meanwhile.
ORDER = ("tests/e2e/limits", "tests/e2e/cache", "tests/e2e", "tests/packaging", "tests/cache")

TURNS = pytest.StashKey[Turns]()
FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_xdist_auto_num_workers() -> int:
    """Of `-n auto`: twice the processors, because most tests wait for most of their time."""
    return 2 * (os.cpu_count() or 1)


def pytest_configure_node(node: Any) -> None:
    """Give every worker the same folder for its turns."""
    if FOLDER not in node.config.stash:
        node.config.stash[FOLDER] = tempfile.TemporaryDirectory()
    node.workerinput["turns"] = node.config.stash[FOLDER].name


def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", None)
    if given is not None:
        config.stash[TURNS] = Turns(Path(given["turns"]))
        config.pluginmanager.register(SecondLook())
    else:
        config.pluginmanager.register(SecondLookSummary())


def pytest_unconfigure(config: pytest.Config) -> None:
    forked.close()
    if TURNS in config.stash:
        config.stash[TURNS].close()
    if FOLDER in config.stash:
        config.stash[FOLDER].cleanup()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, in the order of ORDER, and what runs alone at the very end."""
    if TURNS in config.stash:
        items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if is_alone(item):
        return len(ORDER) + 1
    places = [at for at, room in enumerate(ORDER) if item.nodeid.startswith(f"{room}/")]
    return places[0] if places else len(ORDER)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """A test waits for its turn before its time is counted."""
    turns = item.config.stash.get(TURNS, None)
    if turns is None:
        return (yield)
    turns.begin(alone=is_alone(item))
    again = SECOND in item.stash
    try:
        result = yield
    finally:
        turns.end(stay=is_alone(nextitem))
    if SECOND in item.stash and not again:
        return item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    return result
