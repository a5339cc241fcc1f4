"""A remote encoder that is slow, gone or wrong is nobody's trouble but tier 2's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.cache.asking import saying
from tests.e2e.semantic.asking import (
    PARAPHRASE,
    QUESTION,
    STRESSED,
    ask,
    embedding,
    keep,
    only,
    served,
    teach,
)
from tests.e2e.semantic.configuration import BOTH_TIERS
from tests.harness.exchange import Request, Wire, head
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.upstream import Upstream

pytestmark = BOTH_TIERS

TIMEOUT_MS = 150
ALIASES = pytest.mark.parametrize("alias", ["odd", "odd-alone"])


def of(embedding_: Any) -> bytes:
    return json.dumps({"data": [{"embedding": embedding_}]}).encode()


RUBBISH: dict[str, bytes] = {
    "no JSON": b"not json",
    "cut JSON": b'{"data": [{"embed',
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"vector"',
    "no data": b"{}",
    "empty data": b'{"data": []}',
    "two items": b'{"data": [{"embedding": [1.0]}, {"embedding": [1.0]}]}',
    "data of another kind": b'{"data": {"embedding": [1.0]}}',
    "no embedding": b'{"data": [{}]}',
    "an empty embedding": of([]),
    "base64 of half a number": of("AACA"),
    "no base64": of("AACAP*=="),
    "null inside": of([1.0, None]),
    "true inside": of([1.0, True]),
    "text inside": of([1.0, "2"]),
    "a list inside": of([[1.0, 2.0]]),
    "zeros": of([0.0, 0.0]),
    "NaN": b'{"data": [{"embedding": [NaN, 1.0]}]}',
    "infinite": b'{"data": [{"embedding": [1e999, 1.0]}]}',
    "huge": of([1e308, 1e308]),
    "tiny": of([1e-200, 1e-200]),
    "a huge integer": b'{"data": [{"embedding": [%b, 1]}]}' % (b"9" * 400),
    "too long": of([0.5] * 8193),
    "deep": b"[" * 5000 + b"]" * 5000,
}


@pytest.mark.parametrize("case", RUBBISH)
def test_rubbish_for_an_embedding_is_no_embedding(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], case: str
) -> None:
    async def script(request: Request, wire: Wire) -> None:
        await wire.answer(RUBBISH[case])

    upstream.on("embed-odd", script)
    for prompt in (QUESTION, STRESSED):
        reply = ask(gateway, prompt, space, model="odd")
        assert (served(reply), reply.texts) == (None, [text_of(prompt)])


async def _refuses(request: Request, wire: Wire) -> None:
    await wire.answer({"error": {"message": "no"}}, 401)


async def _fails(request: Request, wire: Wire) -> None:
    await wire.answer({"error": {"message": "no"}}, 500)


async def _limits(request: Request, wire: Wire) -> None:
    await wire.answer({"error": {"message": "no"}}, 429, [("retry-after", "60")])


async def _redirects(request: Request, wire: Wire) -> None:
    await wire.answer(b"", 302, [("location", "http://127.0.0.1:1/")])


async def _resets(request: Request, wire: Wire) -> None:
    wire.reset()


async def _speaks_something_else(request: Request, wire: Wire) -> None:
    await wire.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    wire.close()


async def _cuts_off(request: Request, wire: Wire) -> None:
    await wire.send(head(200, [("content-length", "1000")]) + b'{"data"')
    wire.close()


@ALIASES
@pytest.mark.parametrize(
    "script",
    [_refuses, _fails, _limits, _redirects, _resets, _speaks_something_else, _cuts_off],
    ids=lambda script: script.__name__,
)
def test_an_encoder_that_fails_fails_nobody(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], alias: str, script: Any
) -> None:
    upstream.on("embed-odd", script)
    for prompt in (QUESTION, STRESSED):
        reply = ask(gateway, prompt, space, model=alias)
        assert (served(reply), reply.texts) == (None, [text_of(prompt)])
    assert served(ask(gateway, PARAPHRASE, space, model=alias)) == "tier 1"


@ALIASES
@pytest.mark.parametrize("begun", [False, True], ids=["silent", "dripping"])
def test_a_slow_encoder_is_waited_for_no_longer_than_its_timeout(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], alias: str, begun: bool
) -> None:
    gate = upstream.gate()

    async def slow(request: Request, wire: Wire) -> None:
        if begun:
            await wire.send(head(200, [("content-length", "1000")]) + b'{"data"')
        await gate.wait()

    upstream.on("embed-odd", slow)
    for prompt in (QUESTION, STRESSED):
        reply = ask(gateway, prompt, space, model=alias)
        assert (served(reply), reply.texts) == (None, [text_of(prompt)])
        line = gateway.line(reply.headers["x-request-id"])
        assert TIMEOUT_MS * 0.9 < line["total_ms"] < TIMEOUT_MS + 500
    # What needs no encoder does not wait for one.
    reply = ask(gateway, PARAPHRASE, space, model=alias)
    assert served(reply) == "tier 1"
    assert gateway.line(reply.headers["x-request-id"])["total_ms"] < TIMEOUT_MS * 0.9
    gate.open()


@ALIASES
def test_an_encoder_that_changes_its_dimensions_fails_nobody(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], alias: str
) -> None:
    upstream.on("embed-odd", embedding(lambda text: [1.0, 0.0, 0.0]))
    teach(gateway, space, model=alias, paraphrase=STRESSED)
    upstream.on("embed-odd", embedding(lambda text: [1.0, 0.0]))
    prompts = [STRESSED, "How do I indeed brush a rabbit in autumn?", STRESSED]
    replies = [ask(gateway, prompt, space, model=alias) for prompt in prompts]
    assert [reply.status for reply in replies] == [200] * 3
    assert all(gateway.line(r.headers["x-request-id"])["total_ms"] < 1000 for r in replies)


def test_an_encoder_that_comes_back_is_used_again(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    upstream.on("embed-odd", _fails)
    keep(gateway, "How do I brush a rabbit in autumn?", space, model="odd")
    upstream.on("embed-odd", embedding(lambda text: [1.0, 0.0]))
    teach(gateway, space, model="odd", paraphrase=STRESSED)
    assert served(only(gateway, STRESSED, space, model="odd")) == "tier 2"


def test_a_slow_encoder_and_a_crowd(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    gate = upstream.gate()

    async def slow(request: Request, wire: Wire) -> None:
        await gate.wait()

    upstream.on("embed-odd", slow)
    upstream.on("up", saying("one answer"))
    with ThreadPoolExecutor(20) as pool:
        asked = [
            pool.submit(ask, gateway, prompt, space, model="odd")
            for prompt in [QUESTION, STRESSED] * 10
        ]
        replies = [one.result() for one in asked]
    gate.open()
    assert [reply.texts for reply in replies] == [["one answer"]] * 20
    lines = [gateway.line(reply.headers["x-request-id"]) for reply in replies]
    assert max(line["total_ms"] for line in lines) < 2000
