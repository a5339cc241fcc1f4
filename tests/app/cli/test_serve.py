"""`headgate serve` as people and process managers meet it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
from pathlib import Path
from typing import Any

import httpx

from tests.app.cli.conftest import wait_for

LISTEN = "0A"


def printed_curl(text: str) -> tuple[str, dict[str, str], bytes]:
    """Address, headers and body of the curl command in a greeting."""
    match = re.search(r"curl (.*?\\\n.*?\\\n.*)$", text, re.MULTILINE)
    assert match is not None, text
    words = iter(shlex.split(match[1].replace("\\\n", " ")))
    url, headers, body = next(words), {}, b""
    for word in words:
        value = next(words)
        if word == "-H":
            name, _, content = value.partition(": ")
            headers[name] = content
        else:
            assert word == "-d"
            body = value.encode()
    return url, headers, body


def listening_addresses(port: int) -> set[str]:
    """The local addresses, in hexadecimal, on which anyone listens at a port."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.partition(":")
            if state == LISTEN and int(number, 16) == port:
                found.add(address)
    return found


# Without a file


def test_without_a_file_it_prints_a_key_and_a_curl_that_works(built_in: Any) -> None:
    gateway, _ = built_in
    url, headers, body = printed_curl(gateway.err.text())
    answer = httpx.post(url, headers=headers, content=body, trust_env=False, timeout=20)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["text"]
    assert "simulator" in answer.json()["model"]


def test_no_log_line_shows_the_key(built_in: Any) -> None:
    gateway, _ = built_in
    url, headers, body = printed_curl(gateway.err.text())
    httpx.post(url, headers=headers, content=body, trust_env=False, timeout=20)
    line = gateway.out.wait('"request"')
    assert headers["authorization"].split()[1] not in gateway.out.text()
    assert json.loads(line)["alias"] == "demo"


def test_the_built_in_configuration_listens_on_loopback_only(built_in: Any) -> None:
    gateway, _ = built_in
    assert listening_addresses(gateway.port) == {"0100007F"}


def test_the_built_in_configuration_has_nothing_to_read_anew(built_in: Any) -> None:
    gateway, _ = built_in
    gateway.signal(signal.SIGHUP)
    gateway.err.wait("nothing to read anew")
    assert gateway.get("/health/live").status_code == 200


def test_the_snapshot_is_for_its_owner_only(built_in: Any) -> None:
    _, place = built_in
    [directory] = place.glob("headgate-*")
    assert directory.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in directory.iterdir())


# Starting


def test_the_environment_can_name_the_file(serve: Any, config: Any) -> None:
    gateway = serve(HEADGATE_CONFIG=str(config().path)).ready()
    assert gateway.get("/v1/models/first").status_code == 200


