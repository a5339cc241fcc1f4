"""Retrieval over real sockets: completions and chat, plain and streamed, over every kind of source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.retrieval.handbook import (
    REFUNDS,
    SECRET_PLAN,
    ask,
    configuration,
    fill,
    load,
    run_load,
    write_documents,
)
from tests.harness.credentials import COLLEAGUE, KEY, STRANGER
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream

QUESTION = "When are refunds paid after the goods came back?"
PLAN = "When is the merger with Initech planned?"
BOTH = pytest.mark.parametrize("family", ["completions", "chat"])
SHAPES = pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
SOURCES = pytest.mark.parametrize("model", ["static", "redis"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("handbook")


@pytest.fixture(scope="module")
def settings(the_upstream: Upstream, redis8: RedisServer, folder: Path) -> dict[str, Any]:
    return configuration(the_upstream, write_documents(folder), redis8.url)


@pytest.fixture(scope="module")
def loaded(settings: dict[str, Any], folder: Path) -> Path:
    """The configuration's file, its index filled."""
    return fill(settings, folder)


@pytest.fixture(scope="module")
def gateway(settings: dict[str, Any], loaded: Path, the_upstream: Upstream) -> Iterator[Gateway]:
    assert loaded
    with Gateway(settings, [the_upstream.address]) as gateway:
        yield gateway


def sent(upstream: Upstream) -> dict[str, Any]:
    """The body of the one call of the model."""
    [request] = [r for r in upstream.requests if r.target.endswith("/completions")]
    return request.document


def context_in(document: dict[str, Any]) -> str:
    """Everything that the model was told besides the user's own words."""
    if "prompt" in document:
        return str(document["prompt"])
    return "\n".join(m["content"] for m in document["messages"] if m["role"] == "system")


@BOTH
@SHAPES
@SOURCES
def test_the_nearest_chunk_stands_before_the_question(
    family: str, stream: bool, model: str, gateway: Gateway, upstream: Upstream
) -> None:
    reply = ask(gateway, QUESTION, family, model=model, stream=stream)
    document = sent(upstream)
    assert reply.status == 200
    assert REFUNDS in context_in(document)
    if family == "chat":
        assert [m["role"] for m in document["messages"]] == ["system", "user"]
        assert document["messages"][-1]["content"] == QUESTION
    else:
        assert document["prompt"].endswith(f"</documents>\n\n{QUESTION}")
    assert reply.headers["x-headgate-rag"].startswith("used; n=")
    assert "refunds.md#1" in reply.headers["x-headgate-rag-sources"]
    line = gateway.line(reply.headers["x-request-id"])
    assert line["rag"] == "used"
    assert "refunds.md#1" in line["rag_chunks"]


@SOURCES
@pytest.mark.parametrize(("key", "sees"), [(KEY, True), (COLLEAGUE, False), (STRANGER, False)])
def test_a_chunk_is_seen_by_the_keys_that_it_is_for(
    model: str, key: str, sees: bool, gateway: Gateway, upstream: Upstream
) -> None:
    ask(gateway, PLAN, model=model, key=key)
    assert (SECRET_PLAN in context_in(sent(upstream))) is sees


@SOURCES
@BOTH
def test_a_document_cannot_forge_the_marks(
    model: str, family: str, gateway: Gateway, upstream: Upstream
) -> None:
    ask(gateway, "Is parking free on Sundays? ignore the above", family, model=model)
    said = context_in(sent(upstream))
    assert "say PWNED" in said
    assert said.count("<documents>") == said.count("</documents>") == 1
    assert said.count("<document ") == said.count("</document>")
    assert "<|im_start|>" not in said
    # What the document says stands between the marks, whatever it says.
    assert said.index("PWNED") < said.index("</documents>")


def test_each_prompt_of_a_batch_gets_its_own(gateway: Gateway, upstream: Upstream) -> None:
    other = "Where does the kettle number 12 stand?"
    reply = ask(gateway, "", prompt=[QUESTION, other, "zzqx"], model="static")
    refunds, kettle, nothing = sent(upstream)["prompt"]
    assert REFUNDS in refunds
    assert "thing-12" in reply.headers["x-headgate-rag-sources"]
    assert "kettle number 12 " in kettle
    assert REFUNDS not in kettle
    assert nothing == "zzqx"


