"""What a check takes, as a JSON schema, kept on the check itself: what validates also describes.

A test asks check and schema about the same values. Source: JSON Schema 2020-12.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Schema = dict[str, Any]
AnyCheck = TypeVar("AnyCheck", bound=Callable[..., Any])

_ATTRIBUTE = "json_schema"


def shows(check: AnyCheck, schema: Schema) -> AnyCheck:
    """The check itself, which shows from now on what it takes."""
    setattr(check, _ATTRIBUTE, schema)
    return check


def showing(schema: Schema) -> Callable[[AnyCheck], AnyCheck]:
    """``shows``, as a decorator."""
    return lambda check: shows(check, schema)


def schema_of(check: Callable[..., Any]) -> Schema:
    """What the check takes. Raises AttributeError where it does not show that."""
    schema: Schema = getattr(check, _ATTRIBUTE)
    return schema


def or_null(schema: Schema) -> Schema:
    """The same, or null, which means absent."""
    if isinstance(schema.get("type"), str) and "anyOf" not in schema:
        wider = schema | {"type": [schema["type"], "null"]}
        return wider | ({"enum": [*schema["enum"], None]} if "enum" in schema else {})
    several = schema["anyOf"] if schema.keys() == {"anyOf"} else [schema]
    return {"anyOf": [*several, {"type": "null"}]}


def object_of(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with these members; others are free, and an optional one may be null."""
    members = {name: or_null(schema) for name, schema in (optional or {}).items()}
    return {"type": "object", "properties": required | members, "required": list(required)}
