"""Who may ask, and for what."""

import pytest

from tests.harness.credentials import KEY, KEYS
from tests.harness.gateway import Gateway
from tests.harness.prompts import PROMPT
from tests.harness.upstream import Upstream

GOOD = {"model": "native", "prompt": PROMPT}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer {KEY}"},
        {"authorization": f"BEARER {KEY}"},
        {"authorization": f"Bearer   {KEY}"},
        {"x-api-key": KEY},
        {"api-key": KEY},
        {"X-API-Key": KEY},
    ],
)
def test_a_key_may_come_in_any_of_three_headers(gateway: Gateway, headers: dict) -> None:
    assert gateway.send(GOOD, None, headers).status == 200


@pytest.mark.parametrize("name", ["new-secret", "old-secret", "hashed", "later"])
def test_a_key_may_have_two_secrets_a_hash_or_an_expiry(gateway: Gateway, name: str) -> None:
    assert gateway.send(GOOD, KEYS[name]).status == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"x-api-key": ""}],
)
def test_no_key_is_a_401(gateway: Gateway, headers: dict) -> None:
    reply = gateway.send(GOOD, None, headers)
    assert reply.status == 401
    assert reply.error["type"] == "authentication_error"
    assert reply.error["code"] == "missing_api_key"


@pytest.mark.parametrize(
    "secret",
    [
        "x",
        KEY[:-1],
        KEY + "x",
        KEY.upper(),
        f'"{KEY}"',
        "é".encode(),
        b"\xff\xfe",
        "hg-all",
        "x" * 513,
        "x" * 8000,
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_wrong_key_is_a_401(gateway: Gateway, secret: str | bytes) -> None:
    raw = secret if isinstance(secret, bytes) else secret.encode()
    reply = gateway.send(GOOD, None, {"authorization": b"Bearer " + raw})
    assert reply.status == 401
    assert reply.error["type"] == "authentication_error"
    assert reply.error["code"] == "invalid_api_key"
    assert KEY not in reply.body.decode()


def test_a_wrong_key_and_its_hash_are_not_shown_or_logged(gateway: Gateway) -> None:
    secret = "hg-wrong-00112233445566778899"
    reply = gateway.send(GOOD, secret)
    line = str(gateway.line(reply.headers["x-request-id"]))
    assert secret not in reply.body.decode() + line
    assert "00112233" not in reply.body.decode() + line


def test_an_expired_key_is_a_401(gateway: Gateway) -> None:
    reply = gateway.send(GOOD, KEYS["expired"])
    assert (reply.status, reply.error["code"]) == (401, "expired_api_key")


def test_a_key_without_the_capability_is_a_403(gateway: Gateway) -> None:
    reply = gateway.send(GOOD, KEYS["embedder"])
    assert reply.status == 403
    assert reply.error["type"] == "permission_error"
    assert reply.error["code"] == "capability_required"


def test_a_key_is_looked_at_before_the_body(gateway: Gateway) -> None:
    reply = gateway.send(b"not json", "hg-wrong-00112233445566778899")
    assert reply.status == 401


def test_another_scheme_is_not_a_bearer_key(gateway: Gateway) -> None:
    reply = gateway.send(GOOD, None, {"authorization": f"Basic {KEY}"})
    assert reply.status == 401


@pytest.mark.parametrize("model", ["native", "nobody-knows-it", "team-*", "*", "Team-red"])
def test_a_model_that_a_key_may_not_use_is_one_that_is_not_there(
    gateway: Gateway, upstream: Upstream, model: str
) -> None:
    reply = gateway.send({"model": model, "prompt": PROMPT}, KEYS["team"])
    assert reply.status == 404
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["code"] == "model_not_found"
    assert reply.error["param"] == "model"
    assert upstream.requests == []


def test_forbidden_and_unknown_models_are_told_in_the_same_words(gateway: Gateway) -> None:
    forbidden = gateway.send({"model": "native", "prompt": PROMPT}, KEYS["team"])
    unknown = gateway.send({"model": "nought", "prompt": PROMPT}, KEYS["team"])
    assert forbidden.body.replace(b"native", b"nought") == unknown.body


@pytest.mark.parametrize("model", ["team-red", "org/slashed"])
def test_a_glob_lets_a_key_use_what_it_matches(gateway: Gateway, model: str) -> None:
    assert gateway.send({"model": model, "prompt": PROMPT}, KEYS["team"]).status == 200


def test_a_model_is_an_alias_and_not_an_upstreams_name(gateway: Gateway) -> None:
    assert gateway.complete(model="org/upstream-name").status == 404


# The models.


def test_models_lists_the_aliases_of_the_file(gateway: Gateway) -> None:
    reply = gateway.get("/v1/models")
    assert reply.status == 200
    assert reply.document["object"] == "list"
    assert {card["id"] for card in reply.document["data"]} == set(gateway.configuration["models"])


def test_a_model_card_has_the_shape_of_one(gateway: Gateway) -> None:
    card = gateway.get("/v1/models/native").document
    assert card["id"] == "native"
    assert card["object"] == "model"
    assert type(card["created"]) is int
    assert isinstance(card["owned_by"], str)


def test_models_lists_only_what_the_key_may_use(gateway: Gateway) -> None:
    cards = gateway.get("/v1/models", KEYS["team"]).document["data"]
    assert {card["id"] for card in cards} == {"team-red", "org/slashed"}


def test_models_says_nothing_of_upstreams(gateway: Gateway) -> None:
    text = gateway.get("/v1/models").body.decode()
    assert "org/upstream-name" not in text
    assert "main" not in text


@pytest.mark.parametrize("path", ["org/slashed", "org%2Fslashed", "org%2fslashed"])
def test_an_alias_with_a_slash_can_be_asked_for(gateway: Gateway, path: str) -> None:
    assert gateway.get(f"/v1/models/{path}").document["id"] == "org/slashed"


@pytest.mark.parametrize("path", ["nought", "native/x", "native%00", "..%2fnative", "%ff"])
def test_an_unknown_model_is_a_404(gateway: Gateway, path: str) -> None:
    reply = gateway.get(f"/v1/models/{path}")
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")


def test_a_model_that_the_key_may_not_use_is_a_404(gateway: Gateway) -> None:
    reply = gateway.get("/v1/models/native", KEYS["team"])
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")


def test_any_valid_key_may_list_models(gateway: Gateway) -> None:
    assert gateway.get("/v1/models", KEYS["embedder"]).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/native"])
@pytest.mark.parametrize("key", [None, "hg-wrong-00112233445566778899", KEYS["expired"]])
def test_models_are_not_for_strangers(gateway: Gateway, path: str, key: str | None) -> None:
    assert gateway.get(path, key).status == 401


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/native"])
def test_models_are_only_read(gateway: Gateway, path: str) -> None:
    reply = gateway.ask("DELETE", path)
    assert (reply.status, reply.headers["allow"]) == (405, "GET")


def test_every_listed_model_is_found_by_its_name(gateway: Gateway) -> None:
    cards = gateway.get("/v1/models").document["data"]
    assert all(gateway.get(f"/v1/models/{card['id']}").document == card for card in cards)
