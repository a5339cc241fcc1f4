"""A path is served under one spelling; bare sockets, because clients tidy what they send."""

import json

import pytest

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.prompts import PROMPT
from tests.harness.raw_connection import RawAnswer, raw_request
from tests.harness.upstream import Upstream

OTHER = "hg-another-0011223344556677"
GOOD = json.dumps({"model": "native", "prompt": PROMPT}).encode()


def asked(gateway: Gateway, method: str, path: str, body: bytes = b"") -> RawAnswer:
    with gateway.raw() as caller:
        caller.send_all_it_takes(raw_request(body, method=method, path=path))
        answer = caller.answer()
    assert answer is not None, "the connection was closed without an answer"
    return answer


@pytest.mark.parametrize(
    "path",
    [
        "//v1/completions",
        "/v1//completions",
        "//v1//completions",
        "/v1/completions/",
        "/v1/completions//",
        "/v1/%63ompletions",
        "/v1/completion%73",
        "/%76%31/completions",
        "/v1%2Fcompletions",
        "/v1%2fcompletions",
        "/V1/completions",
        "/v1/Completions",
        "/./v1/completions",
        "/v1/./completions",
        "/v1/../v1/completions",
        "/v1/x/../completions",
        "/v1/completions/.",
        "/v1/completions;x=1",
        "/v1/completions%3Fx=1",
        "/v1/completions%20",
        "/v1/completions%00",
        "http://gateway//v1/completions",
    ],
)
def test_completions_has_one_spelling(gateway: Gateway, upstream: Upstream, path: str) -> None:
    answer = asked(gateway, "POST", path, GOOD)
    assert answer.status == 404
    assert (answer.error["type"], answer.error["code"]) == ("invalid_request_error", "not_found")
    assert answer.headers["x-request-id"]
    assert answer.headers["x-headgate-config"]
    assert upstream.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "//metrics",
        "/metrics/",
        "/%6detrics",
        "/metric%73",
        "/METRICS",
        "/x/../metrics",
        "//health/live",
        "/health//live",
        "/health/",
        "/health/live/",
        "/health/%6cive",
        "/v1/models/",
        "//v1/models",
        "/v1//models",
        "/v1/model%73",
        "/v1/usage/",
        "/v1/%75sage",
    ],
)
def test_so_has_every_other_path(gateway: Gateway, path: str) -> None:
    answer = asked(gateway, "GET", path)
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/completions",
        "/v1/completions?",
        "/v1/completions?x=1&y=//%63",
        "http://gateway/v1/completions",
    ],
)
def test_a_query_and_an_authority_are_no_part_of_a_path(
    gateway: Gateway, upstream: Upstream, path: str
) -> None:
    assert asked(gateway, "POST", path, GOOD).status == 200


@pytest.mark.parametrize(
    ("path", "alias"),
    [
        ("org/slashed", "org/slashed"),
        ("org%2Fslashed", "org/slashed"),
        ("org%2fslashed", "org/slashed"),
        ("team-red", "team-red"),
        ("a%20model%3A%207%C3%A9%2C%2050%25", "a model: 7é, 50%"),
        ("a%20model:%207%c3%a9,%2050%25", "a model: 7é, 50%"),
    ],
)
def test_an_alias_may_be_escaped_where_a_url_needs_it(
    gateway: Gateway, path: str, alias: str
) -> None:
    answer = asked(gateway, "GET", f"/v1/models/{path}")
    assert answer.status == 200
    assert json.loads(answer.body)["id"] == alias


@pytest.mark.parametrize("path", ["n%61tive", "team%2Dred", "team%2dred", "%6Eative"])
def test_an_alias_is_not_escaped_where_no_url_needs_it(gateway: Gateway, path: str) -> None:
    answer = asked(gateway, "GET", f"/v1/models/{path}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/native", "native/", "native//", "org//slashed", "../usage"])
def test_an_alias_is_exact(gateway: Gateway, path: str) -> None:
    answer = asked(gateway, "GET", f"/v1/models/{path}")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


def test_a_name_beyond_all_aliases_is_not_said_back_whole(gateway: Gateway) -> None:
    answer = asked(gateway, "GET", "/v1/models/" + "a" * 5000)
    assert answer.error["code"] == "model_not_found"
    assert len(answer.body) < 1000


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "authorization"])
@pytest.mark.parametrize("second", [KEY, OTHER])
def test_a_credential_header_is_sent_once(
    gateway: Gateway, upstream: Upstream, name: str, second: str
) -> None:
    value = f"Bearer {second}" if name == "authorization" else second
    lines = [f"{name}: {value}", f"{name}: {value.replace(second, KEY)}"]
    answer = None
    with gateway.raw() as caller:
        bare = raw_request(GOOD, headers=lines)
        caller.send(bare.replace(b"authorization: Bearer " + KEY.encode() + b"\r\n", b"", 1))
        answer = caller.answer()
    assert answer is not None
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": f"Bearer {KEY}", "x-api-key": OTHER, "api-key": OTHER}, 200),
        ({"authorization": f"Bearer {OTHER}", "x-api-key": KEY, "api-key": KEY}, 401),
        ({"authorization": "Basic dTpw", "x-api-key": KEY, "api-key": OTHER}, 200),
        ({"x-api-key": OTHER, "api-key": KEY}, 401),
        ({"authorization": f"Bearer {KEY}", "x-api-key": KEY, "api-key": KEY}, 200),
    ],
)
def test_of_different_credential_headers_the_first_counts(
    gateway: Gateway, upstream: Upstream, headers: dict[str, str], status: int
) -> None:
    body = {"content-type": "application/json"} | headers
    assert gateway.ask("POST", "/v1/completions", None, body, GOOD).status == status
    assert all({"x-api-key", "api-key"}.isdisjoint(r.headers) for r in upstream.requests)


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("POST", "/completions", 404, "did you mean POST /v1/completions?"),
        ("POST", "/v1/chat/completion", 404, "did you mean POST /v1/chat/completions?"),
        ("GET", "/v1", 404, "the API begins at /v1: try GET /v1/models"),
        ("GET", "/v1/completions", 405, "not GET; did you mean POST /v1/completions?"),
        ("POST", "/v1/models", 405, "not POST; did you mean GET /v1/models?"),
        ("DELETE", "/health/live", 405, "did you mean GET /health/live?"),
    ],
)
def test_who_misses_a_path_or_a_method_is_told_what_is_near(
    gateway: Gateway, method: str, path: str, status: int, says: str
) -> None:
    answer = asked(gateway, method, path)
    assert answer.status == status
    assert says in answer.error["message"]


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/v1/completions", {"input": "a"}, "You sent `input`; did you mean POST /v1/embeddings?"),
        (
            "/v1/chat/completions",
            {"prompt": "a"},
            "You sent `prompt`; did you mean POST /v1/completions?",
        ),
        (
            "/v1/embeddings",
            {"messages": [{"role": "user", "content": "a"}]},
            "You sent `messages`; did you mean POST /v1/chat/completions?",
        ),
        (
            "/v1/completions",
            {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]},
            "did you mean POST /v1/chat/completions?",
        ),
    ],
)
def test_who_sends_one_endpoints_body_to_another_is_told_which(
    gateway: Gateway, path: str, body: dict[str, object], says: str
) -> None:
    sent = json.dumps({"model": "native", **body}).encode()
    answer = asked(gateway, "POST", path, sent)
    assert answer.status == 400
    assert says in answer.error["message"]
