"""A path that leads nowhere: what was meant."""

from __future__ import annotations

import pytest

from app.routes.near_paths import LONGEST, NearPaths
from app.routes.openapi.operations import OPERATIONS

NEAR = NearPaths((o.method, o.path) for o in OPERATIONS)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/completions", "POST /v1/completions"),
        ("/v1/completion", "POST /v1/completions"),
        ("/v1/completions/", "POST /v1/completions"),
        ("//v1//completions", "POST /v1/completions"),
        ("/V1/Completions", "POST /v1/completions"),
        ("/v1/%63ompletions", "POST /v1/completions"),
        ("/v1/v1/completions", "POST /v1/completions"),
        ("/v1/completions/chat/completions", "POST /v1/chat/completions"),
        ("/openai/deployments/x/completions", "POST /v1/completions"),
        ("/openai/deployments/x/chat/completions", "POST /v1/chat/completions"),
        ("/v1/engines/davinci/completions", "POST /v1/completions"),
        ("/v1/chat", "POST /v1/chat/completions"),
        ("/v1/chat/completion", "POST /v1/chat/completions"),
        ("/v1/comletions", "POST /v1/completions"),
        ("/v1/message", "POST /v1/messages"),
        ("/api/chat", "POST /v1/chat/completions"),
        ("/v1/embedding", "POST /v1/embeddings"),
        ("/models", "GET /v1/models"),
        ("/v1/model", "GET /v1/models"),
        ("/usage", "GET /v1/usage"),
        ("/healthz", "GET /health/live"),
        ("/health/redy", "GET /health/ready"),
        ("/openapi.yaml", "GET /openapi.json"),
    ],
)
def test_the_path_that_was_meant_is_named_with_its_method(path: str, meant: str) -> None:
    assert NEAR.hint(path.encode()) == f"; did you mean {meant}?"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
def test_the_base_of_the_api_says_what_it_is(path: str) -> None:
    assert NEAR.hint(path.encode()) == "; the API begins at /v1: try GET /v1/models"


@pytest.mark.parametrize(
    "path", ["/wp-admin", "/etc/passwd", "/\xff\xfe", "/x" * LONGEST, "/v1/images/generations"]
)
def test_of_what_is_far_away_nothing_is_said(path: str) -> None:
    assert NEAR.hint(path.encode("latin-1")) == ""


def test_every_hint_leads_somewhere() -> None:
    from app.routes.near_paths import ELSEWHERE

    assert set(ELSEWHERE.values()) <= {o.path for o in OPERATIONS}
