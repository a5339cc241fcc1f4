"""A platform operator: looks before it starts, asks what is wrong, changes the file, reads the docs."""

from __future__ import annotations

import copy
import signal
from pathlib import Path
from typing import Any

import httpx
from click.testing import CliRunner

from app.cli import main
from tests.harness.waiting import eventually
from tests.walks.conftest import Walked

MISTAKES = """\
store: {url: localhost:6379}
providers: {local: {kind: openai, base_url: http://127.0.0.1:1/v1, api_kee: ${KEY}}}
models: {house: {targets: [{provider: locale, model: x}]}}
budgets: {small: {usd: $5, per: month}}
"""


def headgate(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def management(walk: Walked, path: str) -> httpx.Response:
    return httpx.get(walk.management + path, trust_env=False, timeout=10)


def test_every_mistake_of_a_file_is_told_with_its_line_and_what_to_write(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(MISTAKES)
    [told] = headgate("check", str(file)).stderr.splitlines()
    assert told.startswith(f"{file}:2:")  # no YAML; the rest can only be read without it
    assert 'write "${KEY}"' in told
    file.write_text(MISTAKES.replace("${KEY}", '"${KEY:-}"'))
    checked = headgate("check", str(file))
    assert checked.exit_code == 1
    for line, words in (
        (1, "redis://"),
        (2, "did you mean `api_key`?"),
        (3, "locale"),
        (4, "without the dollar sign"),
    ):
        told = checked.stderr
        assert any(
            one.startswith(f"{file}:{line}:") and words in one for one in told.splitlines()
        ), (line, words, told)


def test_an_upstream_that_is_gone_is_named_everywhere_but_to_callers(walk: Walked) -> None:
    address = f"127.0.0.1:{walk.nobody}"
    failed = walk.gateway.complete(model="gone", headers={"x-request-id": "gone-1"})
    assert (failed.status, failed.error["code"]) == (502, "upstream_unreachable")
    assert address not in failed.error["message"]
    said = (address, "connection refused", '"level":"warning"', "start it")
    eventually(
        lambda: any(
            "upstream_unreachable" in line and all(word in line for word in said)
            for line in walk.gateway.output
        )
    )
    eventually(
        lambda: address in str(management(walk, "/health/ready").json().get("upstreams", {}))
    )
    assert "upstreams" not in walk.gateway.get("/health/ready").document
    checked = headgate("check", "--connect", str(walk.gateway.file))
    assert checked.exit_code == 1
    assert f"{address}/v1/models: connection refused" in checked.stdout
    assert "start it, or correct the port" in checked.stdout


def test_what_runs_can_be_measured_and_read_about(walk: Walked) -> None:
    metrics = management(walk, "/metrics")
    assert metrics.status_code == 200
    assert "headgate_requests_total" in metrics.text
    assert management(walk, "/docs").headers["content-type"] == "text/html; charset=utf-8"
    assert "## Running it" in management(walk, "/llms.txt").text
    assert walk.gateway.get("/docs").status == 404


def test_a_changed_file_is_taken_over_and_a_bad_one_is_not(walk: Walked) -> None:
    gateway = walk.gateway
    before = gateway.get("/health/live").document["generation"]
    gateway.file.write_text("models: [")
    gateway.signal(signal.SIGHUP)
    gateway.wait_for_error("gateway.yaml")
    assert gateway.get("/health/live").document["generation"] == before
    changed = copy.deepcopy(gateway.configuration)
    changed["models"]["more"] = changed["models"]["demo"]
    gateway.write(changed)
    gateway.signal(signal.SIGHUP)
    eventually(lambda: gateway.complete(model="more").status, 200)


def test_a_purge_of_everything_needs_a_yes(walk: Walked) -> None:
    """And with memory://, a gateway: what the command says of it."""
    told = headgate("cache", "purge", "--config", str(walk.gateway.file))
    assert told.exit_code == 1
    assert "memory://" in told.stderr
    listed = headgate("keys", "list", "--config", str(walk.gateway.file))
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["id", "all", "colleague"]
