"""The commands about callers and what is kept for them: keys, usage, purges."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.commands.usage import document, table
from cache.quotas.usage import UsageRow
from tests.app.cli.test_first_steps import closed_port
from tests.harness.redis_server import RedisServer

SECRET = "hg-web-0123456789abcdef"
FILE = f"""
store: {{url: "STORE"}}
providers: {{p: {{kind: simulator}}}}
models: {{code: {{targets: [{{provider: p, model: x}}]}}}}
limits: {{small: {{requests_per_minute: 9}}}}
tenants: {{acme: {{}}, other: {{}}}}
keys:
  - {{id: web, tenant: acme, secret: {SECRET}, limits: small, capabilities: [completions, chat]}}
  - {{id: old, tenant: other, secret_sha256: "{"a1" * 32}", expires: 2020-01-01, models: ["co*"]}}
"""


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=answer)


@pytest.fixture
def file(tmp_path: Path) -> str:
    made = tmp_path / "gateway.yaml"
    made.write_text(FILE.replace("STORE", f"redis://:hidden@127.0.0.1:{closed_port()}"))
    return str(made)


# Keys.


def test_the_keys_of_the_file_are_listed_without_anything_secret(file: str) -> None:
    shown = run("keys", "list", "--config", file)
    heading, *rows = shown.stdout.splitlines()
    assert heading.split()[:3] == ["id", "tenant", "capabilities"]
    assert rows[0].split() == ["web", "acme", "completions,chat", "*", "small", "-", "-", "secret"]
    assert "2020-01-01 (expired)" in rows[1]
    assert SECRET not in shown.output
    assert "a1a1" not in shown.output


def test_the_keys_are_listed_for_programs_too(file: str) -> None:
    shown = json.loads(run("keys", "list", "--json", "--tenant", "other", "--config", file).stdout)
    [key] = shown["keys"]
    assert (key["id"], key["models"], key["expired"]) == ("old", ["co*"], True)
    assert key["secret"] == ["sha256"]


# Names that are not there.


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "list", "--tenant", "acm"),
        ("usage", "--tenant", "acm"),
        ("cache", "purge", "--tenant", "acm"),
    ],
)
def test_a_tenant_that_is_not_there_is_refused_and_a_near_one_named(
    file: str, arguments: tuple[str, ...]
) -> None:
    result = run(*arguments, "--config", file)
    assert result.exit_code == 1
    assert "--tenant: no such entry in `tenants`: 'acm'; did you mean 'acme'?\n" in result.stderr


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--key", "nope", "--key: no such entry in `keys`: 'nope'\n"),
        ("--key", "weeb", "--key: no such entry in `keys`: 'weeb'; did you mean 'web'?\n"),
        ("--model", "kode", "--model: no such entry in `models`: 'kode'; did you mean 'code'?\n"),
        ("--tenant", "nope", "--tenant: no such entry in `tenants`: 'nope'\n"),
    ],
)
def test_every_name_of_usage_fails_alike(
    tmp_path: Path, option: str, name: str, said: str, redis: RedisServer
) -> None:
    made = tmp_path / "gateway.yaml"
    made.write_text(FILE.replace("STORE", redis.url))
    result = run("usage", option, name, "--config", str(made))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(said)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer.start() as server:
        yield server


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    """A server of another protocol: HTTP."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        BaseHTTPRequestHandler.log_message = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()


# A store that does not answer says why.


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:hidden@127.0.0.1:CLOSED", "connection refused"),
        ("redis://:hidden@no-such-host.invalid:6379", "cannot be resolved"),
        ("redis://:hidden@127.0.0.1:REDIS", "does not accept the user name and password"),
        ("redis://:hidden@127.0.0.1:OTHER", "cannot be reached, or closes the connection"),
    ],
)
@pytest.mark.parametrize("command", [("usage",), ("cache", "purge", "--yes"), ("doctor",)])
def test_the_command_that_needs_the_store_says_why_it_has_none(
    tmp_path: Path, url: str, says: str, command: tuple[str, ...], redis: RedisServer, web: int
) -> None:
    ports = {"CLOSED": closed_port(), "REDIS": redis.port, "OTHER": web}
    address = url
    for name, port in ports.items():
        address = address.replace(name, str(port))
    made = tmp_path / "gateway.yaml"
    made.write_text(FILE.replace("STORE", address))
    result = run(*command, "--config", str(made))
    assert result.exit_code == 1
    assert says in result.output
    assert address.rpartition("@")[2] in result.output
    assert "hidden" not in result.output


# Purging everything.


def test_a_script_cannot_forget_everything_by_accident(file: str) -> None:
    result = run("cache", "purge", "--config", file)
    assert result.exit_code == 1
    assert "--yes: this forgets every cached answer of all tenants (acme, other)" in result.stderr


@pytest.mark.parametrize(("answer", "said"), [("n\n", "nothing was forgotten"), ("y\n", "store")])
def test_a_person_is_asked_before_everything_is_forgotten(
    file: str, answer: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.commands.kept.command._at_a_terminal", lambda: True)
    result = run("cache", "purge", "--config", file, answer=answer)
    assert "Forget every cached answer of all tenants (acme, other)? [y/N]" in result.stderr
    assert result.exit_code == 1  # the store of this file is not there
    assert said in result.stderr.splitlines()[-1]


def test_what_is_narrowed_is_not_asked_about(file: str) -> None:
    result = run("cache", "purge", "--model", "code", "--config", file)
    assert "--yes" not in result.stderr
    assert "the store cannot be reached" in result.stderr


# Usage for programs.


def test_usage_for_programs_is_the_table_in_other_words() -> None:
    counts = {"requests": 1_000, "errors": 2, "prompt_tokens": 3, "completion_tokens": 4}
    money = {"cost": 1_500_000_000, "saved": 0}
    rows = [UsageRow("acme", "web", "code", counts | money), UsageRow("acme", "web", "", counts)]
    shown = document(rows, timedelta(hours=24))
    assert (shown["object"], shown["span_seconds"]) == ("usage", 86_400)
    expected = {
        "tenant": "acme",
        "key": "web",
        "model": "code",
        "cost_usd": "1.5",
        "saved_usd": "0",
    }
    assert shown["rows"][0].items() >= (expected | counts).items()
    assert shown["rows"][1]["model"] is None
    assert shown["total"]["requests"] == 2_000
    assert table(rows)[-1].split()[1:] == ["2,000", "4", "6", "8", "1.5", "0"]
