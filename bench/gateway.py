"""The gateway under test: its configuration with a step's overlay, and its command."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.processes import HOST
from bench.requests import KEYS, MODEL, UPSTREAM_MODEL

Overlay = Mapping[str, Any]


def configuration(port: int, upstream_port: int) -> dict[str, Any]:
    """One worker, one key, one model on the mock upstream; logs and metering on, as shipped."""
    return {
        "server": {"host": HOST, "port": port, "workers": 1, "shutdown_delay": "0s"},
        "providers": {
            "mock": {
                "kind": "openai",
                "base_url": f"http://{HOST}:{upstream_port}/v1",
                "api_key": "sk-bench",
            }
        },
        "models": {MODEL: {"targets": [{"provider": "mock", "model": UPSTREAM_MODEL}]}},
        "tenants": {"bench": {}},
        "keys": KEYS,
        "log": {"format": "json", "level": "info"},
    }


def merged(base: Overlay, overlay: Overlay) -> dict[str, Any]:
    """`overlay` laid over `base`: maps are joined, everything else is replaced."""
    result = dict(base)
    for name, value in overlay.items():
        below = result.get(name)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[name] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def command(folder: Path, port: int, upstream_port: int, overlay: Overlay) -> list[str]:
    """Writes the configuration and returns the command that serves it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(merged(configuration(port, upstream_port), overlay)))
    return [sys.executable, "-m", "headgate", "serve", "--config", str(file), "--port", str(port)]
