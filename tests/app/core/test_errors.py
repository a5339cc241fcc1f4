"""Every error leaves in one envelope."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core import errors
from app.core.asgi import error_messages
from app.core.errors import GatewayError, InvalidRequest, Problem, Unauthenticated

TABLE: dict[str, tuple[int, str, str]] = {
    "InvalidRequest": (400, "invalid_request_error", "invalid_request"),
    "Forbidden": (403, "permission_error", "capability_required"),
    "NotFound": (404, "invalid_request_error", "not_found"),
    "NotImplementedHere": (501, "not_implemented", "not_implemented"),
    "UpstreamInvalid": (502, "upstream_error", "upstream_invalid_response"),
    "UpstreamAuth": (502, "upstream_error", "upstream_auth_failed"),
    "UpstreamUnreachable": (502, "upstream_error", "upstream_unreachable"),
    "UpstreamOverloaded": (503, "service_unavailable", "upstream_overloaded"),
    "UpstreamTimeout": (504, "upstream_error", "upstream_timeout"),
}


@pytest.mark.parametrize("name", TABLE)
def test_an_error_has_the_status_type_and_code_of_the_contract(name: str) -> None:
    error = getattr(errors, name)("text")
    assert (error.status, error.type, error.code) == TABLE[name]


def test_a_refused_caller_is_told_how_to_authenticate() -> None:
    error = Unauthenticated("who?", code="missing_api_key")
    assert (error.status, error.type) == (401, "authentication_error")
    assert (b"www-authenticate", b"Bearer") in error.headers


def every_error() -> list[type[GatewayError]]:
    found, todo = [], [GatewayError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_the_envelope_has_all_its_members(kind: Any) -> None:
    error = kind("text", code="a_code")
    members = orjson.loads(error.body())["error"]
    assert set(members) == {"message", "type", "code", "param"}
    assert isinstance(members["type"], str)
    assert members["code"] == "a_code"


def test_details_name_every_problem_and_the_first_leads() -> None:
    error = InvalidRequest.of([Problem("n", "no n"), Problem(None, "no")], code="c")
    assert orjson.loads(error.body())["error"] == {
        "message": "no n",
        "type": "invalid_request_error",
        "code": "c",
        "param": "n",
        "details": [{"param": "n", "message": "no n"}, {"param": None, "message": "no"}],
    }


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidRequest("x"), True),
        (errors.UpstreamAuth("x"), True),
        (errors.NotImplementedHere("x"), True),
        (errors.UpstreamTimeout("x"), False),
        (errors.UpstreamTimeout("x", retryable=False), True),
    ],
)
def test_an_sdk_is_told_where_a_retry_is_useless(error: GatewayError, said: bool) -> None:
    assert ((b"x-should-retry", b"false") in error.headers) == said


def test_an_error_is_a_whole_answer() -> None:
    start, body = error_messages(errors.NotFound("é"))
    headers = dict(start["headers"])
    assert start["status"] == 404
    assert headers[b"content-type"] == b"application/json"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert body["more_body"] is False