def test_a_port_that_is_taken_is_said_clearly(serve: Any, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        gateway = serve("--port", port)
        assert gateway.wait() != 0
    said = gateway.err.text() + gateway.out.text()
    assert "Traceback" not in said
    assert str(port) in said
    assert re.search(r"in use|taken", said, re.IGNORECASE)


# Reloading


def test_a_reload_brings_the_new_alias(serve: Any, config: Any) -> None:
    file = config()
    gateway = serve("--config", file.path).ready()
    before = gateway.generation()
    file.write("second")
    gateway.signal(signal.SIGHUP)
    gateway.out.wait('"reloaded"')
    assert gateway.get("/v1/models/second").status_code == 200
    assert gateway.get("/v1/models/first").status_code == 404
    assert gateway.generation() != before


def test_a_bad_file_changes_nothing_and_says_why(serve: Any, config: Any) -> None:
    file = config()
    gateway = serve("--config", file.path).ready()
    before = gateway.generation()
    file.path.write_text("server: {prot: 1}\n")
    gateway.signal(signal.SIGHUP)
    gateway.err.wait(f"{file.path}:1: server.prot: unknown setting; did you mean `port`?")
    assert gateway.get("/v1/models/first").status_code == 200
    assert gateway.generation() == before


def test_a_running_stream_finishes_on_the_old_configuration(serve: Any, config: Any) -> None:
    file = config()
    gateway = serve("--config", file.path).ready()
    before = gateway.generation()
    with gateway.stream(tokens=30) as (response, events):
        file.write("second")
        gateway.signal(signal.SIGHUP)
        gateway.out.wait('"reloaded"')
        after = gateway.generation()
        rest = list(events)
    assert rest[-1] == "data: [DONE]"
    assert response.headers["x-headgate-config"] == before != after


def test_both_of_two_workers_change(serve: Any, config: Any) -> None:
    file = config(workers=2, store="redis://127.0.0.1:1")
    gateway = serve("--config", file.path).ready()
    assert len(gateway.workers()) == 2
    before = gateway.generation()
    file.write("second")
    gateway.signal(signal.SIGHUP)
    gateway.out.wait('"reloaded"', times=2)
    assert before not in {gateway.generation() for _ in range(30)}


# Stopping


def test_a_running_stream_finishes_before_the_gateway_stops(serve: Any, config: Any) -> None:
    gateway = serve("--config", config().path).ready()
    with gateway.stream(tokens=25) as (_, events):
        gateway.signal(signal.SIGTERM)
        rest = list(events)
    assert rest[-1] == "data: [DONE]"
    assert gateway.wait() == 0
    assert "Traceback" not in gateway.err.text()


def test_readiness_goes_first_while_requests_still_work(
    serve: Any, config: Any, until: Any
) -> None:
    gateway = serve("--config", config(delay="2s").path).ready()
    gateway.signal(signal.SIGTERM)
    answer = until(
        lambda: (a := gateway.get("/health/ready")).status_code == 503 and a,
        "readiness turns to 503",
    )
    assert answer.json()["reason"] == "shutting_down"
    assert gateway.complete(model="first").status_code == 200
    assert gateway.wait() == 0


def test_nothing_is_left_behind_after_a_stop(serve: Any, config: Any, tmp_path: Path) -> None:
    gateway = serve("--config", config().path, TMPDIR=str(tmp_path)).ready()
    snapshots = list(tmp_path.glob("headgate-*"))
    workers = gateway.workers()
    gateway.signal(signal.SIGINT)
    assert gateway.wait() == 0
    assert len(snapshots) == 1
    assert list(tmp_path.glob("headgate-*")) == []
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


# Crashing


def test_a_killed_worker_comes_back_with_the_last_good_configuration(
    serve: Any, config: Any, until: Any
) -> None:
    file = config()
    gateway = serve("--config", file.path).ready()
    file.write("second")
    gateway.signal(signal.SIGHUP)
    gateway.out.wait('"reloaded"')
    good = gateway.generation()
    file.path.write_text("server: {prot: 1}\n")
    [worker] = gateway.workers()
    os.kill(worker, signal.SIGKILL)
    until(lambda: gateway.workers() not in ([], [worker]), "a new worker starts")
    gateway.ready()
    assert gateway.generation() == good
    assert gateway.get("/v1/models/second").status_code == 200


def test_a_secret_file_is_read_anew_on_sighup_and_by_the_main_process_alone(
    serve: Any, port: int, tmp_path: Path
) -> None:
    old, new = "hg-k-0123456789abcdef-old", "hg-k-0123456789abcdef-new"
    secret, file = tmp_path / "secret", tmp_path / "gateway.yaml"
    secret.write_text(old + "\n")
    file.write_text(
        "providers: {p: {kind: simulator}}\nmodels: {m: {targets: [{provider: p, model: x}]}}\n"
        f'tenants: {{t: {{}}}}\nkeys: [{{id: k, tenant: t, secret_file: "{secret}"}}]\n'
    )
    gateway = serve("--config", str(file), "--port", port).ready()
    assert gateway.get("/v1/models", old).status_code == 200
    secret.write_text(new)
    gateway.signal(signal.SIGHUP)
    gateway.err.wait("reload: configuration")
    wait_for(lambda: gateway.get("/v1/models", new).status_code == 200, "the new key")
    assert gateway.get("/v1/models", old).status_code == 401
    secret.unlink()
    [worker] = gateway.workers()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: gateway.workers() not in ([], [worker]), "a new worker")
    gateway.ready()
    assert gateway.get("/v1/models", new).status_code == 200
