"""Where this suite keeps what it makes, and the keys it makes up."""

import os
import socket
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MADE = ROOT / ".real"
ENVIRONMENTS = Path(os.environ.get("HEADGATE_REAL_ENVS", MADE))
LOGS = MADE / "logs"

PYTHON = sys.executable
HOST = "127.0.0.1"
GATEWAY_KEY = "hg-real-0123456789abcdef0123456789abcdef"
VLLM_KEY = "sk-vllm"
LLAMA_KEY = "sk-llama"
MODEL = "tiny"
CONTEXT = 4096


def make_folders() -> None:
    """The folder for everything made here, which git is told to leave alone."""
    LOGS.mkdir(parents=True, exist_ok=True)
    (MADE / ".gitignore").write_text("*\n", encoding="utf-8")


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def quiet_environment(**more: str) -> dict[str, str]:
    """The caller's environment, without anything that makes a library call home."""
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HOME": str(MADE / "hub"),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": HOST,
        "no_proxy": HOST,
        **more,
    }
