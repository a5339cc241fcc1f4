"""How a request goes out and its answer's head comes in: over our transport, or over httpx's.

Our transport is spoken to without httpx's objects: to make a request, a response and their headers
of one call takes a tenth of what the whole call takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self, cast

import httpx

from app.core.errors import HeaderList
from app.providers.http1.body import ResponseBody
from app.providers.http1.request import RequestHead
from app.providers.http1.response import Header
from app.providers.http1.transport import Http1Transport

NEVER_SENT = (
    httpx.PoolTimeout,
    httpx.ConnectTimeout,
    httpx.ConnectError,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class UpstreamResponse:
    """An answer whose head is in. ``headers`` hold (name, lower-case name, value)."""

    __slots__ = ("body", "headers", "retried", "status")

    def __init__(
        self,
        status: int,
        headers: list[Header],
        body: ResponseBody | httpx.AsyncByteStream,
        *,
        retried: bool,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.retried = retried

    def header(self, name: bytes) -> bytes:
        """A header by its lower-case name; empty where there is none."""
        for _, lower, value in self.headers:
            if lower == name:
                return value
        return b""


class Sending:
    """One request on its way: whether the upstream may have worked on it."""

    __slots__ = ("notes",)

    def __init__(self) -> None:
        self.notes: dict[str, Any] = {}

    def was_sent(self, error: BaseException) -> bool:
        """Whether bytes of it went out; a transport that does not say so is judged by the error."""
        sent = self.notes.get("sent")
        return bool(sent) if sent is not None else not isinstance(error, NEVER_SENT)


class Head(NamedTuple):
    """What like requests have in common; ``start`` is it as bytes, for our transport."""

    method: str
    url: httpx.URL
    headers: httpx.Headers
    start: RequestHead

    @classmethod
    def of(cls, method: str, url: httpx.URL, headers: HeaderList) -> Self:
        fields = httpx.Headers(headers)
        return cls(method, url, fields, RequestHead(method, url, fields))


class Sender(Protocol):
    """Sends a request and waits for the head of its answer. Raises httpx's errors."""

    async def send(
        self,
        head: Head,
        fields: HeaderList,
        body: bytes,
        timeouts: Mapping[str, float],
        sending: Sending,
    ) -> UpstreamResponse: ...

    async def aclose(self) -> None: ...


class DirectSender:
    """Over our own transport."""

    def __init__(self, transport: Http1Transport) -> None:
        self._transport = transport
        self.aclose = transport.aclose

    async def send(
        self,
        head: Head,
        fields: HeaderList,
        body: bytes,
        timeouts: Mapping[str, float],
        sending: Sending,
    ) -> UpstreamResponse:
        start = head.start
        outgoing = start.with_body(fields, body)
        done = await self._transport.exchange(start.origin, outgoing, timeouts, sending.notes)
        reader = done.reader
        return UpstreamResponse(reader.status, reader.headers, done.body, retried=done.retried)


class HttpxSender:
    """Over any transport of httpx: through a proxy, say."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self.aclose = transport.aclose

    async def send(
        self,
        head: Head,
        fields: HeaderList,
        body: bytes,
        timeouts: Mapping[str, float],
        sending: Sending,
    ) -> UpstreamResponse:
        length = (b"content-length", b"%d" % len(body))
        request = httpx.Request(
            head.method,
            head.url,
            headers=[*head.headers.raw, length, *fields],
            stream=httpx.ByteStream(body),
            extensions={"timeout": timeouts},
        )
        sending.notes = request.extensions
        response = await self._transport.handle_async_request(request)
        headers = [(name, name.lower(), value) for name, value in response.headers.raw]
        stream = cast("httpx.AsyncByteStream", response.stream)
        retried = bool(response.extensions.get("retried"))
        return UpstreamResponse(response.status_code, headers, stream, retried=retried)


def sender_over(transport: httpx.AsyncBaseTransport) -> Sender:
    """The shortest way to use a transport."""
    if isinstance(transport, Http1Transport):
        return DirectSender(transport)
    return HttpxSender(transport)
