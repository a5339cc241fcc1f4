"""lm-evaluation-harness: the same tasks scored directly and through the gateway."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.real import answers, environments, places
from tests.real.processes import finish
from tests.real.report import Finding
from tests.real.servers import Endpoint, tiny_hf

TASKS = ("tiny_choice", "tiny_write", "tiny_read")
CHAT_TASKS = ("tiny_write",)  # a conversation has no log-likelihoods
SECONDS = 300


def compare(server: Endpoint, gateway: Endpoint | None, *, chat: bool = False) -> Finding:
    """Every number of both runs, the samples' too, must be equal; with ``chat``, those of
    ``local-chat-completions``."""
    environments.HARNESS.ensure()
    direct = _score(server, "direct", chat=chat)
    if gateway is None:
        return Finding(True, _summary(direct))
    through = _score(gateway, "gateway", chat=chat)
    found = answers.difference(direct, through)
    return Finding(found is None, found or f"equal: {_summary(direct)}")


def _score(endpoint: Endpoint, label: str, *, chat: bool) -> dict[str, Any]:
    tasks = CHAT_TASKS if chat else TASKS
    data = places.MADE / "tasks"
    shutil.copytree(places.HERE / "tasks", data, dirs_exist_ok=True)
    out = places.MADE / f"harness-{label}"
    shutil.rmtree(out, ignore_errors=True)
    arguments = {
        "model": endpoint.model,
        "base_url": f"{endpoint.base}/{'chat/' if chat else ''}completions",
        "tokenizer_backend": "huggingface",
        "tokenizer": str(tiny_hf()),
        "num_concurrent": "4",
        "max_length": "512",
        "max_retries": "1",
    }
    command = [
        environments.HARNESS.tool("lm_eval"),
        "--model", "local-chat-completions" if chat else "local-completions",
        "--model_args", ",".join(f"{name}={value}" for name, value in arguments.items()),
        "--batch_size", "1" if chat else "8", "--tasks", ",".join(tasks),
        "--include_path", str(data), "--output_path", str(out), "--log_samples",
        *(["--apply_chat_template"] if chat else []),
    ]  # fmt: skip
    done = finish(
        command,
        folder=data,
        environment=places.quiet_environment(
            OPENAI_API_KEY=endpoint.key, HF_DATASETS_CACHE=str(places.MADE / "datasets")
        ),
        seconds=SECONDS,
    )
    (places.LOGS / f"harness-{label}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"lm_eval ended with {done.returncode}: {done.stderr[-1200:]}")
    return _read(out, tasks)


def _read(out: Path, tasks: Sequence[str]) -> dict[str, Any]:
    """The scores, and of every sample what the model answered."""
    (results,) = out.rglob("results_*.json")
    samples = {}
    for task in tasks:
        (file,) = out.rglob(f"samples_{task}_*.jsonl")
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        samples[task] = sorted(
            ([line["doc_id"], line["resps"], line["filtered_resps"]] for line in lines),
            key=lambda sample: int(sample[0]),
        )
    scores = json.loads(results.read_text(encoding="utf-8"))["results"]
    return {"scores": {task: scores[task] for task in tasks}, "samples": samples}


def _summary(run: dict[str, Any]) -> str:
    parts = []
    for task, scores in run["scores"].items():
        numbers = {
            name.split(",")[0]: value
            for name, value in scores.items()
            if isinstance(value, float) and "stderr" not in name
        }
        parts.append(
            f"{task} " + " ".join(f"{name}={value:.6g}" for name, value in numbers.items())
        )
    return "; ".join(parts)
