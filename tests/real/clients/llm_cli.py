"""The `llm` command: streamed (its default), plain, and a model that is not there."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LLM = str(Path(sys.executable).with_name("llm"))
ENTRY = """\
- model_id: {name}
  model_name: {model}
  api_base: {base}
  api_key_name: gateway
  completion: true
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One call of the command with a home of its own."""
    return subprocess.run(
        [LLM, *arguments],
        env=os.environ | {"LLM_USER_PATH": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


with tempfile.TemporaryDirectory() as name:
    home = Path(name)
    base = os.environ["GATEWAY_URL"] + "/v1"
    (home / "extra-openai-models.yaml").write_text(
        ENTRY.format(name="gw", model=os.environ["GATEWAY_MODEL"], base=base)
        + ENTRY.format(name="missing", model="no-such-model", base=base)
    )
    (home / "keys.json").write_text(json.dumps({"gateway": os.environ["GATEWAY_KEY"]}))
    options = ("-o", "max_tokens", "8", "-o", "temperature", "0")
    streamed = run(home, "-m", "gw", "the gate", *options)
    assert streamed.returncode == 0, streamed
    assert streamed.stdout.strip(), streamed
    plain = run(home, "-m", "gw", "--no-stream", "the gate", *options)
    assert plain.returncode == 0, plain
    assert plain.stdout == streamed.stdout, (plain.stdout, streamed.stdout)
    missing = run(home, "-m", "missing", "x")
    assert missing.returncode != 0, missing
    assert "no-such-model" in missing.stderr, missing
print("OK")
