"""The operators' operations, made of the rows by which the admin API finds its endpoints, and the
schemas of what they take, made of the structs by which it is checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import fields

from app.config.schema.json_schema import VARIABLE, schema_of
from app.config.settings import BudgetPolicy, CallerKey, LimitPolicy, Tenant
from app.openai.shown import Schema, or_null
from app.routes.admin.calls import AdminRoute
from app.routes.admin.table import PREFIX
from app.routes.openapi.rows import Operation, Parameter, Reply

NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}
_SECTIONS: Mapping[str, Any] = {
    "Key": CallerKey,
    "Tenant": Tenant,
    "Limits": LimitPolicy,
    "Budget": BudgetPolicy,
}
_KINDS = {"keys": "Key", "tenants": "Tenant", "limits": "Limits", "budgets": "Budget"}
_OF_FILES = ("secret", "secret_file")  # members that only a file may have

_READ = (400, 401, 403, 404, 405, 429, 500, 503)
_WRITE = (400, 401, 403, 404, 405, 408, 409, 412, 413, 422, 429, 500, 503)

# What acts beside the four kinds take.
_BODIES: Mapping[str, tuple[str, Schema]] = {
    "rotate": ("Rotation", {"grace": {"type": "string", "pattern": "^[0-9]{1,2}h$"}}),
    "grant": ("Grant", {"usd": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000}}),
    "purge": ("Purge", {"namespace": {"type": "string"}}),
    "block": ("Nothing", {}),
    "unblock": ("Nothing", {}),
    "reset": ("Nothing", {}),
}
_REQUIRED = {"Grant": ["usd"]}

_QUERY: Mapping[str, tuple[str, Schema]] = {
    "limit": ("How many entries a page has.", {"type": "integer", "minimum": 1, "maximum": 200}),
    "cursor": ("The `next_cursor` of the page before.", {"type": "string"}),
    "tenant": ("Only this tenant's.", NAME),
    "hashes": ("Also the hashes of secrets; needs `keys:write`.", {"enum": ["true"]}),
    "running": ("What becomes of requests that run.", {"enum": ["finish", "cancel"]}),
    "source": ("`file` or `api`, where both have one of this name.", {"enum": ["file", "api"]}),
}


def operator_operations(routes: Iterable[AdminRoute]) -> list[Operation]:
    """An operation for each row."""
    return [_operation(route) for route in routes]


def operator_schemas() -> dict[str, Schema]:
    """The components that these operations name."""
    found: dict[str, Schema] = {}
    for name, section in _SECTIONS.items():
        found |= _taken(name, section)
    for name, properties in _BODIES.values():
        found[name] = _closed(properties, _REQUIRED.get(name, []))
    texts = {"object": {"type": "string"}, "id": {"type": "string"}}
    found["OperatorObject"] = {"type": "object", "properties": texts, "required": ["object"]}
    listed = {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"type": "object"}},
        "next_cursor": {"type": ["string", "null"]},
    }
    found["OperatorList"] = {"type": "object", "properties": listed, "required": [*listed]}
    found["Report"] = {"type": "object"}
    return found


def _taken(name: str, section: Any) -> dict[str, Schema]:
    """What makes, replaces and changes an object of one kind."""
    spec = _as_sent(schema_of(section))
    absent = {field.encode_name for field in fields(section) if field.default is None}
    members = {
        member: or_null(schema) if member in absent else schema
        for member, schema in spec["properties"].items()
        if member not in (*_OF_FILES, "id")
    }
    patch = {
        member: schema if member in absent else or_null(schema)
        for member, schema in members.items()
    }
    required = [member for member in spec.get("required", []) if member != "id"]
    return {
        name: _closed(members, required),
        f"New{name}": _closed({"id": NAME, **members}, ["id", *required]),
        f"{name}Changes": _closed(patch, []),
    }


def _closed(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    named = {"required": required} if required else {}
    return {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
        **named,
    }


def _as_sent(schema: Any) -> Any:
    """A schema of the file's, without what stands for a variable of the environment there."""
    if isinstance(schema, list):
        return [_as_sent(part) for part in schema if part != VARIABLE]
    if not isinstance(schema, dict):
        return schema
    found = {name: _as_sent(part) for name, part in schema.items()}
    if len(found.get("anyOf", ())) == 1:
        found |= found.pop("anyOf")[0]
    return found


