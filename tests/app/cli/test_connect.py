"""`headgate check --connect`: each provider is asked for its models, and what it said is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.commands.provider_probe import list_address
from app.config import providers as kinds

KEY = "sk-right-0123456789abcdef"
LISTS = {
    "/v1/models": {"object": "list", "data": [{"id": "gpt-x"}, {"id": "claude-x"}]},
    "/v1beta/models": {"models": [{"name": "models/gemini-x"}]},
}


class Lists(BaseHTTPRequestHandler):
    """Lists models to whoever has the key, in any of the headers that providers use."""

    def do_GET(self) -> None:
        given = [self.headers.get(n) for n in ("x-api-key", "x-goog-api-key", "api-key")]
        bearer = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        known = LISTS.get(self.path)
        status = 404 if known is None else 200 if KEY in (*given, bearer) else 401
        body = json.dumps(known).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def root() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Lists) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def check(tmp_path: Path, providers: dict[str, Any], *arguments: str) -> Result:
    file = tmp_path / "gateway.yaml"
    models = {name: {"targets": [{"provider": name, "model": f"{name}-x"}]} for name in providers}
    file.write_text(json.dumps({"providers": providers, "models": models, "tenants": {"t": {}}}))
    return CliRunner().invoke(main, ["check", str(file), *arguments])


def test_every_kind_is_asked_with_its_key_and_what_it_lists_is_told(root, tmp_path):
    result = check(
        tmp_path,
        {
            "claude": {"kind": "anthropic", "base_url": root, "api_key": KEY},
            "gemini": {"kind": "gemini", "base_url": root, "api_key": KEY},
            "gpt": {"kind": "openai", "base_url": f"{root}/v1", "api_key": KEY},
        },
        "--connect",
    )
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert ": ok, 3 models" in lines[0]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["ok", "providers.claude:"],
        ["ok", "providers.gemini:"],
        ["ok", "providers.gpt:"],
    ]
    assert "with 2 models" in result.stdout


def test_a_wrong_key_and_nobody_there_end_with_1(root, tmp_path):
    result = check(
        tmp_path,
        {
            "wrong": {"kind": "openai", "base_url": f"{root}/v1", "api_key": "sk-wrong-0123456789"},
            "nobody": {"kind": "openai", "base_url": "http://127.0.0.1:1/v1"},
        },
        "--connect",
    )
    assert result.exit_code == 1
    assert "correct its `api_key`" in result.stdout
    assert "start it, or correct the port in `base_url`" in result.stdout
    assert "sk-wrong" not in result.output


def test_a_model_that_is_not_listed_and_a_wrong_path_are_warnings(root, tmp_path):
    result = check(
        tmp_path,
        {
            "other": {"kind": "openai", "base_url": f"{root}/v1", "api_key": KEY},
            "misplaced": {"kind": "openai", "base_url": f"{root}/api/v1", "api_key": KEY},
        },
        "--connect",
    )
    assert result.exit_code == 0
    assert "but not other-x" in result.stdout
    assert "`base_url` should end with /v1" in result.stdout


def test_without_the_option_nobody_is_asked(tmp_path):
    result = check(tmp_path, {"p": {"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}})
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("provider", "address"),
    [
        (
            kinds.BedrockProvider(region="eu-west-1"),
            "https://bedrock-runtime.eu-west-1.amazonaws.com/",
        ),
        (
            kinds.AzureProvider(base_url="https://r.openai.azure.com", api_version="v"),
            "https://r.openai.azure.com/openai/models?api-version=v",
        ),
        (kinds.GroqProvider(), "https://api.groq.com/openai/v1/models"),
    ],
)
def test_a_list_stands_where_the_kind_has_it(provider, address):
    assert list_address(provider) == address
