"""The page that explains every setting does explain every setting, and the example is right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from app.config.loading import ConfigError, load
from app.config.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "configuration.md").read_text()


def leaves(kind: Any, inside: str = "") -> set[str]:
    """Every setting's name, with the sections between a heading and it."""
    structs = [kind, *get_args(kind)]
    structs += [arg for item in structs for arg in get_args(item)]
    found: set[str] = set()
    for struct in structs:
        if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
            continue
        hints = get_type_hints(struct)
        for field in msgspec.structs.fields(struct):
            below = leaves(hints[field.name], f"{inside}{field.name}.")
            listed = get_origin(hints[field.name]) is tuple and below
            name = f"{inside}{field.name}"
            found |= {item.replace(f"{name}.", f"{name}[].") if listed else item for item in below}
            if not below:
                found.add(name)
    return found


SECTIONS = get_type_hints(Settings)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_explained(section: str) -> None:
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    explained = {
        name.replace("models.ALIAS.", "models.")
        for name in re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    }
    wanted = leaves(SECTIONS[section])
    assert wanted - explained == set()
    assert explained - wanted == set()


EXAMPLE = ROOT / "deploy" / "gateway.example.yaml"
KEYS = {"ACME_WEB_KEY": "hg-acme-web-0123456789abcdef", "ACME_CI_KEY_SHA256": "a1" * 32}


def test_the_example_file_is_right() -> None:
    assert load(EXAMPLE.read_text(), str(EXAMPLE), KEYS).warnings == ()


def test_the_example_of_routing_is_right() -> None:
    file = ROOT / "deploy" / "routing.example.yaml"
    given = {"HEADGATE_KEY": "hg-trial-0123456789abcdef"}
    assert load(file.read_text(), str(file), given).warnings == ()
    with pytest.raises(ConfigError, match="HEADGATE_KEY"):
        load(file.read_text(), str(file), {})


def test_the_example_of_retrieval_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    file = ROOT / "deploy" / "retrieval.example.yaml"
    monkeypatch.chdir(file.parent)  # its documents stand beside it
    given = {"HEADGATE_KEY": "hg-trial-0123456789abcdef"}
    assert load(file.read_text(), str(file), given).warnings == ()


def test_the_example_file_lets_nobody_in_as_it_stands() -> None:
    with pytest.raises(ConfigError) as failure:
        load(EXAMPLE.read_text(), "example", {})
    assert sum("needs the environment variable ACME_" in p for p in failure.value.problems) == 2


def test_the_readmes_example_is_right() -> None:
    [text] = re.findall(
        r"```yaml\n(# gateway.yaml.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    secret = {"ACME_WEB_KEY": "hg-acme-web-0123456789abcdef"}
    assert load(text, "README.md", secret).warnings == ()
