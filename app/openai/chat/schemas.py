"""The parts of a chat request, as JSON schemas: what the checks beside this file take.

A test asks both about the same values. Source: OpenAI's chat completions endpoint; JSON Schema
2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.openai.shown import Schema, object_of

ROLES = ("developer", "system", "user", "assistant", "tool", "function")
ALL_PARTS = frozenset({"text", "image_url", "input_audio", "file", "refusal"})
PARTS: Mapping[str, frozenset[str]] = {
    "developer": frozenset({"text"}),
    "system": frozenset({"text"}),
    "user": ALL_PARTS - {"refusal"},
    "assistant": frozenset({"text", "refusal"}),
    "tool": ALL_PARTS - {"refusal"},  # OpenAI takes text alone, others pictures too
    "function": frozenset({"text"}),
}
DETAILS = ("auto", "low", "high", "original")
MAX_TOOLS = 128
NAME = "[A-Za-z0-9_.:-]{1,64}"  # OpenAI's, and the colon and dot that others use
TOOL_CHOICES = ("none", "auto", "required")

_TEXT: Schema = {"type": "string"}
_OBJECT: Schema = {"type": "object"}
_FLAG: Schema = {"type": "boolean"}


def listed(item: Schema) -> Schema:
    """A list of tools or functions."""
    return {"type": "array", "items": item, "maxItems": MAX_TOOLS}


def _named(more: dict[str, Schema] | None = None) -> Schema:
    name = {"type": "string", "pattern": f"^{NAME}$"}
    return object_of({"name": name}, {"description": _TEXT, **(more or {})})


def _strings(*names: str) -> Schema:
    return object_of(dict.fromkeys(names, _TEXT))


def _kind(kind: str, member: Schema) -> Schema:
    return object_of({"type": {"const": kind}, kind: member})


_FILE = object_of({}, dict.fromkeys(("file_id", "file_data", "filename"), _TEXT)) | {
    "anyOf": [
        {"properties": {name: _TEXT}, "required": [name]} for name in ("file_id", "file_data")
    ]
}
_PART_SCHEMAS: Mapping[str, Schema] = {
    "text": _kind("text", _TEXT),
    "refusal": _kind("refusal", _TEXT),
    "image_url": _kind("image_url", object_of({"url": _TEXT}, {"detail": {"enum": [*DETAILS]}})),
    "input_audio": _kind("input_audio", _strings("data", "format")),
    "file": _kind("file", _FILE),
}
# Parts of a kind that OpenAI does not have are the upstream's business.
_OTHER_PART = object_of({"type": {"type": "string", "not": {"enum": sorted(ALL_PARTS)}}})


def _content(role: str) -> Schema:
    parts = [_PART_SCHEMAS[kind] for kind in sorted(PARTS[role])]
    several = {"type": "array", "minItems": 1, "items": {"anyOf": [*parts, _OTHER_PART]}}
    return {"anyOf": [_TEXT, several]}


def _message(
    role: str, required: dict[str, Schema], optional: dict[str, Schema] | None = None
) -> Schema:
    return object_of({"role": {"const": role}, **required}, optional)


_CALLED: Mapping[str, Schema] = {
    "function": _strings("name", "arguments"),
    "custom": _strings("name", "input"),
}
_TOOL_CALL: Schema = {
    "anyOf": [
        object_of({"id": _TEXT, "type": {"const": kind}, kind: called})
        for kind, called in _CALLED.items()
    ]
}
_SAID_ELSEWHERE: Mapping[str, Schema] = {
    "tool_calls": {"type": "array", "minItems": 1},
    "function_call": _OBJECT,
    "audio": _OBJECT,
    "refusal": {"type": "string", "minLength": 1},
}


def _assistant() -> Schema:
    members = {
        "content": _content("assistant"),
        "name": _TEXT,
        "refusal": _TEXT,
        "audio": _strings("id"),
        "function_call": _strings("name", "arguments"),
        "tool_calls": {"type": "array", "items": _TOOL_CALL},
    }
    says = {"properties": {"content": {"not": {"type": "null"}}}, "required": ["content"]}
    elsewhere = [
        {"properties": {name: schema}, "required": [name]}
        for name, schema in _SAID_ELSEWHERE.items()
    ]
    return _message("assistant", {}, members) | {"anyOf": [says, *elsewhere]}


def messages_schema() -> Schema:
    """A conversation: for each role its own form of message."""
    name = {"name": _TEXT}
    plain = [
        _message(role, {"content": _content(role)}, name)
        for role in ("developer", "system", "user")
    ]
    called = {"content": _content("tool"), "tool_call_id": _TEXT}
    of_role = [
        *plain,
        _assistant(),
        _message("tool", called, name),
        _message("function", name, {"content": _content("function")}),
    ]
    return {"type": "array", "minItems": 1, "items": {"anyOf": of_role}}


FUNCTION = _named({"parameters": _OBJECT, "strict": _FLAG})
TOOL: Schema = {"anyOf": [_kind("function", FUNCTION), _kind("custom", _named())]}
_ALLOWED = object_of(
    {"mode": {"enum": ["auto", "required"]}, "tools": {"type": "array", "items": _OBJECT}}
)
TOOL_CHOICE: Schema = {
    "anyOf": [
        {"type": "string", "enum": [*TOOL_CHOICES]},
        _kind("function", _named()),
        _kind("custom", _named()),
        _kind("allowed_tools", _ALLOWED),
    ]
}
FUNCTION_CALL: Schema = {"anyOf": [{"type": "string", "enum": ["none", "auto"]}, _named()]}
RESPONSE_FORMAT: Schema = {
    "anyOf": [
        object_of({"type": {"enum": ["text", "json_object"]}}),
        _kind("json_schema", _named({"schema": _OBJECT, "strict": _FLAG})),
    ]
}
AUDIO = object_of({"voice": {"type": ["string", "object"]}, "format": _TEXT})
PREDICTION = object_of(
    {
        "type": {"const": "content"},
        "content": {"anyOf": [_TEXT, {"type": "array", "items": _PART_SCHEMAS["text"]}]},
    }
)
