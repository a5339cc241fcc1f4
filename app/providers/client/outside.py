"""POST of JSON to an address of the configuration, for rules and retrievers beyond the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from app.config.providers import HttpProvider, Timeouts
from app.config.values.quantities import Duration, Secret, Size
from app.core.errors import HeaderList
from app.providers.base import UpstreamCall
from app.providers.client.client import Client

MAX_ANSWER = Size(1 << 20)


class _Body:
    """A body that is ready."""

    document: Mapping[str, Any] = {}
    stream_options: Mapping[str, Any] = {}

    def body_for(self, *_: object) -> bytes:
        return b""


class Outside:
    """One address, with a pool of its own. Redirects are not followed, and nothing of a caller's is
    sent but the texts."""

    def __init__(
        self,
        url: str,
        deadline: float,
        api_key: str = "",
        name: str = "",
        operation: str = "guardrail",
    ) -> None:
        self._operation = operation
        parts = urlsplit(url)
        self._path = parts.path or "/"
        if parts.query:
            self._path += f"?{parts.query}"
        patience = Duration(deadline)
        self._client = Client(
            HttpProvider(
                base_url=f"{parts.scheme}://{parts.netloc}",
                api_key=Secret(api_key),
                timeouts=Timeouts(
                    connect=patience, first_byte=patience, idle=patience, total=patience
                ),
                max_response_bytes=MAX_ANSWER,
                max_connections=64,
            ),
            name=name,
        )

    async def post(self, body: bytes, headers: HeaderList) -> bytes:
        """The answer's body. Raises UpstreamError for any status but 200."""
        call = UpstreamCall(self._operation, _Body(), "", headers)
        response = await self._client.post(self._path, body, call, b"application/json")
        return await self._client.read(response, call)

    async def aclose(self) -> None:
        await self._client.aclose()
