"""The README's commands, pasted in order into an empty folder, with nothing set."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.app.cli.test_first_steps import closed_port

ROOT = Path(__file__).parents[3]
PATIENCE = 60


def blocks(language: str) -> list[str]:
    """The blocks of "Use it", in order."""
    section = (ROOT / "README.md").read_text().partition("## Use it")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_the_blocks_of_the_readme_work_in_order(tmp_path: Path) -> None:
    port = closed_port()
    shell = "".join(blocks("sh"))
    assert shell.count("headgate serve &") == 1
    # Another port than the default, because other tests run beside this one.
    shell = shell.replace("headgate serve &", f"headgate serve --port {port} > log 2>&1 &")
    shell = shell.replace("headgate test", f"headgate test --url http://127.0.0.1:{port}")
    [client] = blocks("python")
    (tmp_path / "client.py").write_text(client.replace(":8080/", f":{port}/"))
    script = f"set -e\n{shell}\npython client.py\nkill %1\nwait\n"
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{bin_folder}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "log").read_text()
    assert "gateway.yaml: ok" in done.stdout
    assert "ok    refused" in done.stdout
    assert re.search(r"^\['.+', '.+'\]$", done.stdout, re.MULTILINE)  # the client's two texts
