"""The operators' part of /openapi.json is what the admin API does: schemathesis asks it what the
document allows, and what it forbids."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.admin.operators import OPS, Operator, configuration, operators
from tests.harness.gateway import Gateway

SECONDS = "3"  # all of it takes a minute


@pytest.fixture(scope="module")
def trial() -> Iterator[Gateway]:
    settings = configuration("memory://") | {"log": {"format": "json", "level": "warning"}}
    with Gateway(settings, [OPS]) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def own(trial: Gateway) -> Iterator[Operator]:
    with operators(trial, OPS) as [own]:
        yield own


@pytest.fixture(scope="module")
def document(own: Operator) -> Any:
    answer = own._client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def test_the_callers_port_tells_nothing_of_operators(trial: Gateway, document: Any) -> None:
    callers = trial.get("/openapi.json", key=None).document
    assert not [path for path in callers["paths"] if path.startswith("/admin")]
    assert set(callers["paths"]) < set(document["paths"])


def test_it_names_every_route_of_the_page(document: Any) -> None:
    named = {path.removeprefix("/admin/v1") for path in document["paths"] if "/admin/" in path}
    page = (Path(__file__).parents[3] / "docs" / "admin.md").read_text()
    told = {path for path in named if f"{path}`" in page or f"{path}?" in page}
    acts = {path for path in named if path.startswith(("/tenants", "/limits", "/budgets", "/keys"))}
    assert named - told - acts == set()


def narrowed(document: Any) -> Any:
    """Without what a schema cannot say: names that are there, and moments in time.

    Streams have no end, and what a report chooses by is told on its page.
    """
    narrow = json.loads(json.dumps(document))
    narrow["paths"] = {
        path: part
        for path, part in narrow["paths"].items()
        if path.startswith("/admin/") and "tail" not in path
    }
    for path, part in narrow["paths"].items():
        for one in part.values():
            known = {"limit", "source"} | ({"id", "scope"} if "{" in path else set())
            one["parameters"] = [p for p in one.get("parameters", []) if p["name"] in known]
    schemas = narrow["components"]["schemas"]
    for name in ("Key", "NewKey", "KeyChanges"):
        members = schemas[name]["properties"]
        for member, values in {
            "tenant": ["acme", "globex"],
            "limits": ["slow", None],
            "budget": ["small", None],
            "expires": ["2031-01-01", None],
        }.items():
            members[member] = {"enum": values}
        del members["secret_sha256"]
    for name in ("Tenant", "NewTenant", "TenantChanges"):
        members = schemas[name]["properties"]
        members |= {"limits": {"type": "null"}, "budget": {"type": "null"}, "models": {"const": {}}}
    return narrow


def test_schemathesis_finds_no_difference(own: Operator, document: Any, tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(narrowed(document)))
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "schemathesis"), "run", str(file)),
            *("--url", str(own._client.base_url)),
            *("--header", f"Authorization: Bearer {OPS}", "--no-color", "--workers", "1"),
            *("--phases", "examples,coverage,fuzzing", "--max-time", SECONDS),
            *("--max-examples", "3", "--generation-deterministic"),
            *("--exclude-checks", "positive_data_acceptance,ignored_auth"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
