"""What is asked? Read within a cap and a time."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.exchange import Exchange
from app.core.keys import Key
from app.routes.completions import COMPLETIONS
from middleware.asgi.body import Body

BODY = b'{"model":"m","prompt":"p"}'
JSON = (b"content-type", b"application/json")


async def free(exchange: Exchange, key: Key) -> None:
    """A request's token where there is no limit."""


def layer(max_bytes: int = 1000, timeout: float = 5.0, take: Any = free) -> Any:
    return lambda app: Body(
        app, family=COMPLETIONS, take=take, max_bytes=max_bytes, timeout=timeout
    )


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def length(count: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % count)


def test_a_body_is_read_and_parsed_once(run: Any) -> None:
    done = run([JSON], [part(BODY[:5], True), part(BODY[5:])]).through(layer())
    assert done.inner == 1
    assert done.exchange.body == BODY
    assert done.scope["state"]["call"].request.model == done.exchange.outcome.alias == "m"


def test_reading_stops_at_the_content_length(run: Any) -> None:
    messages = [part(BODY[:5], True), part(BODY[5:], True), part(b"never taken")]
    done = run([JSON, length(len(BODY))], messages).through(layer())
    assert (done.taken, done.inner) == (2, 1)


def test_too_long_a_length_is_refused_before_anything_is_read(run: Any) -> None:
    done = run([JSON, length(1001)], [part(BODY)]).through(layer())
    assert (done.status, done.error["code"]) == (413, "request_too_large")
    assert done.taken == 0


def test_a_chunked_body_is_capped_while_it_comes(run: Any) -> None:
    done = run([JSON], [part(b"x" * 400, True)] * 50).through(layer())
    assert (done.status, done.error["code"]) == (413, "request_too_large")
    assert done.taken == 3


@pytest.mark.parametrize(("cap", "status"), [(len(BODY), 200), (len(BODY) - 1, 413)])
@pytest.mark.parametrize("known", [True, False])
def test_the_cap_is_exact(run: Any, cap: int, status: int, known: bool) -> None:
    headers = [JSON, length(len(BODY))] if known else [JSON]
    assert run(headers, [part(BODY)]).through(layer(cap)).status == status


def test_a_body_that_does_not_come_is_not_waited_for(run: Any) -> None:
    done = run([JSON], [part(BODY[:5], True)]).through(layer(timeout=0.02))
    assert (done.status, done.error["code"], done.inner) == (408, "request_timeout", 0)


def test_the_time_for_the_body_does_not_run_on_behind_it(run: Any) -> None:
    import asyncio

    from app.core.asgi import json_messages

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.05)
        for message in json_messages(200, b"{}"):
            await send(message)

    assert run([JSON], [part(BODY)]).through(layer(timeout=0.02), slow).status == 200


@pytest.mark.parametrize("before", [[], [part(BODY[:5], True)]])
def test_a_caller_that_leaves_while_sending_is_not_served(run: Any, before: Any) -> None:
    done = run([JSON], [*before, {"type": "http.disconnect"}]).through(layer())
    assert (done.status, done.inner) == (400, 0)


@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
        b"application/json ;",
    ],
)
def test_json_is_json_however_it_is_spelled(run: Any, value: bytes) -> None:
    assert run([(b"content-type", value)], [part(BODY)]).through(layer()).inner == 1


def test_a_body_of_no_stated_type_is_taken_for_json(run: Any) -> None:
    assert run([], [part(BODY)]).through(layer()).inner == 1


@pytest.mark.parametrize(
    "header",
    [
        (b"content-type", b"text/plain"),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-type", b"application/json; charset=utf-16"),
        (b"content-type", b"application/jsonp"),
        (b"content-type", b""),
        (b"content-encoding", b"gzip"),
        (b"content-encoding", b"identity, gzip"),
    ],
)
def test_anything_else_is_refused_unread(run: Any, header: tuple[bytes, bytes]) -> None:
    done = run([header], [part(BODY)]).through(layer())
    assert (done.status, done.error["code"], done.taken) == (415, "unsupported_media_type", 0)


@pytest.mark.parametrize(("body", "code"), [(b"{", "invalid_json"), (b"{}", "invalid_request")])
def test_a_bad_body_is_refused_and_noted(run: Any, body: bytes, code: str) -> None:
    done = run([JSON], [part(body)]).through(layer())
    assert (done.status, done.error["code"], done.inner) == (400, code, 0)
    assert done.exchange.outcome.error_code == code
