"""Operators' acts: one chain that many processes add to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from app.observability.audit.acts import Acts, NotRecorded
from app.observability.audit.checkpoints import Verifier, checkpoints_in, public_key
from app.observability.audit.verify import verify
from tests.app.observability.audit.writing import KEY


def acts(folder: Path, rotate_bytes: int = 1 << 20) -> Acts:
    return Acts(
        folder / "log", "edge-1", rotate_bytes=rotate_bytes, checkpoints=folder / "signed", key=KEY
    )


def test_an_act_says_who_did_what_and_how_it_was(tmp_path: Path) -> None:
    acts(tmp_path).record("keys.block", {"os_user": "ada"}, "web", before=False, after=True)
    [path] = (tmp_path / "log").glob("*.jsonl")
    record = orjson.loads(path.read_bytes().splitlines()[1])
    assert (record["actor"], record["act"], record["target"]) == (
        {"os_user": "ada"},
        "keys.block",
        "web",
    )
    assert (record["before"], record["after"], record["seq"]) == (False, True, 1)


MANY = """
import sys
from pathlib import Path
from tests.app.observability.audit.test_acts import acts
for n in range(20):
    acts(Path(sys.argv[1]), 2000).record("keys.block", {"os_user": sys.argv[2]}, str(n))
"""


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path), name]) for name in "abc"
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    report = verify(
        [tmp_path / "log"], checkpoints_in(tmp_path / "signed"), Verifier(public_key(KEY))
    )
    assert (report.findings, report.notices) == ([], [])  # whole and covered after each act
    assert report.chains == 1
    assert report.checkpoints == 60
    files = len(list((tmp_path / "log").glob("*.jsonl")))
    assert files > 5  # it rotates
    assert report.records == 60 + files


def test_where_it_cannot_be_written_the_act_must_not_be_done(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way")
    with pytest.raises(NotRecorded, match="cannot be written"):
        acts(tmp_path).record("keys.block", {"os_user": "ada"})


def test_after_half_a_record_a_new_file_goes_on(tmp_path: Path) -> None:
    acts(tmp_path).record("keys.block", {"os_user": "ada"})
    [path] = (tmp_path / "log").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"act":"ke')  # what a loss of power leaves
    acts(tmp_path).record("keys.block", {"os_user": "ada"})
    report = verify([tmp_path / "log"], checkpoints_in(tmp_path / "signed"))
    assert report.findings == []
    assert "half a record" in str(report.notices)
