"""The upstream client: one pool a provider, split timeouts, and the table of transport errors.

The transport is called directly: an ``httpx.AsyncClient`` around it would cost more than the rest
of the request.
"""

from __future__ import annotations

from time import perf_counter

import httpx

from app.config.providers import HttpProvider, base_url_of, headers_of
from app.core.errors import GatewayError, HeaderList, UpstreamInvalid
from app.providers.base import UpstreamCall
from app.providers.client.failures import refusal
from app.providers.client.packets import Packets
from app.providers.client.sending import Head, Sending, UpstreamResponse, sender_over
from app.providers.client.transport_errors import broken, translate
from app.providers.client.transports import make_transport
from app.providers.client.trouble import Trouble
from app.providers.http1.body import ResponseBody

MAX_ERROR_BODY = 64 << 10


class Client:
    """Sends JSON to one provider and hands on what it answers with status 200.

    ``name`` is the provider's in the log; ``secrets`` are what must never be shown besides its key
    and its headers.
    """

    def __init__(
        self,
        settings: HttpProvider,
        transport: httpx.AsyncBaseTransport | None = None,
        name: str = "",
        secrets: tuple[str, ...] = (),
    ) -> None:
        self.trouble = Trouble(name)
        self._sender = sender_over(transport or make_transport(settings))
        self._base = base_url_of(settings)
        self._urls: dict[str, httpx.URL] = {}
        self._heads: dict[tuple[str, str, bytes], Head] = {}
        key = settings.api_key.reveal()
        self._secrets = (key, *(value.reveal() for value in settings.headers.values()), *secrets)
        configured = headers_of(settings)
        own = {
            b"host": httpx.URL(self._base).netloc,
            b"content-type": b"application/json",
            b"accept-encoding": b"identity",
            b"user-agent": b"headgate",
        }
        own |= {name.encode(): value.encode() for name, value in configured.items()}
        for reserved in (b"content-length", b"transfer-encoding", b"connection"):
            own.pop(reserved, None)  # written for each request, by us
        self._own = own
        timeouts = settings.timeouts
        self._timeouts = {
            "connect": float(timeouts.connect),
            "pool": float(timeouts.connect),
            "read": float(timeouts.first_byte),
            "write": float(timeouts.first_byte),
            "first_byte": float(timeouts.first_byte),
            "idle": float(timeouts.idle),
            "total": float(timeouts.total),
        }
        self._max_bytes = int(settings.max_response_bytes)

    def address_of(self, path: str) -> tuple[str, str]:
        """The host and the path that a request goes to, as they stand on the wire."""
        url = self._url(path)
        return url.netloc.decode(), url.raw_path.decode()

    async def post(
        self,
        path: str,
        body: bytes,
        call: UpstreamCall,
        accept: bytes,
        signature: HeaderList | None = None,
        method: str = "POST",
    ) -> UpstreamResponse:
        """The upstream's 200, its body not yet read. ``signature`` are headers of this request.

        Raises UpstreamError for anything else, and for a body in a coding that we did not ask for.
        """
        timeouts = self._timeouts
        if call.timeouts is not None:
            timeouts = {**timeouts, **call.timeouts}
        head = self._heads.get((method, path, accept)) or self._head(method, path, accept)
        fields = call.headers
        if fields or signature:
            own = self._own
            fields = [*(signature or ()), *(pair for pair in fields if pair[0] not in own)]
        tally = call.tally
        tally.attempts += 1
        sending = Sending()
        began = perf_counter()
        try:
            response = await self._sender.send(head, fields, body, timeouts, sending)
        except BaseException as error:
            tally.unknown += sending.was_sent(error)
            if isinstance(error, httpx.HTTPError):
                self.trouble.failed(self._url(path), error)
                raise translate(error) from error
            raise
        finally:
            tally.waited += perf_counter() - began
        if response.retried:
            tally.attempts += 1
        if response.status != 200:
            # A proxy before the model gave up waiting, and the model may have gone on.
            tally.unknown += response.status == 504
            refused = await self._refusal(response)
            self.trouble.refused(self._url(path), refused)
            raise refused
        self.trouble.latest = None
        tally.unknown += 1
        if response.header(b"content-encoding") not in (b"", b"identity"):
            await response.body.aclose()
            raise UpstreamInvalid(
                "The upstream's answer is compressed, though it was not asked to."
            )
        return response

    async def read(self, response: UpstreamResponse, call: UpstreamCall) -> bytes:
        """The whole body, bounded."""
        tally = call.tally
        began = perf_counter()
        parts: list[bytes] = []
        size = 0
        body = response.body
        try:
            if isinstance(body, ResponseBody) and body.complete:
                return await body.read()  # it came with its head, bounded by our transport
            async for chunk in body:
                parts.append(chunk)
                size += len(chunk)
                if size > self._max_bytes:
                    raise UpstreamInvalid("The upstream's answer is too large.", retryable=False)
        except httpx.HTTPError as error:
            raise broken(error) from error
        finally:
            await body.aclose()
            tally.waited += perf_counter() - began
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self, response: UpstreamResponse, call: UpstreamCall) -> Packets:
        """The body as it comes, bounded."""
        return Packets(response, call.tally, self._max_bytes)

    async def aclose(self) -> None:
        await self._sender.aclose()

    def _url(self, path: str) -> httpx.URL:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = httpx.URL(path if "://" in path else self._base + path)
        return url

    def _head(self, method: str, path: str, accept: bytes) -> Head:
        headers = list(({b"accept": accept} | self._own).items())
        head = self._heads[method, path, accept] = Head.of(method, self._url(path), headers)
        return head

    async def _refusal(self, response: UpstreamResponse) -> GatewayError:
        """The error in a refusal; a body that cannot be read does not change what it says."""
        body = b""
        try:
            async for chunk in response.body:
                body += chunk
                if len(body) > MAX_ERROR_BODY:
                    break
        except httpx.HTTPError:
            body = b""
        finally:
            await response.body.aclose()
        headers = {lower: value for _, lower, value in response.headers}
        return refusal(response.status, headers, body, self._secrets)
