"""What an upstream's refusal becomes, and what never gets out with it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import GatewayError
from app.providers.client.failures import MAX_MESSAGE, redact, refusal


def refused(
    body: Any = b"", status: int = 400, secrets: tuple[str, ...] = (), **headers: bytes
) -> GatewayError:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    sent = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return refusal(status, sent, data, secrets)


@pytest.mark.parametrize(
    ("upstream", "status", "type", "code", "final"),
    [
        (400, 400, "invalid_request_error", "invalid_request", True),
        (401, 502, "upstream_error", "upstream_auth_failed", True),
        (403, 502, "upstream_error", "upstream_auth_failed", True),
        (404, 502, "upstream_error", "upstream_not_found", True),
        (405, 405, "invalid_request_error", "invalid_request", True),
        (408, 408, "invalid_request_error", "invalid_request", False),
        (409, 409, "invalid_request_error", "invalid_request", False),
        (413, 413, "invalid_request_error", "request_too_large", True),
        (422, 422, "invalid_request_error", "invalid_request", True),
        (429, 429, "rate_limit_error", "rate_limit_exceeded", False),
        (500, 502, "upstream_error", "upstream_invalid_response", False),
        (501, 501, "not_implemented", "not_implemented", True),
        (502, 502, "upstream_error", "upstream_invalid_response", False),
        (503, 503, "service_unavailable", "upstream_overloaded", False),
        (504, 504, "upstream_error", "upstream_timeout", False),
        (529, 503, "service_unavailable", "upstream_overloaded", False),
        (204, 502, "upstream_error", "upstream_invalid_response", False),
        (301, 502, "upstream_error", "upstream_invalid_response", False),
        (307, 502, "upstream_error", "upstream_invalid_response", False),
    ],
)
def test_each_status_has_its_answer(
    upstream: int, status: int, type: str, code: str, final: bool
) -> None:
    error = refused(status=upstream)
    assert (error.status, error.type, error.code) == (status, type, code)
    assert ((b"x-should-retry", b"false") in error.headers) == final
    assert error.message


# Whose mistake a 404 is: what servers say of a path that they do not have, and of a model.

NO_SUCH_PATH = {
    "nothing": b"",
    "nginx": b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body></body></html>\r\n",
    "fastapi": {"detail": "Not Found"},
    "starlette": b"Not Found",
    "llama.cpp": {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}},
    "go": b"404 page not found\n",
    "aiohttp": b"404: Not Found",
    "openai": {
        "error": {
            "message": "Invalid URL (POST /v1/completionss)",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    },
    "azure": {"error": {"code": "404", "message": "Resource not found"}},
    "express": b"Cannot POST /completions",
    "an object without words": {"status": 404},
    "an empty error": {"error": {}},
    "null": b"null",
}
NO_SUCH_MODEL = {
    "vllm": {
        "object": "error",
        "message": "The model `x` does not exist.",
        "type": "NotFoundError",
        "param": None,
        "code": 404,
    },
    "vllm, newer": {
        "error": {
            "message": "The model `x` does not exist.",
            "type": "NotFoundError",
            "param": "model",
            "code": 404,
        }
    },
    "openai": {
        "error": {
            "message": "The model `x` does not exist or you do not have access to it.",
            "type": "invalid_request_error",
            "param": None,
            "code": "model_not_found",
        }
    },
    "ollama": {"error": {"message": 'model "x" not found, try pulling it first'}},
    "azure": {"error": {"code": "DeploymentNotFound", "message": "Not found"}},
    "sglang": {"detail": "Model x not found"},
    "words of its own": {"error": {"message": "no", "code": 404}},
}


@pytest.mark.parametrize("body", NO_SUCH_PATH.values(), ids=NO_SUCH_PATH.keys())
def test_a_path_that_the_upstream_lacks_is_the_operators_mistake(body: Any) -> None:
    error = refused(body, status=404)
    assert (error.status, error.type, error.code) == (502, "upstream_error", "upstream_not_found")
    assert (b"x-should-retry", b"false") in error.headers
    assert "completions" not in error.message


@pytest.mark.parametrize("body", NO_SUCH_MODEL.values(), ids=NO_SUCH_MODEL.keys())
def test_a_404_about_what_was_asked_keeps_its_status(body: Any) -> None:
    error = refused(body, status=404)
    assert (error.status, error.type) == (404, "invalid_request_error")
    assert isinstance(error.code, str)


@pytest.mark.parametrize(
    ("body", "message", "code", "param"),
    [
        (
            {"error": {"message": "m", "type": "t", "code": "c", "param": "n"}},
            "m",
            "c",
            "n",
        ),
        ({"error": {"message": "m", "code": 400, "param": None}}, "m", "invalid_request", None),
        ({"error": {"message": "m", "param": "body.n"}}, "m", "invalid_request", "n"),
        ({"error": "bare"}, "bare", "invalid_request", None),
        ({"object": "error", "message": "m", "code": 400}, "m", "invalid_request", None),
        ({"detail": "d"}, "d", "invalid_request", None),
        ({"detail": {"message": "m"}}, "m", "invalid_request", None),
        (
            {"detail": [{"loc": ["body", "n"], "msg": "too big", "type": "x"}]},
            "n: too big",
            "invalid_request",
            "n",
        ),
        (
            {
                "detail": [
                    {"loc": ["body", "n"], "msg": "a"},
                    {"loc": ["body", "stop", 0], "msg": "b"},
                ]
            },
            "n: a; stop.0: b",
            "invalid_request",
            "n",
        ),
        ({"detail": [{"msg": "a"}]}, "a", "invalid_request", None),
        ({"message": "m"}, "m", "invalid_request", None),
        ({"msg": "m"}, "m", "invalid_request", None),
        ({"error": {"error": "inner"}}, "inner", "invalid_request", None),
        ("bare", "bare", "invalid_request", None),
        (b"plain text", "plain text", "invalid_request", None),
        (b"", "The upstream refused with status 400.", "invalid_request", None),
        (b"<html>secret</html>", "The upstream refused with status 400.", "invalid_request", None),
        ({"error": {}}, "The upstream refused with status 400.", "invalid_request", None),
        ({}, "The upstream refused with status 400.", "invalid_request", None),
        ([], "The upstream refused with status 400.", "invalid_request", None),
        (5, "The upstream refused with status 400.", "invalid_request", None),
        ({"error": {"message": "m", "code": "not a code!"}}, "m", "invalid_request", None),
        ({"error": {"message": "m", "param": "no name"}}, "m", "invalid_request", None),
        (
            {"error": {"message": "m", "code": "context_length_exceeded"}},
            "m",
            "context_length_exceeded",
            None,
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_every_dialect_is_understood(body: Any, message: str, code: str, param: str | None) -> None:
    error = refused(body)
    assert (error.message, error.code, error.param) == (message, code, param)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 999) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("error detail message msg loc code param".split()), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(JSON | st.binary(max_size=20), st.sampled_from([400, 404, 422, 429, 500]))
def test_no_body_is_too_odd(body: Any, status: int) -> None:
    error = refused(body, status)
    assert isinstance(error.message, str)
    assert isinstance(error.code, str)
    assert error.body()


@pytest.mark.parametrize("loc", [5, True, "body", {"a": 1}, [None], [["n"]]])
def test_an_odd_place_of_a_validation_error_is_no_crash(loc: Any) -> None:
    assert "m" in refused({"detail": [{"msg": "m", "loc": loc}]}).message


SECRET = "prov-secret-42"


@pytest.mark.parametrize(
    "text",
    [
        f"key {SECRET} is wrong",
        "Incorrect API key provided: sk-abc123def456",
        "sk-proj-abc***********wxyz",
        "hg-web-0123456789abcdef",
        "Bearer abc.def-ghi",
        "bearer  abc.def-ghi",
        "AIzaSyA1234567890abcdefghijk",
        "gsk_abcdefghijklmn".replace("_", "-"),
        "xai-abcdefghijklmn",
    ],
)
def test_a_credential_is_taken_out(text: str) -> None:
    cleaned = redact(text, (SECRET,))
    assert "[redacted]" in cleaned
    assert not any(part in cleaned for part in ("42", "abc", "0123", "1234", "wxyz"))


@pytest.mark.parametrize(
    "address",
    [
        "http://vllm.internal:8000/v1/completions",
        "https://user:pass@10.0.0.1/x?y=z",
        "redis://:pw@cache:6379/0",
        "10.1.2.3",
        "10.1.2.3:8000",
        "127.0.0.1:11434",
        "[::1]:8000",
        "[fd00::12]",
        "localhost",
        "localhost:8000",
        "vllm.default.svc.cluster.local:8000",
        "gpu-3.internal",
        "printer.local",
        "db.lan:5432",
        "HTTP://UPPER.EXAMPLE/",
        "fd00::12:1",
        "vllm-0:8000",
        "gpu_node7:30000",
    ],
)
def test_an_address_is_taken_out(address: str) -> None:
    cleaned = redact(f"Cannot connect to '{address}' now")
    assert cleaned == "Cannot connect to '[address]' now"


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens must be at most 4096, not 5000.",
        "This model's maximum context length is 4096 tokens.",
        "`n` must be 1; temperature 0.7, version 1.2.3",
        "model org/llama3:8b does not exist",
        "risk-averse key-value tasks",
        "at 12:30 the monkey-puzzled",
    ],
)
def test_an_ordinary_text_stays(text: str) -> None:
    assert redact(text, ("",)) == text


@pytest.mark.parametrize("status", [400, 404, 422, 429])
@pytest.mark.parametrize(
    "shape", [lambda t: {"error": {"message": t}}, lambda t: {"detail": t}, lambda t: t.encode()]
)
def test_no_dialect_gets_a_secret_out(status: int, shape: Any) -> None:
    error = refused(shape(f"at http://10.0.0.1/v1 with {SECRET}"), status, (SECRET,))
    assert error.message == "at [address] with [redacted]"


def test_what_the_upstream_says_of_our_credentials_stays_inside() -> None:
    error = refused({"error": {"message": f"bad key {SECRET}"}}, 401)
    assert SECRET not in error.body().decode()


def test_a_message_has_a_bound() -> None:
    assert len(refused(b"x " * 50_000).message) <= MAX_MESSAGE + 1


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize(
    ("value", "seconds", "exact"), [(b"7", b"7", b"7000"), (b"0.5", b"1", b"500")]
)
def test_the_upstreams_retry_time_is_passed_on(
    status: int, value: bytes, seconds: bytes, exact: bytes
) -> None:
    headers = dict(refused(status=status, retry_after=value).headers)
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (seconds, exact)


@pytest.mark.parametrize(
    "value", [b"-1", b"soon", b"1\r\nx: y", b"Wed, 21 Oct 2026 07:28:00 GMT", b"", b"9" * 20]
)
def test_an_odd_retry_time_is_not(value: bytes) -> None:
    assert (b"retry-after", value) not in refused(status=429, retry_after=value).headers
