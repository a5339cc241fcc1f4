"""What stands in the audit log of a running gateway, and who reads it."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.audit.logs import TEXT_KEY, Log, is_recorded
from tests.harness.command import command
from tests.harness.credentials import KEYS
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually

PROMPT = "Mail ada@example.org that the parcel is here"


def settings(log: Log, store: str, keys: tuple[str, ...] = ("all", "expired")) -> dict[str, Any]:
    expired = {"expired": {"expires": "2020-01-01"}}
    return {
        "store": {"url": store, "timeout": "1s"},
        "server": {"shutdown_delay": "0s", "workers": 2},
        "log": {"format": "json"},
        "providers": {"sim": {"kind": "simulator"}},
        "models": {"native": {"targets": [{"provider": "sim", "model": "m"}], "cache": {}}},
        "tenants": {"acme": {}},
        "guardrails": {"pii": {"kind": "pii", "mode": "redact", "phases": ["input"]}},
        "audit": log.settings(stream=True, content=str(log.folder / "content")),
        "keys": [
            {"id": name, "tenant": "acme", "secret": KEYS[name]} | expired.get(name, {})
            for name in keys
        ],
    }


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def audited(log: Log, server: RedisServer) -> Iterator[Gateway]:
    with Gateway(settings(log, server.url)) as gateway:
        yield gateway


def recorded(log: Log, request_id: str | None) -> dict[str, Any]:
    assert request_id is not None
    eventually(is_recorded(log, request_id))
    [record] = log.records(request_id=request_id, kind="request")
    return record


def test_a_request_has_one_record_without_its_texts(audited: Gateway, log: Log) -> None:
    body = json.dumps({"model": "native", "prompt": PROMPT, "max_tokens": 7}).encode()
    reply = audited.send(body)
    record = recorded(log, reply.headers["x-request-id"])
    wanted = {
        "key": "all",
        "tenant": "acme",
        "operation": "completions",
        "alias": "native",
        "provider": "sim",
        "status": 200,
        "cache": "miss",
        "guardrails": ["pii.email=redact"],
        "address": "127.0.0.1",
        "generation": reply.headers["x-headgate-config"],
    }
    assert record == record | wanted
    assert record["completion_tokens"] > 0
    key = hmac.digest(bytes.fromhex(TEXT_KEY), b"headgate audit texts of acme", "sha256")
    assert record["body_hmac"] == hmac.digest(key, body, "sha256").hex()
    assert record["answer_hmac"] == hmac.digest(key, reply.body, "sha256").hex()
    assert "parcel" not in json.dumps(log.records())


def test_texts_are_kept_apart_and_as_guardrails_left_them(audited: Gateway, log: Log) -> None:
    reply = audited.complete(prompt=PROMPT)
    recorded(log, reply.headers["x-request-id"])

    def kept() -> list[dict[str, Any]]:
        files = (log.folder / "content").glob("*.content.jsonl")
        lines = [line for file in files for line in file.read_text().splitlines()]
        return [
            one
            for one in map(json.loads, lines)
            if one["request_id"] == reply.headers["x-request-id"]
        ]

    eventually(lambda: len(kept()), 1)
    assert "parcel" in kept()[0]["prompt"]
    assert "ada@example.org" not in kept()[0]["prompt"]
    assert kept()[0]["completion"] == reply.body.decode()


def test_refusals_and_streams_are_recorded_too(audited: Gateway, log: Log) -> None:
    refused = audited.complete(model="nothing")
    assert recorded(log, refused.headers["x-request-id"])["error"] == "model_not_found"
    stranger = audited.complete(key="hg-nobody-00000000000000000000")
    assert recorded(log, stranger.headers["x-request-id"])["error"] == "invalid_api_key"
    with audited.stream() as payloads:
        assert list(payloads)[-1] == b"[DONE]"
    eventually(lambda: bool(log.records(kind="request", status=200, cache="miss")))


def test_a_key_that_is_used_after_its_end_is_an_act_of_its_own(audited: Gateway, log: Log) -> None:
    assert audited.complete(key=KEYS["expired"]).status == 401
    eventually(lambda: len(log.records(act="key.used_after_expiry", target="expired")) > 0)


def test_a_reload_is_recorded_and_a_removed_key_is_known(
    audited: Gateway, log: Log, server: RedisServer
) -> None:
    audited.write(settings(log, server.url, ("all", "expired", "team")))
    audited.signal(signal.SIGHUP)
    eventually(lambda: audited.complete(key=KEYS["team"]).status, 200)
    audited.write(settings(log, server.url))
    audited.signal(signal.SIGHUP)
    eventually(lambda: audited.complete(key=KEYS["team"]).status, 401)
    eventually(lambda: len(log.records(act="key.used_after_removal", target="team")) > 0)
    generation = log.records(act="reload")[-1]["after"]
    audited.write({"nonsense": True})
    audited.signal(signal.SIGHUP)
    eventually(lambda: len(log.records(act="reload_refused", before=generation)), 1)
    audited.write(settings(log, server.url))
    first, second = log.records(act="reload")
    assert first["keys_added"] == ["team"]
    assert (second["keys_removed"], second["sections"]) == (["team"], ["keys"])
    assert first["after"] == second["before"]


def test_a_purge_is_recorded_and_so_is_who_reads_the_log(audited: Gateway, log: Log) -> None:
    file = str(audited.file)
    assert command("cache", "purge", "--config", file, "--tenant", "acme").returncode == 0
    [purge] = log.records(act="cache.purge")
    assert purge["tenant"] == "acme"
    assert purge["actor"]["os_user"]
    shown = command("audit", "show", "--config", file, "--kind", "act")
    acts = [json.loads(line)["act"] for line in shown.stdout.splitlines()]
    assert acts[0] == "start"
    assert acts[-2:] == ["cache.purge", "audit.show"]


def test_counts_and_the_stream_say_the_same(
    audited: Gateway, log: Log, server: RedisServer
) -> None:
    reply = audited.complete()
    recorded(log, reply.headers["x-request-id"])
    eventually(lambda: reply.headers["x-request-id"] in server.cli("XRANGE", "hg1:audit", "-", "+"))
    counted = b'headgate_audit_records_total{kind="request"}'
    eventually(lambda: counted in audited.get("/metrics/shared", None).body)


def test_the_command_verifies_it_and_finds_what_was_edited(audited: Gateway, log: Log) -> None:
    reply = audited.complete()
    recorded(log, reply.headers["x-request-id"])
    file = str(audited.file)
    fine = command("audit", "verify", "--config", file)
    assert fine.returncode == 0, fine.stdout
    assert "nothing was changed" in fine.stdout
    assert "still being written" in fine.stdout
    path = next(p for p in sorted(log.log.glob("*.w*.jsonl")) if b'"status":200' in p.read_bytes())
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"status":200', b'"status":201', 1))
    try:
        found = command("audit", "verify", "--config", file)
        assert found.returncode == 1
        assert f"CHANGED: {path.name}:" in found.stdout
    finally:
        path.write_bytes(whole)


def test_a_text_is_found_by_its_hash(audited: Gateway, log: Log, tmp_path: Any) -> None:
    body = b'{"model": "native", "prompt": "one of a kind"}'
    record = recorded(log, audited.send(body).headers["x-request-id"])
    (tmp_path / "body").write_bytes(body)
    file = str(audited.file)
    done = command("audit", "hash", "--config", file, "--tenant", "acme", str(tmp_path / "body"))
    assert done.stdout.strip() == record["body_hmac"]


def test_the_hash_of_a_tenant_says_nothing_of_another() -> None:
    from app.observability.audit.records import TextHashes

    hashes = TextHashes(bytes(32))
    assert hashes.of("acme", b"yes") != hashes.of("globex", b"yes")
    assert hashes.of("acme", b"yes") != hashlib.sha256(b"yes").hexdigest()
