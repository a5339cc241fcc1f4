"""The OpenAPI document is valid, whole, and says what the code and docs/api.md say."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from app.chain.model_chain import FAMILIES
from app.routes.openapi.document import document
from app.routes.openapi.headers import ANSWER_HEADERS, REQUEST_HEADERS
from app.routes.openapi.operations import OPERATIONS
from app.routes.openapi.refusals import REFUSALS
from app.routes.openapi.requests import MEANINGS, REQUESTS
from app.routes.openapi.rows import Operation

ROOT = Path(__file__).parents[4]
API = (ROOT / "docs" / "api.md").read_text()
SOURCES = [p for room in ("app", "middleware", "cache") for p in (ROOT / room).rglob("*.py")]
TABLES = ROOT / "app" / "routes" / "openapi"
WHOLE = document()


def section(title: str) -> str:
    [text] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", API, re.MULTILINE | re.DOTALL)
    return text


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from refs(value)
    elif isinstance(part, list):
        for value in part:
            yield from refs(value)


def test_it_is_a_valid_openapi_document() -> None:
    validate(WHOLE)  # raises


def test_every_component_is_used_and_every_reference_leads_somewhere() -> None:
    named = {
        f"#/components/{kind}/{name}"
        for kind, parts in WHOLE["components"].items()
        if kind != "securitySchemes"
        for name in parts
    }
    assert set(refs(WHOLE)) == named


def test_it_has_the_routes_of_the_page() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("Routes"), re.MULTILINE)
    told = {span for row in rows for span in code_spans(row)}
    told = {span.partition("?")[0] for span in told}
    told -= {"GET /metrics", "GET /metrics/shared"}  # the operator's
    assert {f"{o.method} {o.path}" for o in OPERATIONS} == told


@pytest.mark.parametrize(
    ("title", "component"),
    [
        ("POST /v1/completions", "CompletionRequest"),
        ("POST /v1/chat/completions", "ChatRequest"),
        ("POST /v1/embeddings", "EmbeddingsRequest"),
    ],
)
def test_it_has_the_fields_of_the_page(title: str, component: str) -> None:
    [table] = re.findall(
        r"^\| field \| rule \|\n\|.*?\n((?:\|.*\n)+)", section(title), re.MULTILINE
    )
    told = {name for row in table.splitlines() for name in code_spans(row.split(" | ")[0])}
    assert set(WHOLE["components"]["schemas"][component]["properties"]) == told


def test_every_field_has_a_sentence_and_no_sentence_is_left_over() -> None:
    fields = {name for checks, _ in REQUESTS.values() for name in checks}
    assert set(MEANINGS) == fields


@pytest.mark.parametrize(
    ("heading", "table"),
    [("header of an answer", ANSWER_HEADERS), ("header of a request", REQUEST_HEADERS)],
)
def test_it_has_the_headers_of_the_page(heading: str, table: Any) -> None:
    [rows] = re.findall(rf"^\| {heading} .*\n\|.*\n((?:\|.*\n)+)", API, re.MULTILINE)
    told: set[str] = set()
    for row in rows.splitlines():
        for name in code_spans(row.split(" | ")[0]):
            bare = name.partition(":")[0]
            told |= set(written_out(bare))
    assert {header.name for header in table} == told


def written_out(name: str) -> Iterator[str]:
    """``x-{a,b}-{c,d}`` as its four names."""
    found = re.search(r"\{([^}]+)\}", name)
    if found is None:
        yield name
        return
    for choice in found[1].split(","):
        yield from written_out(name.replace(found[0], choice, 1))


OTHERS = {
    *("x-headgate-signature", "x-headgate-timestamp"),  # what webhooks of guardrails are sent
    "x-headgate-relay",  # between the processes of one gateway
    "x-headgate-token",  # between the dashboard and the gateway that serves it
}


def test_it_has_the_headers_of_the_code() -> None:
    found: set[str] = set()
    for file in SOURCES:
        if TABLES not in file.parents:
            found |= set(re.findall(r'b"(x-headgate-[a-z-]*[a-z])"', file.read_text()))
    assert found - OTHERS == {
        header.name for header in (*ANSWER_HEADERS, *REQUEST_HEADERS) if "headgate" in header.name
    }


def test_it_has_the_refusals_of_the_page() -> None:
    told = set()
    for statuses, kind, codes in re.findall(
        r"^\| ([0-9, ]+) \| `(\w+)` \| (.*) \|$", section("Errors"), re.MULTILINE
    ):
        told |= {(kind, code) for code in code_spans(codes)}
        assert {int(s) for s in statuses.split(", ")} <= {row.status for row in REFUSALS}
    assert {(row.type, code) for row in REFUSALS for code in row.codes} == told


def codes_raised(tree: ast.AST) -> Iterator[str]:
    """Whatever is given as ``code``: ``code="…"`` in a call, ``code = "…"`` in a class."""
    for node in ast.walk(tree):
        value: ast.expr | None = None
        if isinstance(node, ast.keyword) and node.arg == "code":
            value = node.value
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == "code" for t in targets):
                value = node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def test_it_has_the_refusals_of_the_code() -> None:
    raised = {code for file in SOURCES for code in codes_raised(ast.parse(file.read_text()))}
    assert {code for row in REFUSALS for code in row.codes} == raised


def test_its_examples_are_taken_by_the_checks() -> None:
    """And fit the schemas that are shown for them."""
    schemas = {"components": WHOLE["components"]}
    for operation in OPERATIONS:
        for body in operation.examples.values():
            schema = {"$ref": f"#/components/schemas/{operation.body}", **schemas}
            assert jsonschema_rs.Draft202012Validator(schema).is_valid(body), body
            family = FAMILIES.get(operation.path)
            if family is not None:
                family.parse(json.dumps(body).encode())


def test_another_table_adds_its_operations() -> None:
    more = Operation(
        "GET", "/admin/v1/x", "getX", "Admin", "X", "An X.", "admin",
        OPERATIONS[0].replies[:1], (401, 404),
    )  # fmt: skip
    wider = document([*OPERATIONS, more])
    validate(wider)
    assert wider["paths"]["/admin/v1/x"]["get"]["security"] == [{"adminKey": []}]
    assert "adminKey" not in WHOLE["components"]["securitySchemes"]
