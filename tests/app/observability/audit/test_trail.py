"""Where a chain goes: new files, and a spool while the disk takes nothing."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from app.observability.audit.chain import Writer
from app.observability.audit.trail import Places, Trail
from app.observability.audit.verify import verify
from tests.app.observability.audit.writing import WRITER, records


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_files_are_private_and_a_new_one_goes_on_where_the_last_ended(tmp_path: Path) -> None:
    trail = Trail(WRITER, Places(tmp_path / "log", rotate_bytes=200))
    for _ in range(3):
        trail.write(records(1))
    trail.end()
    found = sorted((tmp_path / "log").iterdir())
    assert len(found) == 4
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    assert verify([tmp_path / "log"]).findings == []


def test_a_file_gets_old_too(tmp_path: Path) -> None:
    trail = Trail(WRITER, Places(tmp_path, rotate_after=0.0))
    for _ in range(3):
        trail.write(records(1))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_takes_nothing_is_left_for_the_spool_and_come_back_to(tmp_path: Path) -> None:
    log, spool, clock = tmp_path / "log", tmp_path / "spool", Clock()
    trail = Trail(WRITER, Places(log, spool=spool, rotate_bytes=1), clock)
    trail.write(records(1))
    log.rename(tmp_path / "away")  # as a volume that is gone
    for _ in range(3):
        trail.write(records(1))
        clock.now += 10
    assert trail.spooling
    (tmp_path / "away").rename(log)
    trail.write(records(1))
    assert not trail.spooling
    trail.end()
    assert len(list(spool.iterdir())) == 3
    report = verify([log, spool])
    assert (report.findings, report.records) == ([], 5 + 6 + 1)


def test_a_full_spool_takes_no_more(tmp_path: Path) -> None:
    log, spool = tmp_path / "log", tmp_path / "spool"
    trail = Trail(WRITER, Places(log, spool=spool, spool_bytes=2000, rotate_bytes=1))
    log.rmdir()
    with pytest.raises(OSError, match="spool is full"):
        for _ in range(50):
            trail.write(records(1))
    assert sum(path.stat().st_size for path in spool.iterdir()) <= 2000


FULL = """
import resource, sys
from pathlib import Path
from app.observability.audit.trail import Places, Trail
from tests.app.observability.audit.writing import WRITER, records

trail = Trail(WRITER, Places(Path(sys.argv[1])))
trail.write(records(5))
size = next(Path(sys.argv[1]).iterdir()).stat().st_size
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
try:
    trail.write(records(5, 5))
except OSError as error:
    print(error.strerror)
assert next(Path(sys.argv[1]).iterdir()).stat().st_size == size
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
trail.write(records(5, 5))
trail.end()
"""


def test_a_disk_that_takes_half_a_record_is_left_with_none_of_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "large" in done.stdout  # EFBIG, where a disk says ENOSPC; both after a part was taken
    report = verify([tmp_path])
    assert (report.findings, report.records) == ([], 12)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_two_writers_never_share_a_file(tmp_path: Path) -> None:
    Trail(Writer("a", "b", "c"), Places(tmp_path)).write(records(1))
    with pytest.raises(FileExistsError):
        Trail(Writer("a", "b", "c"), Places(tmp_path)).write(records(1))
