"""Objects made at run time as lines of JSON: out of one gateway, and into another. No secrets, only hashes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from app.commands.admin.client import AdminClient, quoted

# What is referred to goes before what refers to it.
KINDS = ("limits", "budgets", "tenants", "keys")
# What the gateway says of an object beside what an operator wrote.
_TOLD = frozenset({
    *("object", "source", "shadowed", "revision", "created", "created_by", "changed", "changed_by"),
    *("prefix", "secrets", "last_used", "warnings", "line"),
})  # fmt: skip


class Imported(NamedTuple):
    """One object that was taken; ``secret`` where a new one was made."""

    kind: str
    id: str
    secret: str | None


def exported(client: AdminClient) -> Iterator[str]:
    """A line for each object made at run time. Raises AdminError."""
    for kind in KINDS:
        query = {"hashes": "true"} if kind == "keys" else {}
        for entry in client.listed(f"/{kind}", query):
            if entry["source"] == "api":
                spec = {name: item for name, item in entry.items() if name not in _TOLD}
                yield json.dumps({"kind": kind, **_without_defaults(spec)})


def _without_defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in spec.items() if item is not None and item is not False}


def objects_in(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The objects of an export, in the order in which they can be made.

    Raises ValueError naming the line that is none.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            raise ValueError(f"line {number} is not JSON") from None
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise ValueError(f'line {number} must be an object with "kind" and "id"')
        if entry.get("kind") not in KINDS:
            raise ValueError(f'line {number}: "kind" must be one of {", ".join(KINDS)}')
        found.append(entry)
    return sorted(found, key=lambda entry: KINDS.index(entry["kind"]))


def imported(client: AdminClient, objects: Iterable[Mapping[str, Any]]) -> Iterator[Imported]:
    """Make these objects, or make them what they were; each as it is done.

    A key without ``secret_sha256`` gets a new secret. Raises AdminError.
    """
    for entry in objects:
        spec = dict(entry)
        kind, name = spec.pop("kind"), spec.pop("id")
        blocked = spec.pop("blocked", False)
        path = f"/{kind}/{quoted(name)}"
        made = client.ask("PUT", path, spec).document
        if blocked:
            client.ask("POST", f"{path}/block")
        yield Imported(kind, name, made.get("secret"))
