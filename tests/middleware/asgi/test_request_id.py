"""Who is this request?"""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.core.asgi import start_message
from middleware.asgi.request_id import RequestId
from middleware.asgi.transfer import begin_answer

CRASHES: list[tuple[str, BaseException]] = []
FIXED = [(b"x-headgate-config", b"g")]
CLOSING = [(b"connection", b"close")]


def layer(app: Any) -> Any:
    CRASHES.clear()
    named = RequestId(app, fixed=FIXED, closing=CLOSING, on_crash=lambda *f: CRASHES.append(f))

    async def outermost(scope: Any, receive: Any, send: Any) -> None:
        async def begun(message: Any) -> None:
            if message["type"] == "http.response.start":
                begin_answer(scope["state"]["exchange"], message)  # as Transfer does
            await send(message)

        await named(scope, receive, begun)

    return outermost


def with_id(run: Any, value: bytes | None) -> bytes:
    headers = [] if value is None else [(b"x-request-id", value)]
    done: bytes = run(headers).through(layer).headers[b"x-request-id"]
    return done


@pytest.mark.parametrize("sane", [b"a", b"A-1_b.c", b"x" * 128, b"0" * 32])
def test_a_sane_id_is_kept(run: Any, sane: bytes) -> None:
    assert with_id(run, sane) == sane


@pytest.mark.parametrize(
    "insane", [None, b"", b"x" * 129, b"a b", b"a\n", b"a\r\nx: y", b"\xff", b"a/b", b"<a>", b'"a"']
)
def test_any_other_is_replaced(run: Any, insane: bytes | None) -> None:
    assert re.fullmatch(rb"[0-9a-f]{32}", with_id(run, insane))


def test_made_ids_differ(run: Any) -> None:
    assert len({with_id(run, None) for _ in range(20)}) == 20


def test_fixed_and_reply_headers_go_on_the_answer(run: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["exchange"].reply_headers.append((b"x-model", b"m"))
        await send(start_message(404, [(b"a", b"b")]))

    done = run().through(layer, app)
    assert done.status == 404
    assert {b"a", b"x-model", b"x-headgate-config", b"x-request-id", b"connection"} == set(
        done.headers
    )
    assert done.scope["state"]["exchange"].outcome.status == 404


def test_a_crash_is_answered_and_told_once(run: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("inner secret")

    done = run([(b"x-request-id", b"abc")]).through(layer, app)
    assert (done.status, done.error["code"]) == (500, "internal_error")
    assert "inner secret" not in str(done.sent)
    assert [request_id for request_id, _ in CRASHES] == ["abc"]


def test_a_crash_after_the_start_sends_no_second_start(run: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start_message(200, []))
        raise ValueError("late")

    done = run().through(layer, app)
    assert [message["type"] for message in done.sent] == ["http.response.start"]
    assert len(CRASHES) == 1
