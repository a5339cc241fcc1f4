"""What the soak calls well framed."""

from collections.abc import Callable

import pytest

from bench import framing
from bench.stream_upstream import WORD, script


def _body(chunks: int, *, choices: int = 1, usage: bool = False) -> bytes:
    """What a client reads of the mock upstream's stream."""
    sent, body = b"".join(script(chunks, choices, usage)), b""
    while sent:
        size, _, rest = sent.partition(b"\r\n")
        length = int(size, 16)
        body, sent = body + rest[:length], rest[length + 2 :]
    return body


@pytest.mark.parametrize("choices", [1, 2])
@pytest.mark.parametrize("usage", [False, True])
def test_the_mock_upstream_streams_what_the_soak_expects(choices: int, usage: bool) -> None:
    body = _body(5, choices=choices, usage=usage)
    assert framing.problems(body, WORD * 5, choices=choices, usage=usage) == []
    assert framing.looks_complete(body, 5)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda body: body.removesuffix(framing.DONE), "not exactly one [DONE]"),
        (lambda body: body + framing.DONE, "not exactly one [DONE]"),
        (lambda body: body[:-1], "does not end with an empty line"),
        (lambda body: b": comment\n\n" + body, "not one `data: ` line"),
        (lambda body: body.replace(b"\n\n", b"\r\n\r\n"), "does not end with an empty line"),
        (lambda body: body.replace(b'"length"', b"null"), "choices that finished: []"),
        (lambda body: body.replace(b"null}]", b'"stop"}]', 1), "goes on after its finish_reason"),
        (lambda body: body.replace(b" token", b"", 1), "does not read as sent"),
    ],
)
def test_a_damaged_stream_is_told(damage: Callable[[bytes], bytes], said: str) -> None:
    found = framing.problems(damage(_body(5)), WORD * 5)
    assert said in " ".join(found)


def test_usage_that_was_not_asked_for_is_told() -> None:
    assert framing.problems(_body(2, usage=True), WORD * 2) != []


def test_usage_that_was_asked_for_and_did_not_come_is_told() -> None:
    assert framing.problems(_body(2), WORD * 2, usage=True) != []
