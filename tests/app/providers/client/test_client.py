"""The upstream client: what it sends, what it takes for an answer, what it makes of failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import structlog

from app.config.providers import OpenAIProvider
from app.config.values.quantities import Secret, Size
from app.core.errors import (
    HeaderList,
    UpstreamError,
    UpstreamInvalid,
    UpstreamNotConnected,
    UpstreamNotFound,
    UpstreamPoolFull,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from app.openai.completions.request import parse
from app.providers.base import UpstreamCall
from app.providers.client.client import Client
from app.providers.client.transport_errors import translate
from app.providers.http1 import errors as http1_errors

Handler = Callable[[httpx.Request], httpx.Response]


def every_subclass(kind: type) -> list[type]:
    return [kind, *(sub for child in kind.__subclasses__() for sub in every_subclass(child))]


assert http1_errors  # its classes belong to the tree that is walked


def raised(kind: type[httpx.HTTPError]) -> httpx.HTTPError:
    if issubclass(kind, httpx.HTTPStatusError):
        request = httpx.Request("GET", "http://h")
        return kind("text", request=request, response=httpx.Response(500))
    return kind("text")


@pytest.mark.parametrize("kind", every_subclass(httpx.HTTPError), ids=lambda kind: kind.__name__)
def test_every_httpx_error_is_translated(kind: type[httpx.HTTPError]) -> None:
    error = translate(raised(kind))
    assert isinstance(error, UpstreamError)
    assert error.status in (502, 503, 504)
    assert "text" not in error.message


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        (httpx.ConnectTimeout, UpstreamNotConnected),
        (httpx.ReadTimeout, UpstreamTimeout),
        (httpx.WriteTimeout, UpstreamTimeout),
        (httpx.PoolTimeout, UpstreamPoolFull),
        (httpx.ConnectError, UpstreamUnreachable),
        (httpx.ReadError, UpstreamUnreachable),
        (httpx.WriteError, UpstreamUnreachable),
        (httpx.CloseError, UpstreamUnreachable),
        (httpx.ProxyError, UpstreamUnreachable),
        (httpx.UnsupportedProtocol, UpstreamUnreachable),
        (httpx.LocalProtocolError, UpstreamInvalid),
        (httpx.RemoteProtocolError, UpstreamInvalid),
        (httpx.DecodingError, UpstreamInvalid),
        (http1_errors.FirstByteTimeout, UpstreamTimeout),
        (http1_errors.IdleTimeout, UpstreamTimeout),
        (http1_errors.TotalTimeout, UpstreamTimeout),
        (http1_errors.ResponseTooLarge, UpstreamInvalid),
        (http1_errors.AddressRefused, UpstreamUnreachable),
        (http1_errors.CertificateError, UpstreamUnreachable),
    ],
)
def test_each_error_keeps_its_class(kind: Any, ours: type[UpstreamError]) -> None:
    assert type(translate(raised(kind))) is ours


def provider(**members: Any) -> OpenAIProvider:
    return OpenAIProvider(**{"base_url": "http://up.example:8000/v1/"} | members)


def call(headers: HeaderList | None = None) -> UpstreamCall:
    return UpstreamCall("completions", parse(b'{"model":"m","prompt":"p"}'), "up", headers)


def exchanged(
    handler: Handler, *, callers: HeaderList | None = None, **members: Any
) -> tuple[bytes, UpstreamCall]:
    """What a call to an upstream with this handler reads."""
    made = call(callers)

    async def run() -> bytes:
        client = Client(provider(**members), httpx.MockTransport(handler))
        response = await client.post("/completions", b'{"a":1}', made, b"application/json")
        return await client.read(response, made)

    return asyncio.run(run()), made


def sent(callers: HeaderList | None = None, **members: Any) -> httpx.Request:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"{}")

    exchanged(handler, callers=callers, **members)
    return seen[0]


def test_a_request_goes_where_the_provider_is() -> None:
    request = sent(api_key=Secret("k"))
    assert str(request.url) == "http://up.example:8000/v1/completions"
    assert (request.method, request.content) == ("POST", b'{"a":1}')


def test_the_gateways_own_headers_are_set_once() -> None:
    headers = sent(api_key=Secret("k"), headers={"X-Team": Secret("t")}).headers
    assert {name: headers.get_list(name) for name in headers} == {
        "host": ["up.example:8000"],
        "content-type": ["application/json"],
        "accept-encoding": ["identity"],
        "accept": ["application/json"],
        "user-agent": ["headgate"],
        "authorization": ["Bearer k"],
        "x-team": ["t"],
        "content-length": ["7"],
    }


@pytest.mark.parametrize("name", ["Authorization", "Host", "User-Agent", "Accept", "Content-Type"])
def test_a_configured_header_wins_and_is_sent_once(name: str) -> None:
    headers = sent(api_key=Secret("k"), headers={name: Secret("mine")}).headers
    assert headers.get_list(name) == ["mine"]


def test_a_caller_cannot_overwrite_the_gateways_headers() -> None:
    callers = [(b"x-team", b"evil"), (b"authorization", b"evil"), (b"x-other", b"ok")]
    headers = sent(callers, api_key=Secret("k"), headers={"X-Team": Secret("t")}).headers
    assert headers.get_list("x-team") == ["t"]
    assert headers.get_list("authorization") == ["Bearer k"]
    assert headers.get_list("x-other") == ["ok"]


def test_without_a_key_no_credential_is_sent() -> None:
    assert "authorization" not in sent().headers


def test_the_configured_timeouts_go_with_every_request() -> None:
    timeouts = sent().extensions["timeout"]
    assert timeouts["connect"] == 5
    assert (timeouts["first_byte"], timeouts["idle"], timeouts["total"]) == (60, 60, 600)


def test_a_good_answer_is_read_whole_and_counted() -> None:
    body, made = exchanged(lambda _: httpx.Response(200, content=b"answer"))
    assert body == b"answer"
    assert made.tally.attempts == 1
    assert made.tally.waited > 0


def failed(handler: Handler, **members: Any) -> Any:
    with pytest.raises(UpstreamError) as caught:
        exchanged(handler, **members)
    return caught.value


@pytest.mark.parametrize("status", [204, 206, 301, 302, 307, 308, 500, 502])
def test_only_200_is_an_answer_and_a_redirect_is_not_followed(status: int) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "up.example"
        return httpx.Response(status, headers={"location": "http://elsewhere/"})

    assert failed(handler).status == 502


def test_a_compressed_answer_is_refused() -> None:
    import gzip

    body = gzip.compress(b"{}")

    class Whole(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield body

    response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Whole())
    assert failed(lambda _: response).code == "upstream_invalid_response"


def test_an_error_of_the_transport_counts_as_an_attempt() -> None:
    made = call()

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("to 10.0.0.1 failed", request=request)

    async def run() -> None:
        client = Client(provider(), httpx.MockTransport(handler))
        await client.post("/completions", b"{}", made, b"*/*")

    with pytest.raises(UpstreamUnreachable) as caught:
        asyncio.run(run())
    assert made.tally.attempts == 1
    assert "10.0.0.1" not in caught.value.message


class Body(httpx.AsyncByteStream):
    """A body that ends as told, and knows whether it was closed."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self._parts = parts
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            yield part

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (httpx.ReadError("x"), UpstreamInvalid),
        (httpx.RemoteProtocolError("x"), UpstreamInvalid),
        (httpx.ReadTimeout("x"), UpstreamTimeout),
        (http1_errors.IdleTimeout("x"), UpstreamTimeout),
        (http1_errors.ResponseTooLarge("x"), UpstreamInvalid),
    ],
)
def test_an_answer_that_breaks_off_is_no_answer(error: Exception, ours: type) -> None:
    body = Body(b"{", error)
    assert type(failed(lambda _: httpx.Response(200, stream=body))) is ours
    assert body.closed


