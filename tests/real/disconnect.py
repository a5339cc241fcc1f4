"""A client that goes away: vLLM must stop generating for it."""

import time

import httpx

from tests.real.report import Finding
from tests.real.servers import Endpoint

LONG = {
    "prompt": "the gate",
    "max_tokens": 3500,
    "min_tokens": 3500,
    "temperature": 0,
    "ignore_eos": True,
}
METRIC = "vllm:num_requests_running"
LIMIT_SECONDS = 5.0


def streamed(server: Endpoint, gateway: Endpoint) -> Finding:
    """Close in the middle of a stream."""
    body = {"model": gateway.model, "stream": True, **LONG}
    headers = {"authorization": f"Bearer {gateway.key}"}
    with httpx.Client(timeout=60, trust_env=False) as client:
        with client.stream(
            "POST", f"{gateway.base}/completions", json=body, headers=headers
        ) as answer:
            if answer.status_code != 200:
                return Finding(False, f"{answer.status_code}: {answer.read()[:200]!r}")
            chunks = answer.iter_bytes()
            for _ in range(5):
                next(chunks)
            if running(server) != 1:
                return Finding(False, f"{running(server)} requests run before the close")
    return _falls_to_zero(server)


def plain(server: Endpoint, gateway: Endpoint) -> Finding:
    """Close before the first byte of a plain answer."""
    body = {"model": gateway.model, **LONG}
    headers = {"authorization": f"Bearer {gateway.key}"}
    with httpx.Client(timeout=httpx.Timeout(60, read=1.5), trust_env=False) as client:
        try:
            answer = client.post(f"{gateway.base}/completions", json=body, headers=headers)
        except httpx.ReadTimeout:
            pass
        else:
            return Finding(False, f"answered {answer.status_code} before the client left")
    return _falls_to_zero(server)


def running(server: Endpoint) -> int:
    """How many requests vLLM generates for now."""
    text = httpx.get(f"{server.root}/metrics", timeout=10, trust_env=False).text
    values = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(METRIC)]
    return sum(int(float(value)) for value in values)


def _falls_to_zero(server: Endpoint) -> Finding:
    start = time.monotonic()
    while (waited := time.monotonic() - start) < LIMIT_SECONDS:
        if running(server) == 0:
            return Finding(True, f"no request runs {waited:.1f} s after the close")
        time.sleep(0.05)
    return Finding(False, f"{running(server)} still run {LIMIT_SECONDS:.0f} s after the close")
