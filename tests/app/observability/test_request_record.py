"""The line of a request: what was asked, by whom, and for whom a proxy speaks."""

from __future__ import annotations

from typing import Any

import pytest

from app.connections.client_address import TrustedProxies
from app.core.exchange import Exchange
from app.observability.request_record import MOST_PATH, Recorder
from tests.harness.chain import call_of


def line_of(path: bytes = b"/v1/models", **headers: bytes) -> dict[str, Any]:
    lines: list[dict[str, Any]] = []
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    exchange = Exchange("id-1", named, 0.0)
    exchange.method, exchange.path, exchange.peer = "GET", path, "10.0.0.7"
    Recorder(log=lines.append, client_of=TrustedProxies(["10.0.0.0/8"]).client)(exchange)
    [line] = lines
    return line


def test_a_line_has_the_method_the_path_and_the_client() -> None:
    line = line_of()
    assert (line["method"], line["path"], line["client"]) == ("GET", "/v1/models", "10.0.0.7")


def test_a_proxy_of_ours_speaks_for_the_client_and_the_client_not_for_itself() -> None:
    assert line_of(x_forwarded_for=b"203.0.113.9")["client"] == "203.0.113.9"
    assert line_of(x_forwarded_for=b"1.1.1.1, 203.0.113.9")["client"] == "203.0.113.9"


@pytest.mark.parametrize("path", [b"/" + b"x" * 10_000, b"/%0a\xff\xe9"])
def test_a_path_is_bounded_and_has_any_byte(path: bytes) -> None:
    assert line_of(path)["path"] == path[:MOST_PATH].decode("latin-1")


def test_a_call_of_the_gateways_own_has_no_path() -> None:
    lines: list[dict[str, Any]] = []
    Recorder(log=lines.append)(call_of())
    assert "path" not in lines[0]
