"""The audit log when things go wrong: a killed worker, a full disk, a log that cannot be written."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.audit.logs import Log, is_recorded, workers_of
from tests.harness.command import command
from tests.harness.credentials import KEYS
from tests.harness.gateway import Gateway
from tests.harness.waiting import eventually


def settings(log: Log, **audit: Any) -> dict[str, Any]:
    return {
        "server": {"shutdown_delay": "0s"},
        "log": {"format": "json"},
        "providers": {"sim": {"kind": "simulator"}},
        "models": {"native": {"targets": [{"provider": "sim", "model": "m"}]}},
        "tenants": {"acme": {}},
        "audit": log.settings(**audit),
        "keys": [{"id": "all", "tenant": "acme", "secret": KEYS["all"]}],
    }


@contextmanager
def full_disk(pid: int, log: Log) -> Iterator[None]:
    """Let a worker's files grow no more, as on a disk that is full."""
    largest = max(path.stat().st_size for path in log.log.glob(f"*.w{pid}.*.jsonl"))
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest + 10, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_killed_worker_loses_at_most_a_second_and_it_shows(tmp_path: Path) -> None:
    log = Log(tmp_path)
    answered: dict[str, float] = {}
    with Gateway(settings(log)) as gateway:
        [worker] = workers_of(gateway)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            request_id = gateway.complete().headers["x-request-id"]
            assert request_id is not None
            answered[request_id] = time.monotonic()
        killed = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: [pid for pid in workers_of(gateway) if pid != worker] != [])
        eventually(lambda: len(log.records(act="audit.broken_off")), 1)
        eventually(lambda: _status(gateway), 200)
    assert len(log.records(act="stop")) == 1  # the main process ended by itself
    [broken] = log.records(act="audit.broken_off")
    recorded = {record.get("request_id") for record in log.records(kind="request")}
    old = {one for one, moment in answered.items() if moment < killed - 1}
    assert old
    assert old <= recorded
    report = log.verify()
    assert report.findings == []
    assert [notice for notice in report.notices if f".w{worker}." in notice.place]
    # Who cuts the broken end shorter now contradicts the act.
    path = next(log.log.glob(f"{broken['target']}.*.jsonl"))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert log.verify().findings


def _status(gateway: Gateway) -> int:
    try:
        return gateway.complete().status
    except httpx.TransportError:
        return 0


def test_while_the_disk_is_full_requests_wait_and_then_are_counted(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with Gateway(settings(log, queue=256)) as gateway:
        eventually(is_recorded(log, gateway.complete().headers["x-request-id"]))
        [worker] = workers_of(gateway)
        with full_disk(worker, log):
            for _ in range(300):
                assert gateway.complete().status == 200
        eventually(lambda: len(log.records(kind="gap")), 1)
        eventually(
            lambda: b"headgate_audit_gaps_total 1" in gateway.get("/metrics/shared", None).body
        )
    [gap] = log.records(kind="gap")
    assert (gap["lost"], gap["refused"]) == (300 - 256, 0)
    assert len(log.records(kind="request", status=200)) == 257
    report = log.verify()
    assert report.findings == []
    assert "44 requests have no record" in str(report.notices)


def test_who_prefers_it_refuses_what_cannot_be_recorded(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with Gateway(settings(log, queue=256, on_full="refuse")) as gateway:
        eventually(is_recorded(log, gateway.complete().headers["x-request-id"]))
        [worker] = workers_of(gateway)
        with full_disk(worker, log):
            replies = [gateway.complete() for _ in range(270)]
            assert [reply.status for reply in replies] == [200] * 256 + [503] * 14
            assert replies[-1].document["error"]["code"] == "audit_unavailable"
            assert gateway.get("/health/live", None).status == 200
        eventually(lambda: gateway.complete().status, 200)
        eventually(lambda: bool(log.records(kind="gap")))
    gaps = log.records(kind="gap")
    assert sum(gap["lost"] for gap in gaps) == 0
    assert sum(gap["refused"] for gap in gaps) >= 14
    answered = {reply.headers["x-request-id"] for reply in replies if reply.status == 200}
    assert answered <= {one.get("request_id") for one in log.records(kind="request")}


def test_a_log_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way")
    log = Log(tmp_path)
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(settings(log) | {"server": {"port": 0}}))
    done = command("serve", "--config", str(file))
    assert done.returncode == 1
    assert "the audit log" in done.stderr
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize("wrong", [{"signing_key": "abc"}, {"spool": "SAME"}, {"queue": 1}])
def test_wrong_settings_are_said(tmp_path: Path, wrong: dict[str, Any]) -> None:
    log = Log(tmp_path)
    if wrong.get("spool"):
        wrong = {"spool": str(log.log)}
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps(settings(log, **wrong)))
    done = command("check", str(file))
    assert done.returncode == 1
    assert f"audit.{next(iter(wrong))}" in done.stderr
