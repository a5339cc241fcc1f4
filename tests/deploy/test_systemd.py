"""deploy/systemd/headgate.service: as systemd reads it, and as its commands run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.deploy.durations import settings_of, stopping

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "systemd" / "headgate.service"
FILE = "kubernetes/gateway.yaml"
GIVEN = {"HEADGATE_STORE": "redis://redis:6379", "HEADGATE_KEY_SHA256": "a1" * 32}
INSTALLED = "/opt/headgate/bin/headgate"
LARGEST_EXPOSURE = 20  # tenths, of systemd-analyze's ten; services of a plain unit have 92 to 96
ANALYZE = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found[name].append(value)
    return found


SETTINGS = settings()


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the command of this environment, because systemd looks whether it is there."""
    file = tmp_path / UNIT.name
    command = str(Path(sys.executable).with_name("headgate"))
    file.write_text(UNIT.read_text().replace(INSTALLED, command))
    return file


@ANALYZE
def test_systemd_reads_it_without_a_complaint(unit: Path) -> None:
    done = subprocess.run(
        ("systemd-analyze", "verify", unit), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@ANALYZE
def test_systemd_sees_a_wrong_word(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("DynamicUser=", "DynamicUsr="))
    done = subprocess.run(
        ("systemd-analyze", "verify", unit), capture_output=True, text=True, check=False
    )
    assert "DynamicUsr" in done.stderr


@ANALYZE
def test_it_may_do_little_by_systemds_own_count(unit: Path) -> None:
    security = ("systemd-analyze", "security", "--offline=true", "--no-pager")
    command = (*security, f"--threshold={LARGEST_EXPOSURE}", unit)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]


def test_it_is_not_killed_while_a_stream_may_still_run() -> None:
    [seconds] = SETTINGS["TimeoutStopSec"]
    # With the grace of the other files of deploy/, in which a stream may take a provider's time.
    assert float(seconds) > stopping(settings_of((UNIT.parents[1] / FILE).read_text(), **GIVEN))


def test_a_reload_and_a_stop_reach_the_main_process_alone() -> None:
    assert SETTINGS["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert SETTINGS["KillMode"] == ["mixed"]


def test_its_commands_are_commands(tmp_path: Path) -> None:
    [check] = SETTINGS["ExecStartPre"]
    [serve] = SETTINGS["ExecStart"]
    for line in (check, serve):
        program, *words = line.split()
        assert program == INSTALLED
        assert words[-1] == "/etc/headgate/gateway.yaml"
        command = (sys.executable, "-m", "headgate", *words[:-1], tmp_path / "none.yaml")
        done = subprocess.run(
            command, cwd=UNIT.parents[2], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "none.yaml" in done.stderr
