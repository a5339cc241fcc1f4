"""Requests on their way into the log: queued, counted where there is no room, never waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.observability.audit.records import Finished, TextHashes, fingerprint, request_record
from app.observability.audit.requests import MAX_TEXT_BYTES, RequestAudit
from app.observability.audit.trail import Places, Trail
from app.observability.audit.verify import verify
from tests.app.observability.audit.writing import WRITER

FACTS = {"request_id": "r", "key": "web", "tenant": "acme", "total_ms": 1.25, "cache": None}


class Disk(Trail):
    """A trail whose disk can be full."""

    full = False

    def write(self, records: Sequence[Any]) -> list[bytes]:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(records)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(WRITER, Places(tmp_path))


def finished(**more: Any) -> Finished:
    return Finished(1_700_000_000.5, FACTS | {"request_id": "r"}, "g", "192.0.2.7", **more)


def records(folder: Path) -> list[dict[str, Any]]:
    return [
        orjson.loads(line)
        for path in folder.iterdir()
        for line in path.read_bytes().split(b"\n")[:-1]
    ]


def tried(work: Callable[[], None]) -> None:
    with pytest.raises(OSError, match="No space"):
        work()


def test_a_record_holds_whole_numbers_and_nothing_that_is_not_there(tmp_path: Path) -> None:
    record = request_record(finished(), None)
    assert record == {
        "kind": "request",
        "time": "2023-11-14T22:13:20.500000Z",
        "generation": "g",
        "address": "192.0.2.7",
        "request_id": "r",
        "key": "web",
        "tenant": "acme",
        "total_us": 1250,
    }


def test_texts_are_only_there_as_keyed_hashes() -> None:
    one = finished(sent=b"secret prompt", answer=("secret", " answer"))
    record = request_record(one, TextHashes(bytes(32)))
    assert {"body_hmac", "answer_hmac"} <= record.keys()
    assert "secret" not in str(record)
    assert "hmac" not in str(request_record(one, None))


def test_what_does_not_fit_is_counted_where_it_is_missing(tmp_path: Path, disk: Disk) -> None:
    audit = RequestAudit(disk, bound=10)
    audit.turn()
    disk.full = True
    for _ in range(25):
        audit.add(finished())
    tried(audit.turn)
    assert audit.full
    disk.full = False
    audit.turn()
    assert not audit.full
    kinds = [record["kind"] for record in records(tmp_path)]
    assert kinds == ["chain", "gap", *["request"] * 10]
    assert records(tmp_path)[1]["lost"] == 15


def test_who_refuses_loses_nothing_of_what_ran(tmp_path: Path, disk: Disk) -> None:
    audit = RequestAudit(disk, bound=10, refuses=True)
    disk.full = True
    for _ in range(10):
        audit.add(finished())
    assert audit.full  # from here on requests are refused; these were running
    for _ in range(9):
        audit.add(finished())
    audit.refused()
    tried(audit.turn)
    disk.full = False
    audit.turn()
    [gap] = [record for record in records(tmp_path) if record["kind"] == "gap"]
    assert (gap["lost"], gap["refused"]) == (0, 1)
    assert sum(record["kind"] == "request" for record in records(tmp_path)) == 19


def test_texts_that_wait_are_bounded(disk: Disk) -> None:
    audit = RequestAudit(disk, bound=10_000, hashes=TextHashes(bytes(32)))
    text = bytes(MAX_TEXT_BYTES // 4)
    for _ in range(6):
        audit.add(finished(sent=text))
    assert [one.sent is not None for one in audit._queue] == [True] * 4 + [False] * 2
    audit.turn()
    audit.add(finished(sent=text))
    assert audit._queue[0].sent is not None


def test_a_flood_without_keys_is_one_record(tmp_path: Path, disk: Disk) -> None:
    audit = RequestAudit(disk, bound=10)
    audit.start()
    for _ in range(1000):
        audit.unlogged()
    audit.stop()
    [flood] = [record for record in records(tmp_path) if record["kind"] == "bad_keys"]
    assert flood["count"] == 1000


def test_what_waits_is_written_before_the_end(tmp_path: Path, disk: Disk) -> None:
    audit = RequestAudit(disk, bound=1000)
    audit.start()
    for _ in range(500):
        audit.add(finished())
    audit.stop()
    found = records(tmp_path)
    assert [record["kind"] for record in found].count("request") == 500
    assert found[-1]["event"] == "end"
    assert verify([tmp_path]).findings == []


def test_a_secret_is_told_from_another_and_not_shown() -> None:
    assert fingerprint("hg-web-1") != fingerprint("hg-web-2")
    assert "hg-web" not in fingerprint("hg-web-1")
