"""vLLM, llama-cpp-python and Headgate, each as one running server on loopback."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.real import environments, places
from tests.real.environments import Environment
from tests.real.processes import running


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, with what key, for what model."""

    name: str
    root: str
    key: str
    model: str
    pid: int = 0

    @property
    def base(self) -> str:
        return f"{self.root}/v1"

    def under(self, model: str) -> "Endpoint":
        """The same server, asked for another model."""
        return Endpoint(self.name, self.root, self.key, model)


@dataclass(frozen=True, slots=True)
class Servers:
    """What a check may ask; the gateway is None while only the direct side is wanted."""

    vllm: Endpoint | None
    llama: Endpoint | None
    gateway: Endpoint | None


def _model_file(environment: Environment, script: str, target: Path) -> Path:
    """Make a model with random weights, once."""
    if not target.exists():
        places.MADE.mkdir(exist_ok=True)
        subprocess.run(
            [environment.tool("python"), str(places.HERE / "models" / script), str(target)],
            env=places.quiet_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
            check=True,
        )
    return target


def tiny_hf() -> Path:
    """The folder with the model and the tokenizer that vLLM and the harness read."""
    environments.VLLM.ensure()
    return _model_file(environments.VLLM, "tiny_hf.py", places.MADE / "tiny-hf")


@contextmanager
def vllm(*more: str, log: str = "vllm.log") -> Iterator[Endpoint]:
    """vLLM on the CPU, without anything that makes a second answer differ from the first.

    ``more`` are further options: one server either writes or makes vectors.
    """
    folder = tiny_hf()
    port = places.free_port()
    command = [
        environments.VLLM.tool("vllm"), "serve", str(folder), "--served-model-name", places.MODEL,
        "--host", places.HOST, "--port", str(port), "--api-key", places.VLLM_KEY,
        "--max-model-len", str(places.CONTEXT), "--enforce-eager", "--dtype", "float32",
        "--max-num-seqs", "32", "--no-enable-prefix-caching", *more,
    ]  # fmt: skip
    root = f"http://{places.HOST}:{port}"
    environment = places.quiet_environment(
        VLLM_CPU_KVCACHE_SPACE="1",
        VLLM_CPU_OMP_THREADS_BIND="nobind",
        OMP_NUM_THREADS="1",  # threads that spin would leave nothing for those who wait for it
        VLLM_MAX_STOP_STRINGS="16",  # its own limit is 4; editors send 14
    )
    with running(
        command,
        ready=f"{root}/health",
        log=places.LOGS / log,
        environment=environment,
        folder=places.MADE,
    ):
        yield Endpoint("vllm", root, places.VLLM_KEY, places.MODEL)


@contextmanager
def llama(port: int | None = None, log: str = "llama.log", *more: str) -> Iterator[Endpoint]:
    """llama-cpp-python's server over llama.cpp, with ``more`` options."""
    environments.LLAMA.ensure()
    file = _model_file(environments.LLAMA, "tiny_gguf.py", places.MADE / "tiny.gguf")
    port = port or places.free_port()
    command = [
        environments.LLAMA.tool("python"), "-m", "llama_cpp.server", "--model", str(file),
        "--model_alias", places.MODEL, "--host", places.HOST, "--port", str(port),
        "--api_key", places.LLAMA_KEY, "--n_ctx", str(places.CONTEXT), "--logits_all", "True",
        *more,
    ]  # fmt: skip
    root = f"http://{places.HOST}:{port}"
    with running(
        command,
        ready=f"{root}/openapi.json",
        log=places.LOGS / log,
        environment=places.quiet_environment(),
        folder=places.MADE,
    ) as pid:
        yield Endpoint("llama", root, places.LLAMA_KEY, places.MODEL, pid)


@contextmanager
def gateway(
    vllm: Endpoint | None, llama: Endpoint | None, name: str = "gateway"
) -> Iterator[Endpoint]:
    """Headgate itself, as its own process, in front of the servers that run."""
    port = places.free_port()
    config = places.MADE / f"{name}.yaml"
    config.write_text(_configuration(port, vllm, llama), encoding="utf-8")
    root = f"http://{places.HOST}:{port}"
    with running(
        [places.PYTHON, "-m", "headgate", "serve", "--config", str(config), "--port", str(port)],
        ready=f"{root}/health/ready",
        log=places.LOGS / f"{name}.log",
        environment=places.quiet_environment(),
        folder=places.ROOT,
    ):
        yield Endpoint("gateway", root, places.GATEWAY_KEY, "tiny-vllm")


def _configuration(port: int, vllm: Endpoint | None, llama: Endpoint | None) -> str:
    """The gateway's file: each server, a wrong key for vLLM, and a server that is not there."""
    nowhere = f"http://{places.HOST}:{places.free_port()}"
    v = vllm.base if vllm else f"{nowhere}/v1"
    s = llama.base if llama else f"{nowhere}/v1"
    return f"""\
server: {{host: {places.HOST}, port: {port}, workers: 1}}
providers:
  vllm: {{kind: openai, base_url: "{v}", api_key: "{places.VLLM_KEY}"}}
  vllm-wrong-key: {{kind: openai, base_url: "{v}", api_key: "sk-wrong"}}
  llama: {{kind: openai, base_url: "{s}", api_key: "{places.LLAMA_KEY}"}}
  nowhere: {{kind: openai, base_url: "{nowhere}/v1", api_key: "sk-nowhere"}}
models:
  tiny-vllm: {{targets: [{{provider: vllm, model: {places.MODEL}}}]}}
  tiny-llama: {{targets: [{{provider: llama, model: {places.MODEL}}}]}}
  fim-vllm: {{targets: [{{provider: vllm, model: {places.MODEL}}}], fim: qwen}}
  fim-llama: {{targets: [{{provider: llama, model: {places.MODEL}}}], fim: qwen}}
  tiny-chat: {{targets: [{{provider: vllm, model: {places.MODEL}}}], completions: chat}}
  wrong-key: {{targets: [{{provider: vllm-wrong-key, model: {places.MODEL}}}]}}
  wrong-name: {{targets: [{{provider: vllm, model: no-such-model}}]}}
  nowhere: {{targets: [{{provider: nowhere, model: {places.MODEL}}}]}}
tenants: {{real: {{}}}}
keys:
  - id: real
    tenant: real
    secret: "{places.GATEWAY_KEY}"
    capabilities: [completions, chat, embeddings]
    models: ["*"]
log: {{format: json, level: info}}
"""
