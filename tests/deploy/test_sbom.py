"""`make sbom` lists what is in the image: every package of its lock, by version and hash."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.packaging.building import ROOT
from tests.packaging.test_locks import pins_of


def test_the_list_names_every_package_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "headgate.cdx.json"
    command = ("make", "sbom", f"SBOM={file}")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(file.read_text())
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "headgate"
    pins = pins_of("image.lock")
    for tool in ("pip", "setuptools"):  # which the image's last step takes out
        del pins[tool]
    found = {
        part["name"]: (part["version"], frozenset(hashes(part))) for part in document["components"]
    }
    assert found == pins


def hashes(part: dict[str, object]) -> list[str]:
    references = part["externalReferences"]
    assert isinstance(references, list)
    return [f"sha256:{one['content']}" for ref in references for one in ref.get("hashes", ())]
