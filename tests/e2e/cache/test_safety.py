"""What is never kept, and what becomes of entries that nobody can read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from tests.e2e.cache.asking import ask, how, is_kept, saying, wait_kept, warm
from tests.e2e.cache.configuration import configuration
from tests.e2e.wire.test_streams import DONE, chunk, streaming, usage_chunk
from tests.harness.exchange import Script
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import good_server, text_of
from tests.harness.prompts import unseen
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE, eventually

SAME_CALL = pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])
SHAPES = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def never(gateway: Gateway, upstream: Upstream, prompt: str, **fields: Any) -> None:
    """What was just answered is not kept; asked again, it is asked for again."""
    upstream.on("up", good_server)
    assert not is_kept(gateway, prompt, **fields)
    upstream.requests.clear()
    assert how(ask(gateway, prompt, **fields)) == "miss"
    assert len(upstream.requests) == 1


@SAME_CALL
@SHAPES
@pytest.mark.parametrize("reason", ["content_filter", "abort", "error", None, ""])
def test_an_answer_that_did_not_end_by_itself_is_not_kept(
    gateway: Gateway,
    upstream: Upstream,
    prompt: str,
    fields: dict[str, Any],
    stream: bool,
    reason: str | None,
) -> None:
    upstream.on("up", saying("half of it", reason))
    ask(gateway, prompt, stream=stream, **fields)
    never(gateway, upstream, prompt, **fields)


@SHAPES
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_an_answer_that_did_is(
    gateway: Gateway, upstream: Upstream, prompt: str, stream: bool, reason: str
) -> None:
    upstream.on("up", saying("all of it", reason))
    warm(gateway, prompt, stream=stream)
    assert ask(gateway, prompt).document["choices"][0]["finish_reason"] == reason


ERROR = {"error": {"message": "out of memory", "code": 500}}


def _hung_up(*events: Any) -> Script:
    """A stream that ends inside its body."""

    async def script(request, wire):
        await wire.begin_stream()
        for one in events:
            await wire.event(one)
        wire.close()

    return script


BROKEN: dict[str, Script] = {
    "cut": streaming(chunk("a"), chunk("b")),
    "hung up after a finish": _hung_up(chunk("a", reason="stop")),
    "one of two cut": streaming(chunk("a", reason="stop"), chunk("b", index=1)),
    "an error at its end": streaming(chunk("a"), ERROR, DONE),
    "an error after its finish": streaming(chunk("a", reason="stop"), ERROR, DONE),
    "no finish": streaming(chunk("a"), chunk("b"), usage_chunk(), DONE),
    "nonsense in it": streaming(chunk("a"), b"data: {oops\n\n", chunk("", reason="stop"), DONE),
    "nothing in it": streaming(DONE),
}


@SAME_CALL
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_stream_is_not_kept(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any], what: str
) -> None:
    upstream.on("up", BROKEN[what])
    ask(gateway, prompt, stream=True, **fields)
    never(gateway, upstream, prompt, **fields)


@SAME_CALL
@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
def test_no_error_is_kept(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any], status: int
) -> None:
    async def script(request, wire):
        await wire.answer({"error": {"message": "no"}}, status=status)

    upstream.on("up", script)
    assert ask(gateway, prompt, **fields).status >= 400
    never(gateway, upstream, prompt, **fields)


def test_an_error_with_status_200_is_not_kept(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    async def script(request, wire):
        await wire.answer(ERROR)

    upstream.on("up", script)
    ask(gateway, prompt)
    never(gateway, upstream, prompt)


@SAME_CALL
@SHAPES
def test_fewer_choices_than_asked_for_are_not_kept(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any], stream: bool
) -> None:
    upstream.on("up", saying("one"))
    ask(gateway, prompt, n=2, stream=stream, **fields)
    never(gateway, upstream, prompt, n=2, **fields)


@SAME_CALL
@SHAPES
def test_an_answer_to_one_prompt_of_two_is_not_kept(
    gateway: Gateway, upstream: Upstream, fields: dict[str, Any], stream: bool
) -> None:
    prompts = [unseen(), unseen()]
    upstream.on("up", saying("one"))
    ask(gateway, prompts, stream=stream, **fields)
    upstream.on("up", good_server)
    assert not is_kept(gateway, prompts[0], **fields)
    assert not is_kept(gateway, prompts[1], **fields)


def test_of_a_batch_with_a_filtered_choice_nothing_wrong_is_kept(
    gateway: Gateway, upstream: Upstream
) -> None:
    prompts = [unseen(), unseen()]
    choices = [
        {"index": 0, "text": "well", "logprobs": None, "finish_reason": "stop"},
        {"index": 1, "text": "", "logprobs": None, "finish_reason": "content_filter"},
    ]
    upstream.on("up", saying("", choices=choices))
    assert ask(gateway, prompts).texts == ["well", ""]
    upstream.on("up", good_server)
    assert not is_kept(gateway, prompts[1])


def test_choices_in_any_order_are_kept_in_theirs(gateway: Gateway, upstream: Upstream) -> None:
    prompts = [unseen(), unseen()]
    choices = [
        {"index": index, "text": f"answer {index}", "logprobs": None, "finish_reason": "stop"}
        for index in (1, 0)
    ]
    upstream.on("up", saying("", choices=choices))
    warm(gateway, prompts)
    assert [ask(gateway, prompt).texts for prompt in prompts] == [["answer 0"], ["answer 1"]]


@SHAPES
def test_an_answer_over_the_size_cap_is_not_kept(
    gateway: Gateway, upstream: Upstream, prompt: str, stream: bool
) -> None:
    upstream.on("up", saying("x" * 3000))
    reply = ask(gateway, prompt, model="small", stream=stream)
    assert how(reply) == "miss"
    upstream.on("up", good_server)
    assert not is_kept(gateway, prompt, model="small")
    warm(gateway, unseen(), model="small", stream=stream)


@SAME_CALL
def test_a_stream_that_its_caller_leaves_is_not_kept_as_a_whole_one(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk("half"))
        await gate.wait()

    upstream.on("up", script)
    with gateway.stream(model="cached", prompt=prompt, **fields) as events:
        next(events)
    assert upstream.request.connection.closed.wait(PATIENCE)
    never(gateway, upstream, prompt, **fields)


# Entries that nobody can read.

GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "bytes": b"\x00\xff\x1f\x8b",
    "another form": b'{"choices": []}',
    "a head alone": b"[1,2,3]",
    "text": b"hello\nworld",
    "wrong types": b'["a","b","c","d","e","f","g","h","i","j","k","l","m"]\n{}',
    "far too deep": b"[" * 5000 + b"\n",
    "a wrong sum": b'[1,2,9999999999999,9999999999999,9999999999999,1,1,false,0,0,7,"m","u"]\n{}',
}


@pytest.fixture
def entries(redis_server: RedisServer):
    with redis.Redis(port=redis_server.port, socket_timeout=PATIENCE) as client:
        yield client


@pytest.fixture(scope="session")
def redis_gateway(redis_server: RedisServer, the_upstream: Upstream):
    with open_gateway(configuration(redis_server.url, the_upstream), the_upstream) as gateway:
        yield gateway


@SAME_CALL
@pytest.mark.parametrize("what", [*GARBAGE, "a list", "a hash", "half of it", "one byte changed"])
def test_an_entry_that_cannot_be_read_is_a_miss_and_is_replaced(
    redis_gateway: Gateway,
    upstream: Upstream,
    entries: redis.Redis,
    fields: dict[str, Any],
    what: str,
) -> None:
    prompt = unseen()
    for key in entries.keys("*:answer:*"):
        entries.delete(key)
    upstream.on("up", saying(" ".join(map(str, range(2000)))))
    warm(redis_gateway, prompt, **fields)
    [key] = entries.keys("*:answer:*")
    if what == "a list":
        entries.delete(key)
        entries.rpush(key, "x")
    elif what == "a hash":
        entries.delete(key)
        entries.hset(key, "x", "y")
    else:
        value = entries.get(key)
        assert isinstance(value, bytes)
        middle = len(value) // 2
        changed = {
            "half of it": value[:middle],
            "one byte changed": value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :],
        }
        entries.set(key, changed.get(what) or GARBAGE.get(what, b""))
    upstream.on("up", good_server)
    upstream.requests.clear()
    reply = ask(redis_gateway, prompt, **fields)
    assert (how(reply), reply.texts) == ("miss", [text_of(prompt)])
    wait_kept(redis_gateway, prompt, **fields)
    assert ask(redis_gateway, prompt, **fields).texts == [text_of(prompt)]
    assert len(upstream.requests) == 1
    assert entries.type(key) == b"string"


def test_an_unreadable_entry_of_a_batch_is_asked_for_anew(
    redis_gateway: Gateway, upstream: Upstream, entries: redis.Redis
) -> None:
    for key in entries.keys("*:answer:*"):
        entries.delete(key)
    prompts = [unseen(), unseen()]
    warm(redis_gateway, prompts[0])
    [key] = entries.keys("*:answer:*")
    warm(redis_gateway, prompts[1])
    entries.set(key, b"junk")
    reply = ask(redis_gateway, prompts)
    assert (how(reply), reply.texts) == ("partial", [text_of(p) for p in prompts])


def test_entries_leave_the_store_in_time(
    redis_gateway: Gateway, upstream: Upstream, entries: redis.Redis
) -> None:
    for key in entries.keys("*:answer:*"):
        entries.delete(key)
    short = {"x-headgate-cache-ttl": "1"}
    warm(redis_gateway, unseen(), headers=short, model="brief")
    assert entries.keys("*:answer:*")
    eventually(lambda: not entries.keys("*:answer:*"))
    warm(redis_gateway, unseen())
    [key] = entries.keys("*:answer:*")
    assert 0 < entries.pttl(key) <= 2 * 3600 * 1000


def test_large_entries_are_compressed(
    redis_gateway: Gateway, upstream: Upstream, entries: redis.Redis
) -> None:
    for key in entries.keys("*:answer:*"):
        entries.delete(key)
    upstream.on("up", saying("again and " * 20_000))
    warm(redis_gateway, unseen())
    [key] = entries.keys("*:answer:*")
    assert entries.strlen(key) < 10_000


def test_no_key_in_the_store_tells_a_secret(
    redis_gateway: Gateway, upstream: Upstream, entries: redis.Redis, prompt: str
) -> None:
    warm(redis_gateway, prompt, temperature=0)
    keys = b"\n".join(entries.keys("*"))
    assert prompt.encode() not in keys
    redis_gateway.check_leaks(keys)
    for key in entries.keys("*:answer:*"):
        redis_gateway.check_leaks(entries.get(key))
    assert json.dumps(prompt)[1:-1] not in keys.decode()
