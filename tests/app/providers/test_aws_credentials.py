"""Where the credentials come from that sign requests to Bedrock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from app.config.providers import BedrockProvider
from app.config.values.aws_environment import ContainerCredentials, container_credentials
from app.config.values.quantities import Secret
from app.core.errors import UpstreamAuth
from app.providers.aws_credentials import Signer

NOW = datetime(2026, 11, 21, 18, 30, tzinfo=UTC).timestamp()
GIVEN = {
    "AccessKeyId": "AKIDGIVEN",
    "SecretAccessKey": "s",
    "Token": "session-token",
    "Expiration": "2026-11-21T20:30:00Z",
}


class Metadata:
    """The instance's metadata service, version 2: a token, the role, its credentials."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.up = True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if not self.up:
            return httpx.Response(500)
        if request.method == "PUT":
            return httpx.Response(200, text="imds-token")
        if request.headers.get("x-aws-ec2-metadata-token") != "imds-token":
            return httpx.Response(401)
        if request.url.path.endswith("/security-credentials/"):
            return httpx.Response(200, text="the-role")
        assert request.url.path.endswith("/the-role")
        return httpx.Response(200, json=GIVEN)


def signer(service, now=lambda: NOW, **settings):
    section = BedrockProvider(region="us-east-1", **settings)
    return Signer(section, httpx.MockTransport(service), now)


async def signed(one: Signer) -> dict[bytes, bytes]:
    return dict(await one.sign("h", "/model/m/converse", b"{}"))


def test_credentials_of_the_file_are_asked_of_nobody():
    service = Metadata()
    one = signer(service, access_key_id="AKIDFILE", secret_access_key=Secret("s"))
    made = asyncio.run(signed(one))
    assert b"Credential=AKIDFILE/20261121/us-east-1/bedrock/" in made[b"authorization"]
    assert made[b"x-amz-date"] == b"20261121T183000Z"
    assert service.asked == []


def test_an_instances_credentials_are_fetched_once_for_all():
    service = Metadata()
    one = signer(service)

    async def many():
        return await asyncio.gather(*(signed(one) for _ in range(5)))

    for made in asyncio.run(many()):
        assert b"Credential=AKIDGIVEN/" in made[b"authorization"]
        assert made[b"x-amz-security-token"] == b"session-token"
    assert len(service.asked) == 3


def test_they_are_fetched_anew_before_they_end_and_kept_while_the_service_is_out():
    service, now = Metadata(), [NOW]
    one = signer(service, lambda: now[0])

    async def later():
        await signed(one)
        now[0] += 7000  # two minutes before the end
        service.up = False
        await signed(one)
        assert len(service.asked) == 4
        now[0] += 200
        with pytest.raises(UpstreamAuth):
            await signed(one)

    asyncio.run(later())


def test_a_container_asks_where_its_platform_says(tmp_path):
    file = tmp_path / "token"
    file.write_text("token-of-the-pod\n")
    full = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file),
    }
    assert container_credentials(full) == ContainerCredentials(
        "http://169.254.170.23/v1/credentials", "token-of-the-pod"
    )
    relative = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1"}
    assert container_credentials(relative) == ContainerCredentials(
        "http://169.254.170.2/v2/credentials/1", ""
    )
    assert container_credentials({}) is None


def test_a_containers_credentials_are_used(monkeypatch):
    asked = []

    def service(request):
        asked.append((str(request.url), request.headers.get("authorization")))
        return httpx.Response(200, json=GIVEN)

    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t")
    made = asyncio.run(signed(signer(service)))
    assert b"Credential=AKIDGIVEN/" in made[b"authorization"]
    assert asked == [("http://169.254.170.23/v1/credentials", "t")]
