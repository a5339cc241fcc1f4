"""A gateway that is started at a terminal prints a link that signs in to the dashboard, once."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.admin.operators import OPS, configuration
from tests.harness.gateway import STARTED, free_port
from tests.harness.waiting import PATIENCE, eventually

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["a file", "no file"])
def printed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What a gateway that runs meanwhile has said to a terminal."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", str(free_port())]
    if request.param == "a file":
        file = tmp_path / "gateway.yaml"
        file.write_text(json.dumps(configuration("memory://")))
        command += ["--config", str(file)]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=theirs,
        stdout=subprocess.DEVNULL,
    )
    os.close(theirs)
    try:
        said = ""
        while "Ctrl-C" not in said:
            said += os.read(ours, 4096).decode()
        yield said
    finally:
        process.terminate()
        process.wait(PATIENCE * 2)
        os.close(ours)


def test_the_link_signs_in_once_and_holds_no_key(printed: str) -> None:
    found = re.search(r"(http://127\.0\.0\.1:\d+)/dashboard/#link=([\w-]+)", printed)
    assert found is not None, printed
    assert OPS not in printed
    page, link = found[1], found[2]
    with httpx.Client(base_url=page, headers={"origin": page}, trust_env=False) as client:

        def serves() -> bool:
            try:
                return client.get("/dashboard/session").status_code == 200
            except httpx.TransportError:
                return False

        eventually(serves, within=STARTED)
        given = [link[:-1], link, link]
        answers = [client.post("/dashboard/session", json={"link": one}) for one in given]
    assert [answer.status_code for answer in answers] == [401, 200, 401]
    assert answers[1].json()["scopes"] == ["*"]
