"""The configuration as it is at work: each value with where it comes from, and no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from app.config.decoding import Path, path_text
from app.config.loading import Loaded
from app.config.values.quantities import Duration, Secret, Size

MASKED = "********"
MOST_VALUES = 20_000
# In sections that hold whatever their reader understands; elsewhere a secret has a type of its own.
_SECRET_NAME = re.compile(
    r"secret|password|token$|api_?key|authorization|credential", re.IGNORECASE
)


class Value(NamedTuple):
    """One value. ``line`` is the file's, None where it is the default of its setting; ``variables``
    are the environment variables that it was made of."""

    path: str
    value: Any
    line: int | None
    variables: tuple[str, ...] = ()


def effective(loaded: Loaded) -> list[Value]:
    """Every value in the order of the settings; of very long files the first ``MOST_VALUES``."""
    leaves = islice(_leaves(loaded.settings, ()), MOST_VALUES)
    return [
        Value(path_text(path), value, loaded.lines.get(path), loaded.variables.get(path, ()))
        for path, value in leaves
    ]


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _leaves(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping) and value:
        for name, one in value.items():
            yield from _leaves(one, (*path, str(name)))
    elif isinstance(value, list | tuple) and value:
        for place, one in enumerate(value):
            yield from _leaves(one, (*path, place))
    else:
        yield path, _shown(value, path)


def _shown(value: Any, path: Path) -> Any:
    if isinstance(value, Secret):
        return MASKED if value else ""
    if isinstance(value, str):
        name = next((part for part in reversed(path) if isinstance(part, str)), "")
        if _SECRET_NAME.search(name) and not name.endswith("_file"):
            return MASKED
        return value
    if isinstance(value, Duration):
        return f"{value:g}s"
    if isinstance(value, Size):
        return int(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return {} if isinstance(value, Mapping) else []
