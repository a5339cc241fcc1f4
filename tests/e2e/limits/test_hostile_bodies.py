"""Bodies made to cost: they pay first, and their neighbours do not wait for them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles
from typing import Any

import pytest

from tests.harness.credentials import KEYS
from tests.harness.gateway import Gateway
from tests.harness.raw_connection import raw_request

pytestmark = pytest.mark.alone  # it measures how long others wait

QUIET, LIMITED, FREE = (KEYS[name] for name in ("all", "team", "later"))
LONG = 20_000  # bytes: more than is parsed before its token is taken

# In a process of its own, so that it takes nothing from the one that measures.
ATTACK = """
import socket, sys, threading
port, key, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
body = b'{"model":"sim","prompt":[' + b",".join([b"[]"] * 349_000) + b"]}"
head = (
    "POST /v1/completions HTTP/1.1\\r\\nhost: h\\r\\ncontent-type: application/json\\r\\n"
    f"authorization: Bearer {key}\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n"
).encode()
threading.Timer(seconds, lambda: __import__("os")._exit(0)).start()
def attack():
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as caller:
                while True:
                    caller.sendall(head + body)
                    if not caller.recv(65536):
                        break
                    print("answered", flush=True)
        except OSError:
            continue
for _ in range(8):
    threading.Thread(target=attack, daemon=True).start()
threading.Event().wait()
"""


def metered_key(name: str, **key: Any) -> dict[str, Any]:
    return {"id": name, "tenant": name, "secret": SECRETS[name]} | key


NAMES = ["bad", "large", "chunked", "wide", "neither"]
SECRETS = {name: f"hg-hostile-{name}-0123456789" for name in NAMES}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    configuration = {
        "log": {"format": "json"},
        "providers": {"sim": {"kind": "simulator", "latency": "30ms"}},
        "models": {"sim": {"targets": [{"provider": "sim", "model": "simulator-1"}]}},
        "limits": {
            "one": {"requests_per_minute": 1},
            "three": {"requests_per_minute": 1, "request_burst": 3},
        },
        "tenants": {
            "quiet": {},
            "loud": {},
            "wide": {"models": {"sim": {"limits": "three"}}, "limits": "three"},
        }
        | {name: {} for name in NAMES if name != "wide"},
        "keys": [
            {"id": "quiet", "tenant": "quiet", "secret": QUIET},
            {"id": "limited", "tenant": "loud", "secret": LIMITED, "limits": "one"},
            {"id": "free", "tenant": "loud", "secret": FREE},
            *(metered_key(name, limits="three") for name in NAMES),
        ],
    }
    with Gateway(configuration) as gateway:
        yield gateway


@contextmanager
def attack(gateway: Gateway, key: str) -> Iterator[None]:
    """One mebibyte of empty lists on eight connections, again and again."""
    command = [sys.executable, "-c", ATTACK, str(gateway.port), key, "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as attacker:
        try:
            assert attacker.stdout is not None
            assert attacker.stdout.readline().startswith(b"answered")
            yield
        finally:
            attacker.kill()


def slowest(gateway: Gateway, count: int = 100) -> float:
    """The 99th percentile of the seconds that a neighbour waits."""
    waited = []
    for _ in range(count):
        began = time.monotonic()
        assert gateway.complete(QUIET, model="sim", prompt="x", max_tokens=1).status == 200
        waited.append(time.monotonic() - began)
    return quantiles(waited, n=100)[-1]


@pytest.mark.parametrize("key", [LIMITED, FREE])
def test_a_neighbour_hardly_notices_bodies_made_to_cost(gateway: Gateway, key: str) -> None:
    quiet = slowest(gateway)
    with attack(gateway, key):
        attacked = slowest(gateway)
    assert attacked < 5 * max(quiet, 0.05)


def statuses(gateway: Gateway, name: str, *bodies: Any, headers: Any = ()) -> list[int]:
    return [gateway.send(body, SECRETS[name], headers).status for body in bodies]


def good(length: int = 1) -> dict[str, Any]:
    return {"model": "sim", "prompt": "x" * length, "max_tokens": 1}


def test_a_body_that_is_refused_takes_a_request_token(gateway: Gateway) -> None:
    bodies = [b"{", {"model": "sim"}, b"x" * LONG, b"{", good(LONG), good()]
    assert statuses(gateway, "bad", *bodies) == [400, 400, 400, 429, 429, 429]


def test_a_large_body_takes_one_token_and_not_two(gateway: Gateway) -> None:
    assert statuses(gateway, "large", *[good(LONG)] * 4) == [200, 200, 200, 429]


def test_a_chunked_body_takes_one_token_and_not_two(gateway: Gateway) -> None:
    body = json.dumps(good()).encode()
    head = raw_request(headers=["transfer-encoding: chunked"], length=False)
    head = head.replace(KEYS["all"].encode(), SECRETS["chunked"].encode())
    said = []
    for _ in range(4):
        with gateway.raw() as caller:
            caller.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            answer = caller.answer()
            said.append(answer and answer.status)
    assert said == [200, 200, 200, 429]


def test_a_large_body_takes_the_tokens_of_key_tenant_and_model(gateway: Gateway) -> None:
    replies = [gateway.send(good(LONG), SECRETS["wide"]) for _ in range(3)]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["2", "1", "0"]


def test_a_large_body_without_a_token_is_refused_before_it_is_sent(gateway: Gateway) -> None:
    statuses(gateway, "neither", *[good()] * 3)
    head = raw_request(headers=["content-length: 1000000"], length=False)
    with gateway.raw() as caller:
        caller.send(head.replace(KEYS["all"].encode(), SECRETS["neither"].encode()))
        answer = caller.answer()
    assert answer is not None
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert "retry-after" in answer.headers
