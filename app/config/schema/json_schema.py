"""The JSON Schema of frozen structs, for editors. Source: JSON Schema 2020-12."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from app.config.values.quantities import Duration, Secret, Size

Schema = dict[str, Any]

# A setting of any kind may stand in the environment.
VARIABLE: Schema = {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}$"}


def schema_of(kind: Any) -> Schema:
    """The schema of what ``Decoder`` takes for a ``kind``, its quantities and lone texts too."""
    origin = get_origin(kind)
    if kind is Any:
        return {}
    if origin is Annotated:
        inner, *metas = get_args(kind)
        return _bounded(schema_of(inner), _bounds(metas))
    if origin in (Union, types.UnionType):
        members = [schema_of(member) for member in get_args(kind) if member is not type(None)]
        return members[0] if len(members) == 1 else {"anyOf": members}
    if origin is Literal:
        return {"enum": list(get_args(kind))}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(get_args(kind)[1])}
    if origin is tuple:
        item = schema_of(get_args(kind)[0])
        listed: Schema = {"type": "array", "items": item}
        return {"anyOf": [listed, item]} if item.get("type") != "object" else listed
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _object(kind)
    if kind in (Duration, Size):
        number = {"type": "number" if kind is Duration else "integer", "minimum": 0}
        written = {"type": "string", "pattern": kind.pattern}
        return {"anyOf": [number, written, VARIABLE], "examples": [*kind.examples]}
    plain = {bool: "boolean", int: "integer", float: "number"}.get(kind)
    return {"type": "string"} if plain is None else {"anyOf": [{"type": plain}, VARIABLE]}


def _object(kind: type[msgspec.Struct]) -> Schema:
    hints = get_type_hints(kind, include_extras=True)
    fields = msgspec.structs.fields(kind)
    properties = {field.encode_name: schema_of(hints[field.name]) for field in fields}
    for field in fields:
        if isinstance(field.default, str | int | float) and not isinstance(
            field.default, Duration | Size | Secret
        ):
            properties[field.encode_name]["default"] = field.default
    required = [field.encode_name for field in fields if field.required]
    config = kind.__struct_config__
    if config.tag_field is not None and config.tag is not None:
        properties = {config.tag_field: {"const": config.tag}, **properties}
        required = [config.tag_field, *required]
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _bounded(schema: Schema, bounds: Schema) -> Schema:
    """The bounds stand beside the type that they are of."""
    first, *others = schema.get("anyOf", [schema])
    return {"anyOf": [first | bounds, *others]} if others else first | bounds


def _bounds(metas: list[Any]) -> Schema:
    names = {"ge": "minimum", "le": "maximum", "min_length": "minLength", "max_length": "maxLength"}
    return {
        name: getattr(meta, attribute)
        for meta in metas
        for attribute, name in names.items()
        if getattr(meta, attribute, None) is not None
    }
