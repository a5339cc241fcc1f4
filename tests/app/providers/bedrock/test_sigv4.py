"""Signatures against those that botocore 1.44.5 made of the same requests (``SigV4Auth``)."""

from __future__ import annotations

import pytest

from app.providers.bedrock.sigv4 import Credentials, signature_headers

MOMENT = "20261121T183000Z"
EXAMPLE = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TOKEN = "FwoGZXIvYXdzEXAMPLE//token=="
CLAUDE = "/model/anthropic.claude-3-sonnet-20240229-v1%3A0/converse-stream"
PROFILE = (
    "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3A"
    "inference-profile%2Feu.amazon.nova-lite-v1%3A0/converse"
)
VECTORS = [
    (
        Credentials(*EXAMPLE),
        "us-east-1",
        "/model/amazon.titan-text-express-v1/converse",
        "{}",
        "da2314136ff8e5925c762c20e11623793aff5e6be23d9216df59b1a95901f04b",
    ),
    (
        Credentials(*EXAMPLE),
        "us-west-2",
        CLAUDE,
        '{"messages":[{"role":"user","content":[{"text":"hi"}]}]}',
        "07f596b6edf48f867059c7c8eb5efaf6c60557651c0526a4aed1c0afe4c27012",
    ),
    (
        Credentials(*EXAMPLE, TOKEN),
        "eu-central-1",
        PROFILE,
        '{"text":"é"}',
        "3ce3c7fb7de4ddfaeb1cf1a28dc15d0177e46b050078ef5f78e26ff5bdd7cf73",
    ),
    (
        Credentials("AKIDEXAMPLE", "secret with spaces"),
        "ap-south-1",
        "/model/m~x_y.z/converse",
        "",
        "8e6c0b012377b833f85cbf49e9ce9127c524f187049e69fa934a239899d3ae29",
    ),
]


@pytest.mark.parametrize(("credentials", "region", "path", "body", "signature"), VECTORS)
def test_a_signature_is_botocores(credentials, region, path, body, signature):
    host = f"bedrock-runtime.{region}.amazonaws.com"
    made = dict(signature_headers(credentials, region, host, path, body.encode(), MOMENT))
    names = "content-type;host;x-amz-date"
    if credentials.session_token:
        names += ";x-amz-security-token"
        assert made[b"x-amz-security-token"] == TOKEN.encode()
    assert made[b"x-amz-date"] == MOMENT.encode()
    assert made[b"authorization"].decode() == (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/{region}/bedrock/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
