"""Durations and sizes as people write them; secrets that never show."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.config.values.quantities import Duration, Secret, Size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50ms", 0.05),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("7d", 604800),
        ("1.5s", 1.5),
        ("1m0.5s", 60.5),
        (" 2s ", 2),
        ("0", 0),
        ("2.5", 2.5),
        (0, 0),
        (3, 3),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_seconds(text: Any, seconds: float) -> None:
    assert Duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        "", "s", "5 s", "5x", "-5s", "-1", -1, -0.1, "1e3", "5S", "5mss", "one", "²", "nan", "inf",
        True, False, None, [], {}, float("nan"), float("inf"), "9" * 400, "9" * 400 + "s", 10**400,
    ],
    ids=lambda wrong: repr(wrong)[:20],
)  # fmt: skip
def test_a_bad_duration_is_told_what_would_be_right(wrong: Any) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 50ms, 30s, 5m or 1h"):
        Duration.parse(wrong)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("64KiB", 65536),
        ("1MiB", 1 << 20),
        ("1 MiB", 1 << 20),
        ("2GiB", 2 << 30),
        ("10MB", 10_000_000),
        ("10mb", 10_000_000),
        ("1kb", 1000),
        ("5B", 5),
        ("1.5KiB", 1536),
        ("123", 123),
        (0, 0),
        (1048576, 1048576),
    ],
)
def test_a_size_is_bytes(text: Any, count: int) -> None:
    assert Size.parse(text) == count


@pytest.mark.parametrize(
    "wrong",
    ["", "B", "-1", -1, "1e6", "1XB", "one", "1 0", 1.5, True, None, [], "9" * 400 + "GB"],
    ids=lambda wrong: repr(wrong)[:20],
)
def test_a_bad_size_is_told_what_would_be_right(wrong: Any) -> None:
    with pytest.raises(ValueError, match="expected a size such as 64KiB, 1MiB"):
        Size.parse(wrong)


@settings(max_examples=150, deadline=None)
@given(st.text("0123456789.smhdKMGiB -", max_size=8) | st.integers() | st.floats() | st.none())
def test_whatever_is_written_is_read_or_refused(value: Any) -> None:
    for kind in (Duration, Size):
        try:
            assert kind.parse(value) >= 0
        except ValueError as error:
            assert "expected" in str(error)  # noqa: PT017 - raising is optional


HIDDEN = "hunter2-hunter2"


class Holder(msgspec.Struct, frozen=True):
    key: Secret


def shown_in_traceback(secret: Secret) -> str:
    try:
        raise RuntimeError(secret)  # noqa: TRY301 - the traceback is the point
    except RuntimeError as error:
        return "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )


def shown_in_log(secret: Secret) -> str:
    return logging.LogRecord("n", 1, "p", 1, "%s %r", (secret, secret), None).getMessage()


def shown_in_failure(secret: Secret) -> str:
    try:
        assert secret == Secret("other"), secret
    except AssertionError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        "{0} {0!r} {0!s}".format,
        "%s".__mod__,
        lambda secret: f"{secret} {secret!r}",
        lambda secret: repr([secret]) + str({secret: secret}),
        lambda secret: repr(Holder(secret)) + repr(copy.deepcopy(Holder(secret))),
        lambda secret: str(ValueError(secret)),
        lambda secret: json.dumps(secret, default=str),
        lambda secret: orjson.dumps(secret, default=str).decode(),
        shown_in_traceback,
        shown_in_log,
        shown_in_failure,
    ],
)
def test_a_secret_never_shows(show: Any) -> None:
    assert HIDDEN not in show(Secret(HIDDEN))


@pytest.mark.parametrize(
    "encode",
    [
        msgspec.json.encode,
        msgspec.to_builtins,
        msgspec.yaml.encode,
        orjson.dumps,
        json.dumps,
        pickle.dumps,
        lambda holder: repr(vars(holder.key)),
    ],
    ids=["msgspec", "builtins", "yaml", "orjson", "json", "pickle", "vars"],
)
def test_a_secret_is_never_serialized(encode: Any) -> None:
    try:
        encoded = encode(Holder(Secret(HIDDEN)))
    except (TypeError, AttributeError, pickle.PicklingError, NotImplementedError):
        return
    assert HIDDEN not in (encoded.decode("latin-1") if isinstance(encoded, bytes) else str(encoded))


def test_a_secret_is_revealed_to_who_asks() -> None:
    assert Secret(HIDDEN).reveal() == HIDDEN


def test_secrets_are_equal_by_their_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))


def test_an_empty_secret_is_none_at_all() -> None:
    assert not Secret("")
    assert Secret("x")


@pytest.mark.parametrize("wrong", [123456789, 1.5, True, None, ["hunter2"], {"a": "hunter2"}])
def test_a_secret_that_is_no_text_is_refused_without_showing_it(wrong: Any) -> None:
    with pytest.raises(ValueError, match="expected a text") as caught:
        Secret.parse(wrong)
    assert "hunter2" not in str(caught.value)
    assert "123456789" not in str(caught.value)
