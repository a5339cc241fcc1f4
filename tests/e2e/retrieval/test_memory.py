"""Over ``memory://``: files in the worker's memory, a Redis of the retrieval's own, and reloads."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.retrieval.handbook import REFUNDS, ask, configuration, load, write_documents
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

QUESTION = "When are refunds paid after the goods came back?"
OWN = "The museum opens at seven in the morning."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("handbook")


@pytest.fixture(scope="module")
def gateway(the_upstream: Upstream, redis8: RedisServer, folder: Path) -> Iterator[Gateway]:
    """A thousand chunks in memory; one in a Redis beside, under the same name as another test's."""
    settings = configuration(the_upstream, write_documents(folder))
    own = {"kind": "redis", "encoder": "local", "url": redis8.url, "index": "own", "deadline": "2s"}
    settings["retrieval"]["index"] = own
    settings["models"]["apart"] = settings["models"]["static"] | {"retrieval": "index"}
    small = settings["models"]["static"]["targets"][0] | {"context": 600}
    settings["models"]["tight"] = settings["models"]["static"] | {"targets": [small]}
    file = folder / "gateway.yaml"
    file.write_text(json.dumps(settings))
    (folder / "own.md").write_text(OWN)
    load(file, str(folder / "own.md"), "--everyone")
    with Gateway(settings, [the_upstream.address]) as gateway:
        yield gateway


def sent(upstream: Upstream) -> str:
    [request] = [r for r in upstream.requests if r.target.endswith("/completions")]
    return json.dumps(request.document)


@pytest.mark.parametrize("family", ["completions", "chat"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", ["static", "apart"])
def test_the_nearest_chunk_is_found(
    family: str, stream: bool, model: str, gateway: Gateway, upstream: Upstream
) -> None:
    asked, text = (QUESTION, REFUNDS) if model == "static" else ("When does it open?", OWN)
    reply = ask(gateway, asked, family, model=model, stream=stream)
    assert reply.status == 200
    assert reply.headers["x-headgate-rag"].startswith("used")
    assert text in sent(upstream)


def test_a_target_without_room_for_the_documents_is_not_asked(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = ask(gateway, QUESTION, model="tight", max_tokens=5)
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
    assert upstream.requests == []


def test_a_reload_reads_the_files_anew(gateway: Gateway, upstream: Upstream, folder: Path) -> None:
    new = "Refunds of the goods that came back are paid in gold since March."

    def answers_from(text: str) -> bool:
        upstream.reset()
        ask(gateway, QUESTION)
        return text in sent(upstream)

    assert not answers_from(new)
    (folder / "refunds.md").write_text(new)
    gateway.signal(signal.SIGHUP)
    eventually(lambda: answers_from(new), within=30)
    assert not answers_from(REFUNDS)


def prepared(gateway: Gateway) -> list[dict[str, Any]]:
    """The log's lines about sources that are ready."""
    return [json.loads(line) for line in gateway.output if "retrieval_ready" in line]


def test_the_log_names_the_generation_of_the_documents(gateway: Gateway) -> None:
    lines = [line for line in prepared(gateway) if line["retrieval"] == "handbook"]
    assert lines
    assert all(line["chunks"] >= 1000 for line in lines)