def _operation(route: AdminRoute) -> Operation:
    parts = route.path.strip("/").split("/")
    said = (route.run.__doc__ or "").strip().split("\n\n")[0]
    summary = _summary(route, parts)
    scope = f"Needs the scope `{route.scope}`." if route.scope else "Any admin key may."
    named = [part[1:-1] for part in parts if part.startswith("{")]
    return Operation(
        route.method,
        PREFIX + route.path,
        _id(route, parts),
        "Operators",
        summary,
        f"{' '.join(said.split())} {scope}".strip(),
        "admin",
        _replies(route, parts),
        _READ if route.method == "GET" else _WRITE,
        body=_body(route, parts),
        needs_body=parts[-1] not in _BODIES or parts[-1] == "grant",
        parameters=[
            *(Parameter(name, "path", _meaning(name), {"type": "string"}) for name in named),
            *(Parameter(name, "query", *_query(name, parts[0])) for name in route.query),
        ],
    )


def _id(route: AdminRoute, parts: list[str]) -> str:
    words = ["one" if part.startswith("{") else part for part in parts]
    verbs = {"GET": "read", "POST": "post", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}
    return verbs[route.method] + "".join(word.capitalize() for word in words)


def _summary(route: AdminRoute, parts: list[str]) -> str:
    words = " ".join(part for part in parts if not part.startswith("{"))
    verbs = {
        "GET": "Read",
        "POST": "Make" if len(parts) == 1 else "Do",
        "PUT": "Replace",
        "PATCH": "Change",
        "DELETE": "Delete",
    }
    return f"{verbs[route.method]} {words}"


def _meaning(name: str) -> str:
    scope = "`key:ID`, `tenant:ID` or `model:TENANT:ALIAS`."
    return scope if name == "scope" else "The object's name."


def _query(name: str, resource: str) -> tuple[str, Schema]:
    if name == "limit" and resource not in (*_KINDS, "audit"):
        return "How many entries there are at most.", {"type": "integer", "minimum": 1}
    return _QUERY.get(name, (f"Chooses by `{name}`; see docs/admin.md.", {"type": "string"}))


def _body(route: AdminRoute, parts: list[str]) -> str | None:
    if route.method in ("GET", "DELETE"):
        return None
    if parts[-1] in _BODIES:
        return _BODIES[parts[-1]][0]
    kind = _KINDS[parts[0]]
    return {"POST": f"New{kind}", "PUT": kind, "PATCH": f"{kind}Changes"}[route.method]


def _replies(route: AdminRoute, parts: list[str]) -> list[Reply]:
    """What it may answer; a replacement may be the first of its name."""
    first = [Reply(201, "It is new.", "OperatorObject")] if route.method == "PUT" else []
    return [_reply(route, parts), *first]


def _reply(route: AdminRoute, parts: list[str]) -> Reply:
    if parts[-1] == "tail":
        return Reply(200, "Server-sent events.", "Report", "text/event-stream")
    if route.method == "GET" and (parts[0] in (*_KINDS, "audit")):
        if len(parts) == 1:
            return Reply(200, "A page.", "OperatorList")
        return Reply(200, "The object.", "OperatorObject")
    if route.method == "GET":
        return Reply(200, "What was asked for.", "Report")
    made = route.method == "POST" and (len(parts) == 1 or parts[-1] == "rotate")
    return Reply(201 if made else 200, "The object as it is now.", "OperatorObject")
