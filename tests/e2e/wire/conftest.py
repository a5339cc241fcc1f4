"""One gateway and one upstream for nearly every test; what differs is the model that is asked."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.harness.gateway import KEYS, OPERATOR_SECRET, PROVIDER_KEY, Gateway, free_port
from tests.harness.upstream import Upstream


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with a key and its self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "upstream.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture(scope="session")
def the_upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def the_tls_upstream(certificate: Path) -> Iterator[Upstream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Upstream(context) as upstream:
        yield upstream


@pytest.fixture
def upstream(the_upstream: Upstream) -> Iterator[Upstream]:
    the_upstream.reset()
    yield the_upstream
    the_upstream.reset()


@pytest.fixture
def tls_upstream(the_tls_upstream: Upstream) -> Iterator[Upstream]:
    the_tls_upstream.reset()
    yield the_tls_upstream
    the_tls_upstream.reset()


@pytest.fixture(scope="session")
def closed_port() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture(scope="session")
def the_gateway(
    the_upstream: Upstream, the_tls_upstream: Upstream, certificate: Path, closed_port: int
) -> Iterator[Gateway]:
    secrets = [the_upstream.address, the_tls_upstream.address, f"127.0.0.1:{closed_port}"]
    settings = configuration(the_upstream, the_tls_upstream, certificate, closed_port)
    with Gateway(settings, secrets) as gateway:
        yield gateway


@pytest.fixture
def gateway(the_gateway: Gateway) -> Iterator[Gateway]:
    """The gateway; a test fails where anything private stood in what it wrote."""
    yield the_gateway
    leaks, the_gateway.leaks = the_gateway.leaks, []
    assert leaks == []


@pytest.fixture(scope="session")
def strict_gateway(the_upstream: Upstream) -> Iterator[Gateway]:
    """A second gateway: small bodies, no patience with slow ones, and prompts in its log."""
    settings = {
        "server": {"max_body_bytes": "2KiB", "body_timeout": "400ms"},
        "log": {"format": "json", "prompts": True},
        "providers": {"main": openai(the_upstream.base_url)},
        "models": {"native": target("main", "native")},
        "tenants": {"acme": {}},
        "keys": [{"id": "all", "tenant": "acme", "secret": KEYS["all"]}],
    }
    with Gateway(settings, [the_upstream.address]) as gateway:
        yield gateway


def openai(base_url: str, **settings: Any) -> dict[str, Any]:
    timeouts = {"connect": "2s", "first_byte": "8s", "idle": "8s", "total": "20s"}
    return {
        "kind": "openai",
        "base_url": base_url,
        "api_key": PROVIDER_KEY,
        "timeouts": timeouts,
    } | settings


def target(provider: str, model: str, **settings: Any) -> dict[str, Any]:
    return {"targets": [{"provider": provider, "model": model}]} | settings


def configuration(
    upstream: Upstream, tls_upstream: Upstream, certificate: Path, closed_port: int
) -> dict[str, Any]:
    base, tls = upstream.base_url, tls_upstream.base_url
    everything = ["completions", "chat", "embeddings"]
    unsupported = ["n", "logprobs", "seed", "logit_bias", "frequency_penalty", "user"]
    return {
        # The tests send more bad keys in a minute than a caller may unnoticed.
        "server": {"bad_keys_per_minute": 100_000},
        "log": {"format": "json"},
        "providers": {
            "main": openai(
                base,
                headers={"x-operator": OPERATOR_SECRET},
                forward_headers=[
                    *("traceparent", "tracestate", "x-request-id", "x-tenant", "x-b3-traceid"),
                    *("accept-language", "x-hop", "x-stays", "x-operator"),
                ],
            ),
            "quick": openai(
                base,
                timeouts={"connect": "1s", "first_byte": "250ms", "idle": "250ms", "total": "20s"},
            ),
            "brief": openai(
                base,
                timeouts={"connect": "1s", "first_byte": "5s", "idle": "5s", "total": "400ms"},
            ),
            "chat-only": openai(base, endpoints=["chat"]),
            "poor-chat": openai(
                base,
                endpoints=["chat"],
                unsupported=unsupported,
                max_tokens_field="max_completion_tokens",
            ),
            "small": openai(base, max_response_bytes="4KiB"),
            "small-events": openai(base, max_event_bytes="2KiB"),
            "misplaced": openai(f"{base}/elsewhere"),
            "quiet": openai(base, forward_headers=[]),
            "unasked": openai(base, stream_usage=False),
            "narrow": openai(
                base,
                max_connections=1,
                timeouts={"connect": "250ms", "first_byte": "8s", "idle": "8s", "total": "20s"},
            ),
            "nobody": openai(f"http://127.0.0.1:{closed_port}/v1"),
            "trusted": openai(tls, ca_file=str(certificate)),
            "untrusted": openai(tls),
            "proxied": openai("http://far-away.invalid/v1", proxy=f"http://{upstream.address}"),
            "sim": {"kind": "simulator"},
            "slow-sim": {"kind": "simulator", "latency": "20s"},
            "failing-sim": {"kind": "simulator", "failure_rate": 1},
        },
        "models": {
            "native": target("main", "native"),
            "renamed": target("main", "org/upstream-name"),
            "team-red": target("main", "team-red"),
            "org/slashed": target("main", "slashed"),
            "a model: 7é, 50%": target("main", "odd"),
            "off": target("main", "native", completions="off"),
            "no-endpoint": target("chat-only", "chatty"),
            "chat": target("main", "chatty", completions="chat"),
            "chat-narrow": target("main", "chatty", completions="chat", fan_out=2, max_calls=300),
            "poor-chat": target("poor-chat", "poor", completions="chat"),
            "quick": target("quick", "quick"),
            "quick-chat": target("quick", "quick", completions="chat"),
            "brief": target("brief", "brief"),
            "small": target("small", "small"),
            "small-events": target("small-events", "small-events"),
            "misplaced": target("misplaced", "misplaced"),
            "misplaced-chat": target("misplaced", "misplaced", completions="chat"),
            "quiet": target("quiet", "quiet"),
            "unasked": target("unasked", "unasked"),
            "narrow": target("narrow", "narrow"),
            "nobody": target("nobody", "nobody"),
            "trusted": target("trusted", "trusted"),
            "untrusted": target("untrusted", "untrusted"),
            "proxied": target("proxied", "proxied"),
            "sim": target("sim", "simulator-1"),
            "sim-plain-name": target("sim", "pretender"),
            "sim-chat": target("sim", "simulator-1", completions="chat"),
            "slow-sim": target("slow-sim", "simulator-slow"),
            "failing-sim": target("failing-sim", "simulator-failing"),
        },
        "tenants": {"acme": {}, "other": {}},
        "keys": [
            key("all", capabilities=everything),
            key("expired", expires="2020-01-01"),
            key("later", expires="2999-01-01T00:00:00Z"),
            key("embedder", capabilities=["embeddings"]),
            key("team", tenant="other", models=["team-*", "org/*"]),
            {
                "id": "rotated",
                "tenant": "acme",
                "secret": [KEYS["new-secret"], KEYS["old-secret"]],
            },
            {
                "id": "hashed",
                "tenant": "acme",
                "secret_sha256": hashlib.sha256(KEYS["hashed"].encode()).hexdigest(),
            },
        ],
    }


def key(name: str, tenant: str = "acme", **settings: Any) -> dict[str, Any]:
    return {"id": name, "tenant": tenant, "secret": KEYS[name]} | settings
