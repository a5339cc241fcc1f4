"""`vllm bench serve` (always streamed, usage asked for): every request answered; then a refusal."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

VLLM = str(Path(sys.executable).with_name("vllm"))
REQUESTS = 16


def bench(model: str, result: Path) -> tuple[int, int]:
    """How many requests were answered, and with how many tokens in all."""
    command = [
        VLLM, "bench", "serve", "--backend", "openai", "--base-url", os.environ["GATEWAY_URL"],
        "--model", model, "--tokenizer", os.environ["GATEWAY_TOKENIZER"],
        "--dataset-name", "random", "--random-input-len", "24", "--random-output-len", "12",
        "--num-prompts", str(REQUESTS), "--max-concurrency", "4", "--seed", "1",
        "--ready-check-timeout-sec", "0", "--disable-tqdm",
        "--save-result", "--result-dir", str(result.parent), "--result-filename", result.name,
    ]  # fmt: skip
    done = subprocess.run(
        command,
        env=os.environ | {"OPENAI_API_KEY": os.environ["GATEWAY_KEY"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if not result.exists():
        raise AssertionError(done.stdout[-1500:] + done.stderr[-1500:])
    read = json.loads(result.read_text())
    return int(read["completed"]), int(read["total_output_tokens"])


with tempfile.TemporaryDirectory() as folder:
    answered, tokens = bench(os.environ["GATEWAY_MODEL"], Path(folder) / "plain.json")
    assert answered == REQUESTS, answered
    assert tokens == REQUESTS * 12, tokens
    refused, _ = bench("no-such-model", Path(folder) / "missing.json")
    assert refused == 0, refused
print("OK")
