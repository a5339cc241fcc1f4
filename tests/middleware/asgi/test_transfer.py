"""How do the bytes of a request and its answer travel?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.connections.pending import Delivery, PendingAnswers
from app.core.asgi import PIECE_BYTES, body_message, json_messages
from middleware.asgi import transfer
from middleware.asgi.transfer import READ_BYTES, Transfer

MEBIBYTE = 1 << 20
CLOSE = (b"connection", b"close")


def layer(app: Any, most: int = 64 * MEBIBYTE, send_timeout: float = 5.0) -> Transfer:
    pending = PendingAnswers(most)
    return Transfer(app, running={}, pending=pending, send_timeout=send_timeout)


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def length(count: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % count)]


def answering(size: int, status: int = 200) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in json_messages(status, b"x" * size):
            await send(message)

    return app


def closes(run: Any) -> bool:
    return CLOSE in run.sent[0]["headers"]


def test_what_was_left_unread_is_read_before_the_answer(run: Any) -> None:
    done = run(length(6), [part(b"abc", True), part(b"def")]).through(layer)
    assert (done.taken, closes(done)) == (2, False)


def test_a_body_that_was_read_is_not_asked_for_again(run: Any) -> None:
    asked = run(length(6), [part(b"abcdef")])
    asked.exchange.body_read = True
    assert not closes(asked.through(layer))
    assert asked.taken == 0


@pytest.mark.parametrize("headers", [[], length(0)])
def test_without_a_body_nothing_is_asked_for(run: Any, headers: Any) -> None:
    done = run(headers).through(layer)
    assert (done.taken, closes(done)) == (0, False)


def test_a_large_rest_is_not_read(run: Any) -> None:
    done = run(length(READ_BYTES + 1), [part(b"x", True)]).through(layer)
    assert (done.taken, closes(done)) == (0, True)


def test_a_rest_of_unknown_length_is_read_within_a_bound(run: Any) -> None:
    pieces = [part(b"x" * MEBIBYTE, True)] * 10
    done = run([(b"transfer-encoding", b"chunked")], pieces).through(layer)
    assert (done.taken, closes(done)) == (3, True)


def test_a_body_that_waits_for_an_invitation_is_not_invited(run: Any) -> None:
    done = run([*length(6), (b"expect", b"100-continue")], [part(b"abcdef")]).through(layer)
    assert (done.taken, closes(done)) == (0, True)


def test_a_rest_that_does_not_come_is_not_waited_for(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "SILENT_SECONDS", 0.02)
    assert closes(run(length(6), [part(b"abc", True)]).through(layer))


def test_a_body_that_was_too_slow_is_not_waited_for_again(run: Any) -> None:
    done = run(length(6), [part(b"abcdef")]).through(lambda _: layer(answering(2, 408)))
    assert (done.taken, closes(done)) == (0, True)


def test_a_large_answer_goes_in_pieces(run: Any) -> None:
    done = run().through(lambda _: layer(answering(MEBIBYTE + 1)))
    bodies = done.sent[1:]
    assert b"".join(message["body"] for message in bodies) == b"x" * (MEBIBYTE + 1)
    assert max(len(message["body"]) for message in bodies) == PIECE_BYTES
    assert [message["more_body"] for message in bodies] == [True] * 4 + [False]


def test_a_caller_that_takes_nothing_is_given_up(run: Any) -> None:
    asked = run()
    ended: list[bool] = []

    async def taking_nothing(message: Any) -> None:
        asked.sent.append(message)
        if len(asked.sent) > 2:
            await asyncio.Event().wait()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering(MEBIBYTE)(scope, receive, send)
        await send(body_message(b"more"))
        ended.append(True)

    asked.send = taking_nothing
    asked.through(lambda _: layer(app, send_timeout=0.02))
    assert ended
    assert len(asked.sent) == 3  # the end of the answer is never said, so the server cuts it off
    assert asked.exchange.outcome.status == 499


def test_where_too_much_is_pending_a_large_answer_is_refused(run: Any) -> None:
    pending = PendingAnswers(MEBIBYTE)
    assert pending.begin(Delivery(MEBIBYTE, lambda: None))

    def build(_: Any) -> Transfer:
        return Transfer(answering(MEBIBYTE), running={}, pending=pending, send_timeout=5)

    done = run().through(build)
    assert (done.status, done.error["code"]) == (503, "overloaded")
    assert int(done.headers[b"content-length"]) == len(done.sent[1]["body"])
    assert done.exchange.outcome.error_code == "overloaded"


def test_a_small_answer_passes_whatever_is_pending(run: Any) -> None:
    pending = PendingAnswers(1)
    assert pending.begin(Delivery(1000, lambda: None))
    done = run().through(
        lambda _: Transfer(answering(1000), running={}, pending=pending, send_timeout=5)
    )
    assert done.status == 200


def test_a_running_request_is_known_by_its_caller_while_it_runs(run: Any) -> None:
    running: dict[Any, Any] = {}
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(list(running))
        await answering(2)(scope, receive, send)

    def build(_: Any) -> Transfer:
        return Transfer(app, running=running, pending=PendingAnswers(1), send_timeout=5)

    run().through(build)
    assert seen == [[("127.0.0.1", "40000")]]
    assert running == {}
