"""What the soak's floods call harm, and whether their tools measure what they say."""

import asyncio
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from bench.floods import bad_keys, bodies, flapping, pipelines, sockets, unread
from bench.floods.asking import Caller
from bench.floods.flapping_upstream import FlappingUpstream
from bench.floods.flood import latency_bound
from bench.floods.neighbour import Latencies, measure
from bench.floods.play import FLOODS
from bench.floods.upstream import answer
from bench.processes import HOST, free_port
from bench.verdict import Verdict

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 401 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[int, list[str]]]:
    """A server that gives one connection after the other one of these; its port, and who came."""
    came: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for data in answers:
                try:
                    connection, (host, _) = server.accept()
                except OSError:
                    return
                came.append(host)
                with connection:
                    connection.recv(65536)
                    connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], came


@pytest.mark.parametrize(
    ("quiet", "bound"), [(0.001, 0.05), (0.01, 0.05), (0.02, 0.1), (0.06, 0.3), (3.0, 0.5)]
)
def test_a_neighbour_may_become_five_times_slower_within_reason(quiet: float, bound: float) -> None:
    assert latency_bound(Latencies(100, 0, quiet, quiet)) == pytest.approx(bound)


def test_a_neighbour_counts_whoever_does_not_answer_well() -> None:
    with answering(OK, REFUSED, b"", *[OK] * 50) as (port, _):
        found = measure(port, 0.3, "hg-key")
    assert found.failed == 2
    assert 3 < found.asked < 50
    assert 0 < found.p50 <= found.p99 < 0.3


def test_an_attacker_comes_from_another_address_and_reads_statuses() -> None:
    async def ask(port: int) -> int:
        caller = await Caller.connect(port)
        try:
            return await caller.ask(b"{}", "hg-key")
        finally:
            caller.close()

    with answering(OK, REFUSED) as (port, came):
        assert asyncio.run(ask(port)) == 200
        with pytest.raises(EOFError):
            asyncio.run(ask(port))
    assert came == [sockets.ATTACKER] * 2


def test_the_mock_answers_as_long_as_asked() -> None:
    head, _, body = answer(200_001).partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    document = json.loads(body)
    assert len(document["choices"][0]["text"]) == 200_001
    assert document["usage"]["total_tokens"] == 200_002


JUDGED: list[tuple[Any, dict[str, int], dict[str, int]]] = [
    (
        pipelines,
        {"ended by the gateway, large answers": 64},
        {"ended by the gateway, large answers": 63},
    ),
    (unread, {"ended by the gateway": 10, "answered 503": 5}, {"answered 200": 15}),
    (bodies, {"answered 200": 1, "answered 429": 90}, {"answered 200": 3}),
    (bad_keys, {"answered 401": 2000}, {"answered 401": 9000}),
]


@pytest.mark.parametrize(("flood", "good", "bad"), JUDGED, ids=lambda v: getattr(v, "__name__", ""))
def test_a_flood_is_judged_by_its_own_bounds(
    flood: Any, good: dict[str, int], bad: dict[str, int], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"")
    target: Any = SimpleNamespace(gateway=SimpleNamespace(log=log))
    for seen, right in ((good, True), (bad, False)):
        verdict = Verdict()
        flood.judge(target, Counter(seen), verdict)
        assert (verdict.failed == 0) == right


def test_every_line_of_a_guessed_key_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b'{"error":"invalid_api_key"}\n' * 301)
    verdict = Verdict()
    target: Any = SimpleNamespace(gateway=SimpleNamespace(log=log))
    bad_keys.judge(target, Counter({"answered 401": 301}), verdict)
    assert verdict.failed == 1


def test_all_floods_together_are_short() -> None:
    assert len(FLOODS) == 8
    long = FLOODS["flapping"].seconds
    assert sum(flood.seconds for flood in FLOODS.values()) - long < 60
    assert long == 120


FLAPPING: list[tuple[dict[str, int], str, str, str, int]] = [
    ({"plain: whole": 9, "stream: whole": 9}, "0.5", "0", "0.5", 0),
    ({"plain: whole": 9, "stream: broken: 'a' to 'b'": 1}, "0.5", "0", "0.5", 1),
    ({}, "0.5", "0", "0.5", 1),
    ({"plain: whole": 9, "plain: clean error 503 x": 1}, "0.5", "0", "0.5", 1),
    ({"stream: whole": 9, "stream: clean error in the stream x": 1}, "0.5", "0", "0.5", 0),
    ({"plain: whole": 9}, "0.6", "0", "0.5", 1),
    ({"plain: whole": 9}, "0.5", "0.1", "0.5", 1),
]


@pytest.mark.parametrize(("seen", "spent", "held", "logged", "wrong"), FLAPPING)
def test_flapping_upstreams_are_judged_by_answers_and_books(
    seen: dict[str, int],
    spent: str,
    held: str,
    logged: str,
    wrong: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = tmp_path / "log"
    log.write_text(
        f'{{"tenant":"flaps","status":200,"cost_usd":"{logged}","error":null}}\n'
        '{"tenant":"bench","status":200,"cost_usd":"7"}\n'
    )
    monkeypatch.setattr(flapping, "_budget", lambda _: {"spent_usd": spent, "held_usd": held})
    verdict = Verdict()
    target: Any = SimpleNamespace(gateway=SimpleNamespace(log=log))
    flapping.judge(target, Counter(seen), verdict)
    assert verdict.failed == wrong


@pytest.mark.parametrize("stream", [False, True])
def test_what_flapping_upstreams_say_when_they_are_well_is_whole(stream: bool) -> None:
    async def run() -> str:
        port = free_port()
        upstream = FlappingUpstream(port, 0, steady=True)
        task = asyncio.create_task(upstream.run())
        transport = httpx.AsyncHTTPTransport(retries=5)  # until it listens
        base = f"http://{HOST}:{port}"
        try:
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await flapping.ask(client, "a prompt", stream=stream)
        finally:
            task.cancel()

    assert asyncio.run(run()) == f"{'stream' if stream else 'plain'}: whole"
