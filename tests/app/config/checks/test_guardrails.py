"""What ``headgate check`` says of guardrails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from app.cli import main
from app.config.checks import guardrails as guardrail_checks
from app.config.loading import ConfigError, load

BASE: dict[str, Any] = {
    "providers": {"sim": {"kind": "simulator"}},
    "models": {"house": {"targets": [{"provider": "sim", "model": "m"}]}},
    "tenants": {"acme": {}},
    "keys": [{"id": "web", "tenant": "acme", "secret": "hg-web-0123456789abcdef"}],
}


def problems(**rules: Any) -> list[str]:
    try:
        return list(load(text_of(**rules)).warnings)
    except ConfigError as error:
        return error.problems


def text_of(**rules: Any) -> str:
    return orjson.dumps(BASE | {"guardrails": rules}).decode()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"kind": "regex", "patterns": ["(?<=a)b"]}, "patterns[0]: RE2 cannot do it: invalid perl"),
        ({"kind": "regex", "patterns": ["a{500}"]}, "patterns[0]: matches 500 characters at least"),
        ({"kind": "regex", "patterns": ["a+"]}, "has a repeat without an end"),
        ({"kind": "regex"}, "patterns: must name at least one"),
        ({"kind": "regex", "patterns": ["X"], "mode": "redact"}, "matches '[X]', which stands for"),
        (
            {"kind": "regex", "allow": ["a"], "mode": "redact"},
            "goes with the modes block and observe",
        ),
        ({"kind": "keywords"}, "words: must name at least one"),
        ({"kind": "keywords", "file": "/nowhere/at/all"}, "file: cannot be read: No such file"),
        ({"kind": "length"}, "needs `max_characters`"),
        ({"kind": "length", "max_words": 3, "mode": "redact"}, "there is nothing to cut out"),
        ({"kind": "json_schema", "schema": {"type": 7}}, "schema: is no JSON schema"),
        ({"kind": "webhook", "url": "ftp://x", "secret": "s" * 16}, "url: expected an address"),
        ({"kind": "webhook", "url": "http://x", "secret": "short"}, "at least 16 characters"),
        (
            {"kind": "topics", "encoder": "none", "topics": {"a": ["b"]}},
            "no such entry in `encoders`",
        ),
        ({"kind": "pii", "entities": ["soul"]}, "expected one of email"),
        ({"kind": "magic"}, "unknown kind 'magic'"),
        ({"kind": "secrets", "models": ["nobody"]}, "matches no model of this file"),
        ({"kind": "secrets", "phases": []}, "must name input, output or both"),
    ],
)
def test_what_is_wrong_with_a_rule(rule: dict[str, Any], said: str) -> None:
    found = problems(X=rule)
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "secrets"},
        {"kind": "pii", "mode": "redact", "entities": ["national_id"]},
        {"kind": "regex", "patterns": [r"\bACME-\d{4}\b"], "mode": "redact"},
        {"kind": "injection"},
        {"kind": "json_schema", "schema": {"type": "object"}, "phases": "output"},
    ],
)
def test_a_good_rule_is_good(rule: dict[str, Any]) -> None:
    assert problems(one=rule) == []


def test_a_costly_pattern_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardrail_checks, "cost_of", lambda _: 999.0)
    assert "takes 999 microseconds" in problems(one={"kind": "regex", "patterns": ["ab"]})[0]


def test_the_cost_of_a_pattern_is_measured() -> None:
    assert 0 < guardrail_checks.cost_of(r"\bfoo\b") < 1000


def test_without_the_extra_the_check_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardrail_checks, "MODULES", ("re2", "no_such_module"))
    assert "pip install 'headgate[guardrails]'" in problems(one={"kind": "secrets"})[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        text_of(
            pii={"kind": "pii", "mode": "redact"},
            names={"kind": "keywords", "words": ["Initech"], "tenants": ["acme"]},
            extra={"kind": "keywords", "words": ["please"], "on_request": True},
        )
    )
    return file


def try_texts(file: Path, *texts: str, options: tuple[str, ...] = ()) -> tuple[int, list[str]]:
    data = file.with_name("texts.txt")
    data.write_text("".join(f"{text}\n" for text in texts))
    result = CliRunner().invoke(main, ["guard", "test", str(data), "--config", str(file), *options])
    return result.exit_code, result.output.splitlines()


def test_texts_can_be_tried(file: Path) -> None:
    code, lines = try_texts(file, "hello", "mail bob@example.com")
    assert (code, lines) == (0, ["1\tpass", "2\tredact\tpii.email=redact\tmail [EMAIL]"])


def test_a_blocked_text_ends_with_1(file: Path) -> None:
    assert try_texts(file, "we are Initech", options=("--tenant", "acme")) == (
        1,
        ["1\tblock\tnames=block"],
    )
    assert try_texts(file, "we are Initech")[0] == 0


def test_a_rule_that_waits_to_be_asked_for_can_be(file: Path) -> None:
    assert try_texts(file, "yes, please", options=("--ask", "extra"))[0] == 1
    code, lines = try_texts(file, "x", options=("--ask", "pii"))
    assert (code, "is no guardrail with" in lines[-1]) == (1, True)
