"""How much room in Redis a key, a request and a cached answer take: ``make bench-store``.

A real gateway on a real Redis, and the growth of `used_memory` over each kind of request. The
figures of docs/redis.md come from here.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import redis
import yaml

from bench.processes import HOST, Cores, free_port, ready, running, stop_on_signals
from bench.redis_store import store

PRICE = {"input_per_million": 1, "output_per_million": 1}
KEYS = 500
ENTRIES = 2_000
ANSWER_TOKENS = 200
CALLERS = 16
QUIET_SECONDS = 1.5  # without growth: records and usage are written in batches
LONGEST_WAIT = 30.0


def configuration(url: str, port: int) -> dict[str, Any]:
    """Every key with limits and a budget of its own; one model with a cache, one without."""
    target = {"provider": "trial", "model": "simulator-1"}
    limits = {"requests_per_minute": 1e6, "tokens_per_minute": 1e9, "concurrent": 1000}
    keys = [
        {"id": f"key-{at}", "tenant": "acme", "secret": secret(at), "limits": "all", "budget": "b"}
        for at in range(KEYS)
    ]
    return {
        "server": {"host": HOST, "port": port, "shutdown_delay": "0s"},
        "store": {"url": url},
        "providers": {"trial": {"kind": "simulator"}},
        "models": {
            "plain": {"targets": [target], "price": PRICE},
            "cached": {"targets": [target], "price": PRICE, "cache": {}},
        },
        "limits": {"all": {name: int(value) for name, value in limits.items()}},
        "budgets": {"b": {"usd": 1000, "per": "month"}},
        "tenants": {"acme": {}},
        "keys": keys,
    }


def secret(at: int) -> str:
    return f"hg-bench-key-{at:04}-0123456789abcdef"


class Caller:
    """Asks the gateway, and Redis how much it holds."""

    def __init__(self, url: str, port: int) -> None:
        self._redis = redis.Redis.from_url(url)
        self._client = httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False, timeout=30)

    def ask(self, key: int, model: str, prompt: str, tokens: int) -> int:
        """One request; the bytes of its answer's text."""
        body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0}
        headers = {"authorization": f"Bearer {secret(key)}"}
        answer = self._client.post("/v1/completions", json=body, headers=headers)
        answer.raise_for_status()
        return len(answer.json()["choices"][0]["text"])

    def grown(self, requests: Iterable[tuple[int, str, str, int]]) -> tuple[int, int, int]:
        """Bytes that Redis grew by, the number of requests, and the bytes of their answers."""
        before = self._settled()
        with ThreadPoolExecutor(CALLERS) as pool:
            sizes = list(pool.map(lambda one: self.ask(*one), requests))
        return self._settled() - before, len(sizes), sum(sizes)

    def _settled(self) -> int:
        """`used_memory` once it has stopped growing."""
        end, last, since = time.monotonic() + LONGEST_WAIT, -1, time.monotonic()
        while time.monotonic() < end and time.monotonic() - since < QUIET_SECONDS:
            now = int(self._redis.info("memory")["used_memory"]) >> 12
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.1)
        return last << 12


def measure(caller: Caller) -> None:
    caller.grown([(0, "plain", "warm", 1), (0, "cached", "warm", 1)])
    grown, count, _ = caller.grown((at, "plain", f"first {at}", 1) for at in range(1, KEYS))
    print(f"a key with limits and a budget, and its usage of one hour: {grown / count:,.0f} bytes")
    grown, count, _ = caller.grown((1, "plain", f"again {at}", 1) for at in range(ENTRIES))
    print(f"a further request of a known key (its record): {grown / count:,.0f} bytes")
    grown, count, text = caller.grown(
        (1, "cached", f"{'word ' * 100}{at}", ANSWER_TOKENS) for at in range(ENTRIES)
    )
    print(
        f"a cached answer of {text / count:,.0f} bytes of text: {grown / count:,.0f} bytes, "
        "its record among them"
    )


def main() -> None:
    stop_on_signals()
    cores = Cores.pick()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with store(folder, cores.load) as url:
            port = free_port()
            file = folder / "gateway.yaml"
            file.write_text(yaml.safe_dump(configuration(url, port)))
            argv = [sys.executable, "-m", "headgate", "serve", "--config", str(file)]
            with running("gateway", argv, port=port, core=cores.test, folder=folder) as child:
                ready(child, "/health/ready")
                measure(Caller(url, port))


if __name__ == "__main__":
    main()
