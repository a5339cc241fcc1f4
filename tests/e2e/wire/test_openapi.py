"""GET /openapi.json is what a running gateway does: schemathesis asks it what the document allows,
and what it forbids."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.harness.configuration import key
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway

EVERYTHING = ["completions", "chat", "embeddings"]
ONLY_WITH_OTHERS = {
    "CompletionRequest": ["best_of", "stream_options"],
    "ChatRequest": [
        *("stream_options", "max_tokens", "top_logprobs", "modalities"),
        *("tool_choice", "parallel_tool_calls", "function_call"),
    ],
}
SECONDS = "10"


@pytest.fixture(scope="module")
def trial() -> Iterator[Gateway]:
    settings = {
        "providers": {"sim": {"kind": "simulator"}},
        "models": {"demo": {"targets": [{"provider": "sim", "model": "s"}], "cache": {}}},
        "tenants": {"acme": {}},
        "keys": [key("all", capabilities=EVERYTHING)],
        "log": {"format": "json", "level": "warning"},
    }
    with Gateway(settings) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def document(trial: Gateway) -> Any:
    answer = trial.get("/openapi.json", key=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.document


def for_the_simulator(document: Any) -> Any:
    """The document without what this gateway cannot do, and what a schema cannot say.

    The simulator has no tokenizer, the blocks of a message are Anthropic's to describe, a feedback needs the id of an answer, the longest ``since`` is no
    pattern, a server of texts takes ``messages`` only as one user message of text, and to JSON Schema
    ``1.0`` is an integer. What goes only with another member is tested where that is refused.
    """
    narrow = json.loads(json.dumps(document))
    schemas = narrow["components"]["schemas"]
    for path in (
        "/tokenize",
        "/tokenizer_info",
        "/v1/cache/feedback",
        "/v1/messages",
        "/v1/fim/completions",
    ):
        del narrow["paths"][path]
    del narrow["paths"]["/v1/usage"]["get"]["parameters"]
    for name in ("CompletionRequest", "ChatRequest", "EmbeddingsRequest"):
        schemas[name]["properties"]["model"] = {"const": "demo"}
    completion = schemas["CompletionRequest"]
    completion["properties"]["messages"] = {"type": "null"}
    completion["oneOf"].pop()
    for name, members in ONLY_WITH_OTHERS.items():
        for member in members:
            schemas[name]["properties"][member] = {"type": "null"}
    ids = {"enum": [0, 1, 50_000]}
    for batch in (
        completion["properties"]["prompt"],
        schemas["EmbeddingsRequest"]["properties"]["input"],
    ):
        for shape in batch["anyOf"]:
            items = shape.get("items", {})
            if items.get("type") == "integer":
                shape["items"] = ids
            elif items.get("type") == "array":
                items["items"] = ids
    return narrow


def test_schemathesis_finds_no_difference(trial: Gateway, document: Any, tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(for_the_simulator(document)))
    done = subprocess.run(
        [
            *(
                str(Path(sys.executable).parent / "schemathesis"),
                "run",
                str(file),
                "--url",
                trial.url,
            ),
            *("--header", f"Authorization: Bearer {KEY}", "--no-color", "--workers", "1"),
            *("--phases", "examples,coverage,fuzzing", "--max-time", SECONDS),
            *("--max-examples", "5", "--generation-deterministic"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    # All that are there; on a busy machine the time is up before the last one's turn.
    found = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", done.stdout)
    assert found, done.stdout[-3000:]
    selected, there, tested = map(int, found.groups())
    assert selected == there
    assert tested >= there // 2, done.stdout[-3000:]


def events_of(trial: Gateway, path: str, body: Any) -> list[str]:
    answer = trial.ask(
        "POST", path, KEY, {"content-type": "application/json"}, json.dumps(body).encode()
    )
    assert answer.status == 200
    return [payload.decode() for payload in answer.payloads]


@pytest.mark.parametrize(
    ("path", "asked", "schema"),
    [
        ("/v1/completions", {"prompt": ["a", "b"]}, "CompletionEvent"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}, "ChatEvent"),
    ],
)
def test_an_event_of_a_stream_is_what_the_document_says(
    trial: Gateway, document: Any, path: str, asked: Any, schema: str
) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *events, end = events_of(trial, path, {"model": "demo", **asked, **options})
    judge = jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    )
    assert end == "[DONE]"
    assert len(events) > 2
    assert [event for event in events if not judge.is_valid(json.loads(event))] == []
