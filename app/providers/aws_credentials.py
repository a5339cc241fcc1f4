"""Signs requests to Bedrock with the credentials of the file, or with those of the instance.

Source of the latter: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
and https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from time import time
from typing import Any, NamedTuple

import httpx
import orjson

from app.config.providers import BedrockProvider
from app.config.values.aws_environment import ContainerCredentials, container_credentials
from app.core.errors import HeaderList, UpstreamAuth
from app.providers.bedrock.sigv4 import Credentials, signature_headers

METADATA = "http://169.254.169.254"
_ROLES = "/latest/meta-data/iam/security-credentials/"
_TOKEN_SECONDS = 21_600
_REFRESH_SECONDS = 300.0  # before the end of what was given
_TIMEOUT = 2.0
_MAX_BYTES = 64 << 10


class _Given(NamedTuple):
    credentials: Credentials
    until: float  # unix seconds


class Signer:
    """One provider's credentials. Those of an instance are fetched when they are first needed, and
    anew five minutes before they end; one request fetches for all."""

    def __init__(
        self,
        settings: BedrockProvider,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        self._region = settings.region
        self._clock = clock
        self._transport = transport
        self._turn = asyncio.Lock()
        self._container = container_credentials()
        self._given: _Given | None = None
        if settings.access_key_id:
            fixed = Credentials(
                settings.access_key_id,
                settings.secret_access_key.reveal(),
                settings.session_token.reveal(),
            )
            self._given = _Given(fixed, float("inf"))

    async def sign(self, host: str, path: str, body: bytes) -> HeaderList:
        """The headers of one request. Raises UpstreamAuth where there are no credentials."""
        credentials = await self._credentials()
        moment = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%dT%H%M%SZ")
        return signature_headers(credentials, self._region, host, path, body, moment)

    async def _credentials(self) -> Credentials:
        given = self._given
        if given is not None and given.until - _REFRESH_SECONDS > self._clock():
            return given.credentials
        async with self._turn:
            given = self._given
            if given is None or given.until - _REFRESH_SECONDS <= self._clock():
                try:
                    given = self._given = await self._fetch()
                except (httpx.HTTPError, ValueError, KeyError, TypeError):
                    if given is None or given.until <= self._clock():
                        raise UpstreamAuth(
                            "The gateway has no credentials for the upstream."
                        ) from None
        return given.credentials

    async def _fetch(self) -> _Given:
        async with httpx.AsyncClient(
            transport=self._transport, timeout=_TIMEOUT, trust_env=False
        ) as client:
            if self._container is not None:
                document = await _container(client, self._container)
            else:
                document = await _instance(client)
        until = datetime.fromisoformat(document["Expiration"]).timestamp()
        credentials = Credentials(
            str(document["AccessKeyId"]), str(document["SecretAccessKey"]), str(document["Token"])
        )
        return _Given(credentials, until)


async def _container(client: httpx.AsyncClient, where: ContainerCredentials) -> Any:
    headers = {"authorization": where.token} if where.token else {}
    return orjson.loads(await _get(client, where.url, headers))


async def _instance(client: httpx.AsyncClient) -> Any:
    """By version 2 of the instance metadata service: a token first."""
    asked = {"x-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
    response = await client.put(METADATA + "/latest/api/token", headers=asked)
    response.raise_for_status()
    headers = {"x-aws-ec2-metadata-token": response.text.strip()}
    role = (await _get(client, METADATA + _ROLES, headers)).decode().split("\n")[0].strip()
    return orjson.loads(await _get(client, METADATA + _ROLES + role, headers))


async def _get(client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> bytes:
    response = await client.get(url, headers=headers)
    response.raise_for_status()
    if len(response.content) > _MAX_BYTES:
        raise ValueError(url)
    return response.content