def test_an_answer_has_a_bound() -> None:
    body = Body(b"x" * 60, b"x" * 60)
    error = failed(lambda _: httpx.Response(200, stream=body), max_response_bytes=Size(100))
    assert "too large" in error.message
    assert body.closed


def test_a_refusals_body_has_a_bound() -> None:
    body = Body(*[b"x" * 1024] * 200)
    assert failed(lambda _: httpx.Response(400, stream=body)).status == 400
    assert body.closed


def test_a_refusal_that_breaks_off_is_still_a_refusal() -> None:
    body = Body(b'{"err', httpx.ReadError("x"))
    error = failed(lambda _: httpx.Response(429, stream=body, headers={"Retry-After": "3"}))
    assert error.status == 429
    assert (b"retry-after", b"3") in error.headers
    assert body.closed


@pytest.mark.parametrize("where", ["api_key", "header"])
def test_a_refusal_shows_neither_key_nor_configured_headers(where: str) -> None:
    members: dict[str, Any] = {"api_key": Secret("a-long-secret")}
    if where == "header":
        members = {"headers": {"x-key": Secret("a-long-secret")}}
    response = httpx.Response(400, json={"error": {"message": "you sent a-long-secret"}})
    assert failed(lambda _: response, **members).message == "you sent [redacted]"


