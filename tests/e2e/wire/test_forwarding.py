"""What the upstream gets to see: the caller's body but for the model, and few of its headers."""

import json

import pytest

from tests.harness.credentials import KEY, KEYS, OPERATOR_SECRET, PROVIDER_KEY
from tests.harness.gateway import Gateway
from tests.harness.prompts import PRIVATE, PROMPT
from tests.harness.upstream import Upstream

UNTOUCHED = [
    b"123456789012345678901234567890",
    b"-9223372036854775809",
    b"1.0",
    b"1.10",
    b"1e2",
    b"1E+30",
    b"0.1000000000000000055511151231257827021181583404541015625",
    b"-0",
    b"-0.0",
    b"null",
    b"true",
    b'"\\u00e9\\/\\ud83d\\ude00"',
    b'"\\u003a"',
    b'{"z":1,"a":[1.50,{"b":null}]}',
    b'{ "type" : "object" ,\n "properties" : { } }',
    b"[]",
    b'""',
]


def _body(member: bytes, model: bytes = b"native") -> bytes:
    return b'{"model":"%b","prompt":"%b","x_unknown":%b}' % (model, PRIVATE.encode(), member)


@pytest.mark.parametrize("value", UNTOUCHED, ids=lambda value: value.decode()[:30])
@pytest.mark.parametrize("model", ["native", "chat"])
def test_unknown_members_are_forwarded_byte_for_byte(
    gateway: Gateway, upstream: Upstream, value: bytes, model: str
) -> None:
    reply = gateway.send(_body(value, model.encode()))
    assert reply.status == 200
    assert b'"x_unknown":' + value in upstream.request.body


@pytest.mark.parametrize(
    "member",
    [
        b'"seed":18446744073709551615',
        b'"temperature":1.0',
        b'"temperature":1e0',
        b'"top_p":0.10',
        b'"logit_bias":{"5":-1.50}',
        b'"frequency_penalty":-0.0',
    ],
)
def test_known_members_keep_their_digits(
    gateway: Gateway, upstream: Upstream, member: bytes
) -> None:
    gateway.send(b'{"model":"native","prompt":"x",%b}' % member)
    assert member in upstream.request.body


def test_a_prompt_keeps_its_escapes(gateway: Gateway, upstream: Upstream) -> None:
    gateway.send(b'{"prompt":"caf\\u00e9 \\ud83e\\udd8a \\/","model":"native"}')
    assert b'"prompt":"caf\\u00e9 \\ud83e\\udd8a \\/"' in upstream.request.body


