"""The operators' part of the OpenAPI document: a row of the admin API is an operation, and the schemas
are those of the structs that check."""

from __future__ import annotations

from typing import Any

from openapi_spec_validator import validate

from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.openapi.document import document
from app.routes.openapi.operations import OPERATIONS
from app.routes.openapi.operators import operator_operations, operator_schemas


async def shown(call: AdminCall) -> AdminReply:
    """One of them."""
    return AdminReply()


def row(method: str, path: str, *query: str) -> AdminRoute:
    return AdminRoute(method, path, "keys:read", shown, query)


ROWS = [
    row("GET", "/keys", "limit", "cursor"),
    row("POST", "/keys"),
    row("GET", "/keys/{id}"),
    row("PUT", "/keys/{id}"),
    row("PATCH", "/keys/{id}"),
    row("POST", "/keys/{id}/rotate"),
    row("POST", "/keys/{id}/block"),
    row("DELETE", "/keys/{id}"),
    row("POST", "/budgets/{scope}/grant"),
    row("GET", "/requests/tail"),
]
WHOLE = document([*OPERATIONS, *operator_operations(ROWS)], operator_schemas())


def operation(method: str, path: str) -> Any:
    return WHOLE["paths"][f"/admin/v1{path}"][method.lower()]


def test_it_is_a_valid_openapi_document() -> None:
    validate(WHOLE)  # raises


def test_every_row_is_an_operation_behind_an_admin_key() -> None:
    for one in ROWS:
        found = operation(one.method, one.path)
        assert found["security"] == [{"adminKey": []}]
        assert found["description"] == "One of them. Needs the scope `keys:read`."
    ids = [one["operationId"] for part in WHOLE["paths"].values() for one in part.values()]
    assert len(ids) == len(set(ids))


def test_what_a_key_may_hold_is_what_the_check_takes() -> None:
    schemas = WHOLE["components"]["schemas"]
    new = schemas["NewKey"]
    assert new["required"] == ["id", "tenant"]
    assert {"secret", "secret_file"}.isdisjoint(new["properties"])
    assert {"tenant", "models", "limits", "budget", "expires", "secret_sha256"} < set(
        new["properties"]
    )
    assert new["additionalProperties"] is False
    assert "required" not in schemas["KeyChanges"]


def test_a_row_says_what_it_takes_and_gives() -> None:
    made = operation("POST", "/keys")
    assert made["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/NewKey")
    assert {"201", "400", "409", "412", "422"} <= set(made["responses"])
    listed = operation("GET", "/keys")
    assert [one["name"] for one in listed["parameters"]] == ["limit", "cursor"]
    assert "text/event-stream" in operation("GET", "/requests/tail")["responses"]["200"]["content"]
