"""The commands that do not serve."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.config.loading import load
from app.core.keys import digest_of

MODULE = [sys.executable, "-m", "headgate"]
GOOD = """\
providers: {trial: {kind: simulator}}
models: {demo: {targets: [{provider: trial, model: simulator-1}]}}
tenants: {t: {}}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run([*MODULE, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(word in done.stdout for word in ("serve", "check", "schema", "keys"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--help"], ["--config", "--host", "--port", "--workers", "HEADGATE_CONFIG"]),
        (["-h"], ["headgate keys new"]),
        (["check", "--help"], ["FILE"]),
        (["keys", "new", "--help"], ["ID"]),
    ],
)
def test_help_names_what_there_is(arguments: list[str], words: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert all(word in result.output for word in words)


def test_help_names_every_command_once_with_its_whole_sentence() -> None:
    shown = run("--help").output
    rows = re.findall(r"^  (\w+) {2,}\S", shown.partition("First steps:")[2], re.MULTILINE)
    assert sorted(rows) == sorted(main.commands)
    assert "..." not in shown.partition("First steps:")[2]
    assert "More:" not in shown  # a new command gets a section


def test_a_good_file_is_called_good(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    result = run("check", str(file))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{file}: ok, 1 models, 1 providers, 0 keys; configuration ")


def test_a_warning_is_told_and_does_not_fail(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(GOOD + "keys: [{id: a, tenant: t, secret: 0123456789abcdef, models: [x]}]")
    result = run("check", str(file))
    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: {file}:4: keys[0].models: 'x' matches no model")


def test_a_bad_file_fails_with_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("".join(f"wrong{index}: 1\n" for index in range(10)))
    done = subprocess.run(
        [*MODULE, "check", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == [
        str(number) for number in range(1, 11)
    ]
    assert done.stdout == ""


@pytest.mark.parametrize("command", [["check"], ["serve", "--config"]])
def test_a_file_that_is_not_there_is_told(command: list[str], tmp_path: Path) -> None:
    result = run(*command, str(tmp_path / "none.yaml"))
    assert result.exit_code == 1
    assert "none.yaml: cannot be read: No such file or directory" in result.stderr


def test_the_schema_is_printed_as_json() -> None:
    result = run("schema")
    assert result.exit_code == 0
    assert "providers" in json.loads(result.stdout)["properties"]


def test_a_new_key_and_its_hash_belong_together() -> None:
    result = run("keys", "new", "web")
    secret, digest = (line.split()[1] for line in result.stdout.splitlines()[:2])
    assert result.exit_code == 0
    assert secret.startswith("hg-web-")
    assert digest == digest_of(secret).hex()


def test_the_printed_entry_fits_into_a_file() -> None:
    result = run("keys", "new", "web")
    entry = result.stderr.splitlines()[-1].replace("TENANT", "t")
    [key] = load(GOOD + "keys:\n" + entry, environment={}).settings.keys
    assert key.id == "web"
    assert result.stdout.split()[1] not in result.stderr


@pytest.mark.parametrize("wrong", ["", "a b", "-a", "a/b", "é", "x" * 65])
def test_a_bad_id_is_refused(wrong: str) -> None:
    result = run("keys", "new", "--", wrong)
    assert result.exit_code == 1
    assert "1 to 64 letters" in result.stderr


@pytest.mark.parametrize("wrong", ["-1", "65536", "http"])
def test_a_bad_port_is_refused(wrong: str) -> None:
    assert run("serve", f"--port={wrong}").exit_code == 2


def test_several_workers_without_a_shared_store_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    result = run("serve", "--config", str(file), "--workers", "2")
    assert result.exit_code == 1
    assert "more than one worker needs a shared store" in result.stderr


def test_serving_a_bad_file_says_why_and_stops(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("server: {prot: 1}")
    result = run("serve", "--config", str(file))
    assert result.exit_code == 1
    assert result.stderr == f"{file}:1: server.prot: unknown setting; did you mean `port`?\n"


ROUTED = """
providers: {p: {kind: simulator}}
models:
  m:
    targets:
      - {provider: p, model: late, tier: 1, context: 50}
      - {provider: p, model: early}
      - {provider: p, model: streams, when: {stream: true}}
tenants: {t: {}}
keys: [{id: k, tenant: t, secret: hg-0123456789abcdef}]
"""


def test_routes_prints_the_order_and_why_others_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(ROUTED)
    shown = run("routes", "m", "--config", str(file)).output.splitlines()
    assert shown[0] == "m: pick weighted, on_timeout next, on_content_filter fail"
    assert [line.split()[:2] for line in shown[2:]] == [
        ["1", "p/early"],
        ["2", "p/late"],
        ["-", "p/streams"],
    ]
    assert shown[4].endswith("left out: condition")
    body = json.dumps({"prompt": "word " * 100, "stream": True})
    long = run("routes", "m", "--config", str(file), "--body", body).output.splitlines()
    assert {line.split()[1] for line in long[2:4]} == {"p/early", "p/streams"}
    assert long[4].endswith("left out: context")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuch"], "no such entry in `models`"),
        (["m", "--key", "nosuch"], "there is no key 'nosuch'"),
        (["m", "--operation", "nosuch"], "there is no 'nosuch'"),
        (["m", "--body", "[]"], "expected a JSON object"),
        (["m", "--body", '{"n": 0}'], "`n` must be"),
    ],
)
def test_routes_says_what_it_cannot_explain(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(ROUTED)
    result = run("routes", *arguments, "--config", str(file))
    assert result.exit_code == 1
    assert says in result.output
