"""The tables of docs/providers.md are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from app.config import providers as kinds
from app.config.loading import load
from app.providers.anthropic.request import HONOURED as ANTHROPIC
from app.providers.bedrock.request import HONOURED as BEDROCK
from app.providers.cohere.request import CHAT_HONOURED as COHERE
from app.providers.gemini.request import HONOURED as GEMINI
from app.providers.kinds import KINDS
from app.providers.mistral.request import CHAT_HONOURED as MISTRAL

PAGE = (Path(__file__).parents[3] / "docs" / "providers.md").read_text()
HONOURED = {
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "bedrock": BEDROCK,
    "mistral": MISTRAL,
    "cohere": COHERE,
}
SECTIONS = {str(k.__struct_config__.tag): k for k in get_args(kinds.AnyProvider)}


def rows(table: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    text = PAGE.split(f"<!-- {table}: ")[1].split("\n\n")[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.split("\n")[2:]]


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def default(kind: str, field: str) -> Any:
    (found,) = (f for f in msgspec.structs.fields(SECTIONS[kind]) if f.name == field)
    return found.default


def made(kind: str) -> Any:
    """A provider of this kind, as the file would make it."""
    needs = {"base_url": "http://h/v1"} if kind in ("openai", "azure") else {}
    needs |= {"region": "eu-central-1"} if kind == "bedrock" else {}
    return KINDS[SECTIONS[kind]]("p", SECTIONS[kind](**needs))


@pytest.mark.parametrize("row", rows("translated"), ids=lambda row: row[0])
def test_a_translated_kind_honours_what_its_row_says(row):
    kind = row[0].strip("`")
    assert names(row[2]) == HONOURED[kind]
    assert set(row[1].split(", ")) == made(kind).traits.operations
    limit = default(kind, "stop_limit")
    assert row[3] == ("any" if limit is None else str(limit))


@pytest.mark.parametrize("row", rows("native"), ids=lambda row: row[0])
def test_a_native_kind_is_as_its_row_says(row):
    kind = row[0].strip("`")
    address = default(kind, "base_url")
    assert row[1] == ("yours" if address is msgspec.NODEFAULT else f"`{address}`")
    assert tuple(row[2].split(", ")) == default(kind, "endpoints")
    assert names(row[3]) == set(default(kind, "unsupported"))
    assert names(row[4]) == set(default(kind, "unsupported_completions"))
    limit = default(kind, "stop_limit")
    assert row[5] == ("any" if limit is None else str(limit))


def test_every_kind_has_a_row():
    told = {row[0].strip("`") for table in ("translated", "native") for row in rows(table)}
    assert told | {"simulator"} == set(SECTIONS)
    assert {SECTIONS[kind] for kind in SECTIONS} == set(KINDS)


def test_the_pages_examples_are_right():
    first, *others = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", PAGE), "secret-0123456789")
    providers, _ = first.split("models:\n")
    for text in (first, *(providers + other for other in others)):
        assert load(text, "providers.md", variables).warnings == ()
