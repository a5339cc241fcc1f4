"""What docs/configuration.md says of each setting, for whoever hovers over it in an editor.

The page goes into the wheel; a test holds it to the settings, so that a description exists for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"
Schema = dict[str, Any]

_SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| `([^`]+)` \| (.*?) \| (.*) \|$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_WRITTEN = re.compile(r"`([^`]+)`")


def describe(schema: Schema, page: str | None = None) -> Schema:
    """The schema of the file, with what the page says of each section and setting."""
    text = PAGE.read_text("utf-8") if page is None else page
    for name, body in _SECTION.findall(text):
        section = schema["properties"].get(name)
        if section is None:
            continue
        section["description"] = _plain(body.strip().partition("\n")[0])
        rows = {path: (default, said) for path, default, said in _ROW.findall(body)}
        for path, setting in _settings(section, ""):
            found = rows.get(path.replace("models.ALIAS.", "models.")) or rows.get(path)
            if found is not None:
                _put(setting, *found)
            elif "const" in setting:
                setting["description"] = f"The kind: `{setting['const']}`."
            else:
                names = dict.fromkeys(name for name, _ in _settings(setting, "") if "." not in name)
                setting["description"] = f"A group of settings: {', '.join(names)}."
    return schema


def _settings(part: Schema, inside: str) -> Iterator[tuple[str, Schema]]:
    """Every setting in a part of the schema, by its name on the page: ``targets[].model``."""
    for variant in part.get("anyOf", ()):
        yield from _settings(variant, inside)
    if isinstance(part.get("additionalProperties"), dict):
        named = f"{inside}ALIAS." if inside else ""
        yield from _settings(part["additionalProperties"], named)
    if isinstance(part.get("items"), dict):
        listed = f"{inside.removesuffix('.')}[]." if inside else ""
        yield from _settings(part["items"], listed)
    for name, setting in part.get("properties", {}).items():
        yield f"{inside}{name}", setting
        yield from _settings(setting, f"{inside}{name}.")


def _put(setting: Schema, default: str, said: str) -> None:
    told = _plain(said)
    if default not in ("", "required"):
        told += f" Default: {_plain(default)}"
    setting["description"] = told[:1].upper() + told[1:]
    written = _WRITTEN.fullmatch(default)
    if written is not None and "examples" in setting:  # a quantity, as people write it
        setting["default"] = written[1]


def _plain(text: str) -> str:
    """Without Markdown's links; a sentence ends in a full stop."""
    plain = _LINK.sub(r"\1", text).strip()
    return plain if plain.endswith((".", "?", "!", ":")) else f"{plain}."
