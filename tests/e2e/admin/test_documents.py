"""/docs, /llms.txt and /openapi.json: on the management listener, and to callers where they may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness.configuration import key
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway, free_port

EVERYTHING = ["completions", "chat", "embeddings"]


def settings(docs: bool, port: int) -> dict[str, Any]:
    return {
        "server": {"docs": docs, "management": {"port": port}},
        "providers": {"sim": {"kind": "simulator"}},
        "models": {"demo": {"targets": [{"provider": "sim", "model": "s"}]}},
        "tenants": {"acme": {}},
        "keys": [key("all", capabilities=EVERYTHING)],
        "admin": {"keys": [{"id": "ops", "secret_sha256": "ab" * 32, "scopes": ["*"]}]},
    }


@pytest.fixture(scope="module")
def listeners() -> Iterator[tuple[Gateway, httpx.Client]]:
    port = free_port()
    with Gateway(settings(False, port)) as gateway:
        base = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=base, trust_env=False, timeout=10) as client:
            yield gateway, client


def test_the_page_is_served_with_a_strict_policy(listeners: Any) -> None:
    _, management = listeners
    for path, kind in (
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/docs.js", "text/javascript; charset=utf-8"),
        ("/docs/docs.css", "text/css; charset=utf-8"),
        ("/docs/tutorial.md", "text/markdown; charset=utf-8"),
        ("/llms.txt", "text/plain; charset=utf-8"),
    ):
        answer = management.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind), path
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy


def test_a_page_that_is_not_there_is_a_404(listeners: Any) -> None:
    _, management = listeners
    for path in ("/docs/none.md", "/docs/../setup.py", "/docs/%2e%2e/setup.py", "/docs/x.js"):
        assert management.get(path).status_code == 404, path


def test_the_operators_document_has_their_operations_too(listeners: Any) -> None:
    gateway, management = listeners
    own = management.get("/openapi.json").json()
    of_callers = gateway.get("/openapi.json", key=None).document
    more = set(own["paths"]) - set(of_callers["paths"])
    assert "/admin/v1/keys" in more
    assert all(path.startswith("/admin/v1/") for path in more)
    from openapi_spec_validator import validate

    validate(own)


def test_callers_are_not_served_the_pages_unless_they_may(listeners: Any) -> None:
    gateway, _ = listeners
    for path in ("/docs", "/docs/api.md", "/llms.txt", "/docs/try/v1/models"):
        assert gateway.get(path).status == 404, path
    with Gateway(settings(True, free_port())) as open_to_all:
        for path in ("/docs", "/docs/api.md", "/llms.txt", "/docs/try/v1/models"):
            assert open_to_all.get(path).status == 200, path
        assert open_to_all.get("/admin/v1/whoami").status == 404


def test_the_form_asks_as_a_caller_with_the_key_that_was_typed_in(listeners: Any) -> None:
    _, management = listeners
    body = {"model": "demo", "prompt": "a", "stream": True}
    headers = {"authorization": f"Bearer {KEY}"}
    answer = management.post("/docs/try/v1/completions", json=body, headers=headers)
    assert answer.status_code == 200
    events = [line for line in answer.text.splitlines() if line]
    assert events[-1] == "data: [DONE]"
    assert json.loads(events[0].removeprefix("data: "))["object"] == "text_completion"
    refused = management.post("/docs/try/v1/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_api_key")
    assert management.post("/docs/try/admin/v1/keys", json={}, headers=headers).status_code == 404
