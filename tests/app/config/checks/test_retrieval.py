"""What `headgate check` says about retrieval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.config.loading import ConfigError, load

HTTP = {"kind": "http", "url": "https://retriever.example/search"}
STATIC = {"kind": "static", "encoder": "local", "documents": [{"files": ["*.md"]}]}
REDIS = {"kind": "redis", "encoder": "local", "url": "redis://127.0.0.1:6379"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text("a text")
    monkeypatch.chdir(tmp_path)


def problems(section: dict[str, Any], **model: Any) -> list[str]:
    document = {
        "providers": {"sim": {"kind": "simulator"}},
        "encoders": {"local": {"kind": "local"}},
        "models": {
            "house": {"targets": [{"provider": "sim", "model": "m"}], "retrieval": "docs"} | model
        },
        "retrieval": {"docs": section},
        "tenants": {"acme": {}},
        "keys": [{"id": "web", "tenant": "acme", "secret": "hg-web-0123456789abcdef"}],
    }
    try:
        load(json.dumps(document), "file")
    except ConfigError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize("section", [HTTP, STATIC, REDIS], ids=["http", "static", "redis"])
def test_a_good_one_is_right(section: dict[str, Any]) -> None:
    assert problems(section) == []


def documents(**group: Any) -> dict[str, Any]:
    return STATIC | {"documents": [{"files": ["a.md"]} | group]}


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no prompt slot": (HTTP | {"template": "<CONTEXT>"}, "template", "<PROMPT> exactly once"),
    "no context slot": (HTTP | {"system": "x"}, "system", "<CONTEXT> exactly once"),
    "a prompt slot too many": (HTTP | {"system": "<CONTEXT><PROMPT>"}, "system", "must not have"),
    "an address": (HTTP | {"url": "retriever"}, "url", "https://host/path"),
    "no time": (HTTP | {"deadline": 0}, "deadline", "more than 0"),
    "too many chunks": (HTTP | {"k": 51}, "k", "<= 50"),
    "an encoder": (STATIC | {"encoder": "other"}, "encoder", "no such entry in `encoders`"),
    "no documents": (STATIC | {"documents": []}, "documents", "at least one"),
    "no such file": (documents(files=["b.md"]), "documents[0].files", "no such file"),
    "a tenant": (documents(tenants=["other"]), "documents[0].tenants", "`tenants`: 'other'"),
    "a key": (documents(keys=["ci"]), "documents[0].keys", "no key has this id: 'ci'"),
    "a store that is empty": (REDIS | {"url": None}, "url", "use `kind: static`"),
    "a store's address": (REDIS | {"url": "http://x"}, "url", "must start with one of"),
    "an index's name": (REDIS | {"index": "a b"}, "index", "1 to 64 letters"),
    "an unknown setting": (HTTP | {"top_k": 5}, "top_k", "unknown setting"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_place(case: str) -> None:
    section, place, why = WRONG[case]
    [problem] = problems(section)
    assert f"retrieval.docs.{place}" in problem
    assert why in problem


def test_a_model_names_one_that_is_there() -> None:
    [problem] = problems(HTTP, retrieval="dogs")
    assert "models.house.retrieval" in problem
    assert "no such entry in `retrieval`: 'dogs'" in problem
