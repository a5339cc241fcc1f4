"""The OpenAPI document of some operations. Source: OpenAPI Specification 3.1.1."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app import __version__
from app.openai.shown import Schema
from app.routes.openapi import headers, refusals
from app.routes.openapi.answers import answer_schemas
from app.routes.openapi.headers import ANSWER_HEADERS, REQUEST_HEADERS
from app.routes.openapi.operations import OPERATIONS
from app.routes.openapi.requests import request_schemas
from app.routes.openapi.rows import Header, Operation, Parameter

Part = dict[str, Any]

DESCRIPTION = (
    "An edge gateway for LLM completions. Every answer has an `X-Request-ID`, and every refusal "
    'one envelope, `{"error": {…}}`, whose `message` says what would help. Paths are served '
    "under exactly one spelling."
)
_SCHEMES: Mapping[str, Part] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A caller's key. `x-api-key` and `api-key` are taken as well.",
    },
    "adminKey": {"type": "http", "scheme": "bearer", "description": "An operator's key."},
}
_SECURITY: Mapping[str, list[Part]] = {
    "key": [{"bearer": []}],
    "admin": [{"adminKey": []}],
    "none": [],
}


def document(
    operations: Sequence[Operation] = OPERATIONS, schemas: Mapping[str, Schema] | None = None
) -> Part:
    """The whole document; ``schemas`` are components beyond the callers' own."""
    paths: dict[str, Part] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    admin = any(operation.security == "admin" for operation in operations)
    components = {**request_schemas(), **answer_schemas(), "Error": refusals.envelope()}
    return {
        "openapi": "3.1.1",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Headgate",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components | dict(schemas or {}),
            "responses": _refused({status for one in operations for status in one.refusals}),
            "headers": {header.name: _header(header) for header in ANSWER_HEADERS},
            "parameters": {header.name: _accepted(header) for header in REQUEST_HEADERS},
            "securitySchemes": {
                name: scheme for name, scheme in _SCHEMES.items() if admin or name == "bearer"
            },
        },
    }


def _operation(operation: Operation) -> Part:
    found: Part = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": _SECURITY[operation.security],
        "responses": _responses(operation),
    }
    if operation.parameters or operation.accepts:
        accepted = [{"$ref": f"#/components/parameters/{name}"} for name in operation.accepts]
        found["parameters"] = [*map(_parameter, operation.parameters), *accepted]
    if operation.body is not None:
        content: Part = {"schema": _ref(operation.body)}
        if operation.examples:
            content["examples"] = {
                title.replace(" ", "-").replace(",", ""): {"summary": title, "value": value}
                for title, value in operation.examples.items()
            }
        found["requestBody"] = {
            "required": operation.needs_body,
            "content": {"application/json": content},
        }
    return found


def _responses(operation: Operation) -> Part:
    names = [header.name for header in ANSWER_HEADERS if header.always]
    shown = {
        name: {"$ref": f"#/components/headers/{name}"} for name in (*names, *operation.headers)
    }
    answers: Part = {}
    for reply in operation.replies:
        answer = answers.setdefault(
            str(reply.status), {"description": reply.meaning, "headers": shown, "content": {}}
        )
        answer["content"][reply.media] = {"schema": _ref(reply.schema)}
    told = {reply.status for reply in operation.replies}
    for status in operation.refusals:
        if status not in told:
            answers[str(status)] = {"$ref": f"#/components/responses/{status}"}
    if 502 in operation.refusals:  # what an upstream refuses keeps its status
        answers[refusals.OPEN] = {"$ref": f"#/components/responses/{refusals.OPEN}"}
    return answers


def _refused(statuses: Collection[int]) -> Part:
    """A response for each of these statuses, with the codes that it may have."""
    shown = {
        header.name: {"$ref": f"#/components/headers/{header.name}"}
        for header in headers.ANSWER_HEADERS
        if header.always
    }
    content = {"application/json": {"schema": _ref("Error")}}
    answers: Part = {
        refusals.OPEN: {
            "description": "A provider's own refusal, in our envelope, with its status.",
            "headers": shown,
            "content": content,
        }
    }
    for status in sorted(statuses):
        rows = refusals.rows_of(status)
        lines = [f"{row.when} (`{'`, `'.join(row.codes)}`)" for row in rows]
        answers[str(status)] = {
            "description": " ".join(lines),
            "headers": shown,
            "content": content,
            "x-codes": {code: row.type for row in rows for code in row.codes},
        }
    return answers


def _header(header: Header) -> Part:
    required = {"required": True} if header.always else {}
    return {"description": header.meaning, "schema": header.schema, **required}


def _accepted(header: Header) -> Part:
    return {
        "name": header.name,
        "in": "header",
        "description": header.meaning,
        "schema": header.schema,
    }


def _parameter(parameter: Parameter) -> Part:
    shown = {} if parameter.example is None else {"example": parameter.example}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.meaning,
        "schema": parameter.schema,
        **shown,
    }


def _ref(name: str) -> Part:
    return {"$ref": f"#/components/schemas/{name}"}
