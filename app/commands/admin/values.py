"""What a shell gives for an object, and an object as a shell shows it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

# What a table shows of each kind, in this order.
COLUMNS = {
    "keys": ("id", "tenant", "models", "limits", "budget", "blocked", "last_used", "source"),
    "tenants": ("id", "limits", "budget", "source"),
    "limits": ("id", "requests_per_minute", "tokens_per_minute", "concurrent", "source"),
    "budgets": ("id", "usd", "per", "source"),
    "audit": ("time", "actor", "action", "object_id", "address"),
}


def members(pairs: Iterable[str]) -> dict[str, Any]:
    """``NAME=VALUE`` each: JSON, or a text as it stands. Raises ValueError."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{pair!r}: write NAME=VALUE, such as limits=standard")
        if name in found:
            raise ValueError(f"{name!r} is given twice")
        found[name] = value(text)
    return found


def value(text: str) -> Any:
    """JSON where it is some, else the text. A date stays a text, because it is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def table(kind: str, entries: Sequence[dict[str, Any]]) -> list[str]:
    """Aligned lines, a heading first."""
    names = COLUMNS[kind]
    cells = [[name.upper() for name in names]]
    cells += [[shown(entry.get(name)) for name in names] for entry in entries]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def lines(document: dict[str, Any]) -> list[str]:
    """One object, a member a line."""
    width = max(map(len, document), default=0)
    return [f"{name.ljust(width)}  {shown(item)}" for name, item in document.items()]


def shown(item: Any) -> str:
    """A value in a cell."""
    if item is None:
        return "-"
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, list) and all(isinstance(one, str) for one in item):
        return ", ".join(item) or "-"
    return item if isinstance(item, str) else json.dumps(item)