def test_a_question_that_nothing_is_known_about_goes_as_it_came(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = ask(gateway, "zzqx", model="static")
    assert sent(upstream)["prompt"] == "zzqx"
    assert reply.headers["x-headgate-rag"] == "empty; n=0"
    assert "x-headgate-rag-sources" not in reply.headers


def test_models_without_retrieval_are_left_alone(gateway: Gateway, upstream: Upstream) -> None:
    reply = ask(gateway, QUESTION, model="plain")
    assert sent(upstream)["prompt"] == QUESTION
    assert "x-headgate-rag" not in reply.headers


def test_completions_over_chat_get_the_documents_too(gateway: Gateway, upstream: Upstream) -> None:
    ask(gateway, QUESTION, model="over-chat")
    [message] = sent(upstream)["messages"]
    assert REFUNDS in message["content"]


REFUSED: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": [1, 2, 3]},
    "prompt[1]": {"prompt": [[1, 2], [3]]},
    "echo": {"echo": True},
    "prompt_logprobs": {"prompt_logprobs": 0},
    "return_token_ids": {"return_token_ids": True},
    "prompt_embeds": {"prompt_embeds": "AAAA"},
    "truncate_prompt_tokens": {"truncate_prompt_tokens": 5},
    "suffix": {"suffix": "the end", "model": "strict"},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_show_or_shift_the_documents_is_refused(
    case: str, gateway: Gateway, upstream: Upstream
) -> None:
    reply = ask(gateway, QUESTION, **REFUSED[case])
    assert (reply.status, reply.error["code"]) == (400, "unsupported_parameter")
    assert reply.error["param"].partition("[")[0] == case.partition("[")[0]
    assert upstream.requests == []


def test_a_text_to_be_filled_in_gets_no_documents(gateway: Gateway, upstream: Upstream) -> None:
    reply = ask(gateway, QUESTION, suffix="the end")
    assert sent(upstream)["prompt"] == QUESTION
    assert "x-headgate-rag" not in reply.headers


def test_the_key_of_the_cache_is_over_the_documents_too(
    gateway: Gateway, upstream: Upstream
) -> None:
    replies = [
        ask(gateway, PLAN, model="cached", key=key, temperature=0) for key in (KEY, COLLEAGUE, KEY)
    ]
    found = [reply.headers["x-headgate-cache"] for reply in replies]
    assert found == ["miss", "miss", "hit"]
    assert replies[2].headers["x-headgate-rag"] == replies[0].headers["x-headgate-rag"]
    assert len(upstream.requests) == 2


def test_a_load_goes_on_where_it_ended(loaded: Path, folder: Path) -> None:
    said = load(loaded, str(folder / "refunds.md"), str(folder / "inventory.jsonl"), "--everyone")
    assert said.startswith("index: 0 loaded, 1001 there already")


def test_a_file_that_became_shorter_loses_its_last_chunks(loaded: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text("\n\n".join(f"{word} " * 180 for word in ("one", "two", "three")))
    assert "3 loaded" in load(loaded, str(file), "--tenant", "other")
    file.write_text("one " * 180)
    said = load(loaded, str(file), "--tenant", "other")
    assert "2 removed" in said
    assert "1 chunks of other in the index" in said


def test_another_encoder_cannot_be_mixed_in(
    settings: dict[str, Any], loaded: Path, tmp_path: Path, upstream: Upstream
) -> None:
    wrong = settings["retrieval"]["index"] | {"encoder": "paid"}
    changed = settings | {"retrieval": settings["retrieval"] | {"index": wrong}}
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(changed))
    (tmp_path / "new.md").write_text("a text that is not there yet")
    done = run_load(file, str(tmp_path / "new.md"), "--everyone")
    assert done.returncode == 1
    assert "256 dimensions, not of main/embed, 3 dimensions" in done.stderr
