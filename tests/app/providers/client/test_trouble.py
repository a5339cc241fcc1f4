"""What keeps a provider from answering is told to its operator, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.config.providers import OpenAIProvider
from app.config.values.quantities import Secret
from app.core.errors import GatewayError
from app.openai.completions.request import parse
from app.providers.base import UpstreamCall
from app.providers.client.client import Client
from tests.harness.certificates import self_signed

GOOD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
MISSING = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
KEY = "sk-0123456789abcdef"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    file: Path = self_signed(tmp_path_factory.mktemp("tls") / "server.pem")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(file)
    return made


@asynccontextmanager
async def server(answer: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1 << 16)  # a head, or a handshake that it does not understand
            writer.write(answer)
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    made = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context)
    async with made:
        yield made.sockets[0].getsockname()[1]


async def ask(client: Client) -> str | None:
    call = UpstreamCall("completions", parse(b'{"model": "m", "prompt": "p"}'), "m", [])
    try:
        response = await client.post("/completions", b"{}", call, b"*/*")
        await client.read(response, call)
    except GatewayError:
        pass
    return client.trouble.latest


def closed_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def told(base_url: str, answer: bytes = GOOD, context: ssl.SSLContext | None = None) -> Any:
    """The health page's sentence and the line in the log, for two calls."""

    async def run() -> str | None:
        async with server(answer, context) as port:
            url = base_url.format(port=port, closed=closed_port())
            client = Client(OpenAIProvider(base_url=url, api_key=Secret(KEY)), name="mine")
            try:
                await ask(client)
                return await ask(client)
            finally:
                await client.aclose()

    with structlog.testing.capture_logs() as lines:
        trouble = asyncio.run(run())
    return trouble, lines


@pytest.mark.parametrize(
    ("base_url", "answer", "tls", "event", "says", "advice"),
    [
        ("http://127.0.0.1:{closed}/v1", GOOD, False, "unreachable", "connection refused", "start"),
        ("http://no-such.invalid/v1", GOOD, False, "unreachable", "cannot be resolved", "host"),
        ("https://127.0.0.1:{port}/v1", GOOD, False, "unreachable", "no TLS", "http://"),
        ("https://127.0.0.1:{port}/v1", GOOD, True, "unreachable", "not trusted", "ca_file"),
        ("http://127.0.0.1:{port}", MISSING, False, "not_found", "nothing at this path", "/v1"),
        ("http://127.0.0.1:{port}/v1", REFUSED, False, "auth_failed", "refuses", "api_key"),
    ],
)
def test_each_cause_is_named_with_the_address_and_its_cure(
    context: ssl.SSLContext,
    base_url: str,
    answer: bytes,
    tls: bool,
    event: str,
    says: str,
    advice: str,
) -> None:
    trouble, [line] = told(base_url, answer, context if tls else None)
    assert says in trouble
    assert trouble.startswith(base_url.partition("{")[0].removesuffix("/v1"))
    assert (line["event"], line["log_level"]) == (f"upstream_{event}", "warning")
    assert says in line["detail"]
    assert advice in line["advice"]
    assert trouble == f"{line['url']}: {line['detail']}"
    assert KEY not in f"{trouble} {line}"


def test_what_answers_again_is_no_trouble_any_more() -> None:
    async def run() -> list[str | None]:
        port = closed_port()
        client = Client(OpenAIProvider(base_url=f"http://127.0.0.1:{port}/v1"), name="mine")
        before = await ask(client)
        made = await asyncio.start_server(answering, "127.0.0.1", port)
        async with made:
            after = await ask(client)
        await client.aclose()
        return [before, after]

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(GOOD)
        await writer.drain()
        writer.close()

    before, after = asyncio.run(run())
    assert before is not None
    assert after is None