def test_a_short_configured_header_does_not_garble_messages() -> None:
    response = httpx.Response(400, json={"error": {"message": "n must be 1, not 11"}})
    error = failed(lambda _: response, headers={"x-version": Secret("1")})
    assert error.message == "n must be 1, not 11"


def test_chunks_are_handed_on_and_the_body_is_closed_early() -> None:
    body = Body(b"a", b"b", b"c")
    made = call()

    async def run() -> bytes:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
        client = Client(provider(), transport)
        chunks = client.chunks(await client.post("/x", b"{}", made, b"*/*"), made)
        first = await anext(chunks)
        await chunks.aclose()
        return first

    assert asyncio.run(run()) == b"a"
    assert body.closed


def test_a_stream_has_a_bound_too() -> None:
    made = call()

    async def run() -> list[bytes]:
        transport = httpx.MockTransport(
            lambda _: httpx.Response(200, stream=Body(*[b"x" * 60] * 3))
        )
        client = Client(provider(max_response_bytes=Size(100)), transport)
        response = await client.post("/x", b"{}", made, b"*/*")
        return [chunk async for chunk in client.chunks(response, made)]

    with pytest.raises(UpstreamInvalid, match="too large"):
        asyncio.run(run())


# What the upstream may have worked on.


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (httpx.ConnectError, 0),
        (httpx.ConnectTimeout, 0),
        (httpx.PoolTimeout, 0),
        (httpx.ProxyError, 0),
        (httpx.ReadTimeout, 1),
        (httpx.ReadError, 1),
        (httpx.RemoteProtocolError, 1),
    ],
)
def test_a_call_that_was_sent_and_failed_has_an_unknown_use(
    error: type[httpx.TransportError], unknown: int
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error("x")

    assert unknown_after(handler) == unknown


@pytest.mark.parametrize(("status", "unknown"), [(200, 1), (400, 0), (429, 0), (503, 0), (504, 1)])
def test_a_refusal_used_nothing(status: int, unknown: int) -> None:
    assert unknown_after(lambda _: httpx.Response(status, content=b"{}")) == unknown


def unknown_after(handler: Handler) -> int:
    made = call()

    async def run() -> None:
        client = Client(provider(), httpx.MockTransport(handler))
        with contextlib.suppress(UpstreamError):
            await client.post("/completions", b"{}", made, b"application/json")

    asyncio.run(run())
    return made.tally.unknown


def test_a_wrong_path_is_told_without_credentials_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("app.providers.client.trouble.monotonic", lambda: now[0])
    members = {"base_url": "http://user:secret@up.example:8000/v2", "api_key": Secret("k" * 20)}

    async def run() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(404, json={"detail": "Not Found"}))
        client = Client(provider(**members), transport, name="mine")
        for seconds in (0, 59, 2):
            now[0] += seconds
            with pytest.raises(UpstreamNotFound):
                await client.post("/completions", b"{}", call(), b"*/*")

    with structlog.testing.capture_logs() as lines:
        asyncio.run(run())
    url = "http://up.example:8000/v2/completions"
    told = {"event": "upstream_not_found", "log_level": "warning", "provider": "mine", "url": url}
    shown = [{name: line[name] for name in told} for line in lines]
    assert shown == [told, told]
    assert "correct `base_url`" in lines[0]["advice"]