def test_an_escaped_member_name_is_the_same_member(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.send(b'{"model":"native","\\u0070rompt":"x","t\\u00e9":1}')
    assert reply.status == 200
    assert upstream.request.document == {"model": "native", "prompt": "x", "té": 1}


def test_only_the_model_is_rewritten(gateway: Gateway, upstream: Upstream) -> None:
    asked = {
        "model": "renamed",
        "prompt": ["a", "b"],
        "max_tokens": 5,
        "n": 2,
        "best_of": 3,
        "logit_bias": {"5": 1},
        "guided_json": {"type": "object"},
        "min_p": 0.05,
        "top_k": 40,
        "metadata": None,
    }
    assert gateway.send(asked).status == 200
    assert upstream.request.document == asked | {"model": "org/upstream-name"}


def test_max_tokens_is_not_made_up(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete()
    assert set(upstream.request.document) == {"model", "prompt"}


def test_usage_is_asked_for_on_every_stream(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(stream=True)
    assert upstream.request.document["stream_options"] == {"include_usage": True}


def test_a_refusal_of_usage_is_overridden_upstream_only(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = gateway.complete(stream=True, stream_options={"include_usage": False})
    assert upstream.request.document["stream_options"] == {"include_usage": True}
    assert all("usage" not in chunk for chunk in reply.chunks)


def test_other_stream_options_are_kept(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(stream=True, stream_options={"chunk_size": 4})
    assert upstream.request.document["stream_options"] == {"include_usage": True, "chunk_size": 4}


def test_usage_is_not_asked_of_a_provider_that_has_none(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = gateway.complete(model="unasked", stream=True)
    assert "stream_options" not in upstream.request.document
    assert reply.done


def test_the_body_has_a_length_and_no_coding(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete()
    headers = upstream.request.headers
    assert headers["content-length"] == str(len(upstream.request.body))
    assert "transfer-encoding" not in headers
    assert headers["content-type"] == "application/json"
    assert headers["host"] == upstream.address


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
@pytest.mark.parametrize("model", ["native", "chat", "quiet"])
def test_the_callers_key_never_goes_upstream(
    gateway: Gateway, upstream: Upstream, name: str, model: str
) -> None:
    value = f"Bearer {KEY}" if name == "authorization" else KEY
    body = {"model": model, "prompt": PROMPT}
    reply = gateway.send(body, key=None, headers={name: value})
    assert reply.status == 200
    request = upstream.request
    assert KEY.encode() not in request.head + request.body
    assert request.headers["authorization"] == f"Bearer {PROVIDER_KEY}"


def test_a_second_credential_beside_the_key_does_not_go_upstream(
    gateway: Gateway, upstream: Upstream
) -> None:
    gateway.complete(headers={"x-api-key": KEYS["team"], "api-key": KEYS["hashed"]})
    assert KEYS["team"].encode() not in upstream.request.head
    assert KEYS["hashed"].encode() not in upstream.request.head


@pytest.mark.parametrize(
    "name",
    [
        "cookie",
        "proxy-authorization",
        "x-api-key",
        "x-goog-api-key",
        "x-auth-token",
        "x-amz-security-token",
        "x-client-secret",
        "x-password",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-real-ip",
        "x-headgate-cache-ttl",
        "x-headgate-cache-namespace",
        "x-portkey-virtual-key",
        "x-org",
        "x-stainless-lang",
        "baggage",
        "referer",
        "origin",
        "forwarded",
        "via",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "expect-ct",
        "if-none-match",
        "range",
        "openai-organization",
    ],
)
def test_a_header_that_is_none_of_the_upstreams_business_stays_here(
    gateway: Gateway, upstream: Upstream, name: str
) -> None:
    assert gateway.complete(headers={name: "12"}).status == 200
    assert name not in upstream.request.headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=1"),
        ("x-tenant", "acme"),
        ("accept-language", "pt"),
        ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7"),
    ],
)
def test_traces_and_the_headers_that_are_named_go_upstream(
    gateway: Gateway, upstream: Upstream, name: str, value: str
) -> None:
    gateway.complete(headers={name: value})
    assert upstream.request.headers[name] == value


def test_the_configuration_can_keep_headers_here(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(model="quiet", headers={"x-tenant": "acme", "traceparent": "00-1-2-01"})
    assert not {"x-tenant", "traceparent", "x-request-id"} & set(upstream.request.headers)


def test_only_traces_and_the_request_id_go_where_nothing_is_named(
    gateway: Gateway, upstream: Upstream
) -> None:
    sent = {"x-tenant": "acme", "accept-language": "pt", "traceparent": "00-1-2-01"}
    reply = gateway.complete(model="small", headers=sent)
    found = upstream.request.headers
    assert not {"x-tenant", "accept-language"} & set(found)
    assert found["traceparent"] == "00-1-2-01"
    assert found["x-request-id"] == reply.headers["x-request-id"]


def test_headers_named_by_connection_are_hop_by_hop(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(headers={"connection": "keep-alive, X-Hop", "x-hop": "1", "x-stays": "1"})
    assert "x-hop" not in upstream.request.headers
    assert upstream.request.headers["x-stays"] == "1"
    assert "connection" not in upstream.request.headers


def test_the_request_id_goes_upstream(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete(headers={"x-request-id": "from-the-caller.1"})
    assert reply.headers["x-request-id"] == "from-the-caller.1"
    assert upstream.request.headers["x-request-id"] == "from-the-caller.1"


def test_configured_headers_go_upstream_and_win(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(headers={"x-operator": "the caller's"})
    values = [value for name, value in upstream.request.fields if name == "x-operator"]
    assert values == [OPERATOR_SECRET]


def test_a_compressed_answer_is_not_asked_for(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete(headers={"accept-encoding": "gzip, br, zstd"})
    assert upstream.request.headers["accept-encoding"] == "identity"


def test_the_query_of_the_caller_is_not_forwarded(gateway: Gateway, upstream: Upstream) -> None:
    body = json.dumps({"model": "native", "prompt": PROMPT}).encode()
    kind = {"content-type": "application/json"}
    reply = gateway.ask("POST", "/v1/completions?key=value", KEY, kind, body)
    assert reply.status == 200
    assert upstream.request.target == "/v1/completions"


def test_upstream_connections_are_reused(gateway: Gateway, upstream: Upstream) -> None:
    for _ in range(5):
        assert gateway.complete().status == 200
        assert gateway.complete(stream=True).done
    assert len({id(request.connection) for request in upstream.requests}) == 1


def test_an_upstream_that_closed_an_idle_connection_is_not_a_failure(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def answer_and_close(request, wire):
        await wire.answer(b'{"choices":[{"text":"x","finish_reason":"stop"}]}')
        wire.close()

    upstream.on("native", answer_and_close)
    assert [gateway.complete().status for _ in range(10)] == [200] * 10


def test_a_proxy_of_the_environment_is_ignored(gateway: Gateway, upstream: Upstream) -> None:
    gateway.complete()
    assert upstream.request.target == "/v1/completions"


def test_a_configured_proxy_is_used(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete(model="proxied")
    assert reply.status == 200
    assert upstream.request.target == "http://far-away.invalid/v1/completions"
    assert upstream.request.headers["host"] == "far-away.invalid"


def test_a_stream_comes_through_a_configured_proxy(gateway: Gateway, upstream: Upstream) -> None:
    assert gateway.complete(model="proxied", stream=True).done


def test_tls_with_the_configured_roots_works(gateway: Gateway, tls_upstream: Upstream) -> None:
    assert gateway.complete(model="trusted").status == 200
    assert gateway.complete(model="trusted", stream=True).done


def test_a_certificate_that_nobody_vouches_for_is_refused(
    gateway: Gateway, tls_upstream: Upstream
) -> None:
    reply = gateway.complete(model="untrusted")
    assert (reply.status, reply.error["code"]) == (502, "upstream_unreachable")
    assert tls_upstream.requests == []
