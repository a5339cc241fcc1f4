"""The configuration as it is at work: each value with where it comes from, and no secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from app.config.decoding import Path, path_text
from app.config.settings import Settings
from app.config.values.quantities import Secret
from app.config.yaml_tree import YamlTree

MASKED = "********"
MOST_VALUES = 20_000


class Value(NamedTuple):
    """One value; ``line`` is the file's, None where the value is the default of its setting."""

    path: str
    value: Any
    line: int | None


def effective(settings: Settings, text: str, environment: Mapping[str, str]) -> list[Value]:
    """Every value in the order of the settings; of long files the first ``MOST_VALUES``."""
    tree = YamlTree(text, environment)
    found = []
    for path, value in _leaves(settings, ()):
        found.append(Value(path_text(path), value, tree.lines.get(path)))
        if len(found) == MOST_VALUES:
            break
    return found


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Secret):
        yield path, MASKED
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _leaves(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping) and value:
        for name, one in value.items():
            yield from _leaves(one, (*path, str(name)))
    elif isinstance(value, list | tuple) and value:
        for place, one in enumerate(value):
            yield from _leaves(one, (*path, place))
    else:
        yield path, _plain(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return [] if isinstance(value, list | tuple) else {} if isinstance(value, Mapping) else str(value)
