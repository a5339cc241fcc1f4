"""Every request leaves a line, and all output of a live gateway is JSON where that was asked for."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.cache.replicas import workers_of
from tests.harness.configuration import openai, target
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually


@pytest.fixture(scope="module")
def the_gateway(the_upstream: Upstream) -> Iterator[Gateway]:
    settings = {
        "server": {"trusted_proxies": ["127.0.0.0/8"], "shutdown_grace": "5s"},
        "log": {"format": "json", "level": "info"},
        "providers": {"main": openai(the_upstream.base_url)},
        "models": {"house": target("main", "native")},
        "tenants": {"acme": {}},
        "keys": [{"id": "all", "tenant": "acme", "secret": KEY}],
    }
    with open_gateway(settings, the_upstream) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/completions", 200),
        ("GET", "/v1/completion", 404),
        ("GET", "/v1/models", 200),
        ("DELETE", "/health/live", 405),
        ("GET", "//v1/models", 404),
    ],
)
def test_every_request_leaves_a_line(
    the_gateway: Gateway, upstream: Upstream, method: str, path: str, status: int
) -> None:
    name = f"line-{method}-{path.replace('/', '.')}"
    headers = {
        "x-request-id": name,
        "x-forwarded-for": "203.0.113.9",
        "authorization": f"Bearer {KEY}",
    }
    body = {"model": "house", "prompt": "p"} if method == "POST" else None
    # The query may hold what is nobody's business.
    url = f"{the_gateway.url}{path}?token=a-secret"
    answer = the_gateway.client.request(method, url, headers=headers, json=body)
    assert answer.status_code == status
    line = the_gateway.line(name)
    assert (line["method"], line["path"], line["status"]) == (method, path, status)
    assert line["client"] == "203.0.113.9"
    assert not [text for text in the_gateway.output if "a-secret" in text]


def test_health_checks_that_go_well_leave_no_line_at_info(the_gateway: Gateway) -> None:
    for name in ("check-live", "check-ready"):
        path = f"{the_gateway.url}/health/{name.removeprefix('check-')}"
        assert the_gateway.client.get(path, headers={"x-request-id": name}).status_code == 200
    the_gateway.client.get(f"{the_gateway.url}/x", headers={"x-request-id": "after-checks"})
    the_gateway.line("after-checks")
    assert not [
        text for text in the_gateway.output if "check-live" in text or "check-ready" in text
    ]


def test_the_main_process_speaks_json_too(the_gateway: Gateway) -> None:
    the_gateway.signal(signal.SIGHUP)
    the_gateway.wait_for_error("reload: configuration")
    [worker] = workers_of(the_gateway)
    os.kill(worker, signal.SIGKILL)
    line = json.loads(the_gateway.wait_for_error("ended by SIGKILL"))
    assert (line["event"], line["level"]) == ("gateway", "info")
    assert str(worker) in line["message"]
    eventually(lambda: the_gateway.get("/health/live", None).status, 200)
    for text in (*the_gateway.output, *the_gateway.errors):
        assert isinstance(json.loads(text), dict), text
