"""The wheel of this project, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.building import ROOT, built, run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours, built from a copy, because a build leaves its own folders behind."""
    source = tmp_path_factory.mktemp("source") / "headgate"
    files = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).split()
    for name in files:
        if name.partition("/")[0] in ("tests", "bench", "deploy"):
            continue
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    return built(source, tmp_path_factory.mktemp("wheel"))
