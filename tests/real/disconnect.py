"""A client that goes away: vLLM must stop generating for it, well before it would have ended.

vLLM answers for its metrics between tokens, so a reading can come late; what proves the
cancelling is that it generated only a part of what was asked.
"""

import time
from dataclasses import dataclass

import httpx

from tests.real.report import Finding
from tests.real.servers import Endpoint

CHOICES = 4
EACH = 3500
LONG = {
    "prompt": "the gate",
    "n": CHOICES,
    "max_tokens": EACH,
    "min_tokens": EACH,
    "ignore_eos": True,
}
LIMIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What vLLM says of itself."""

    running: int
    generated: int


def streamed(server: Endpoint, gateway: Endpoint) -> Finding:
    """Close at the first chunk of a stream."""
    before = read(server)
    with (
        httpx.Client(timeout=60, trust_env=False) as client,
        client.stream(
            "POST",
            f"{gateway.base}/completions",
            json={"model": gateway.model, "stream": True, **LONG},
            headers={"authorization": f"Bearer {gateway.key}"},
        ) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            return Finding(False, f"{answer.status_code}: {answer.read()[:200]!r}")
        next(answer.iter_bytes())
    return _cancelled(server, before)


def plain(server: Endpoint, gateway: Endpoint) -> Finding:
    """Close before the first byte of a plain answer."""
    before = read(server)
    with httpx.Client(timeout=httpx.Timeout(60, read=1.5), trust_env=False) as client:
        try:
            answer = client.post(
                f"{gateway.base}/completions",
                json={"model": gateway.model, **LONG},
                headers={"authorization": f"Bearer {gateway.key}"},
            )
        except httpx.ReadTimeout:
            return _cancelled(server, before)
    return Finding(False, f"answered {answer.status_code} before the client left")


def read(server: Endpoint) -> Counts:
    """Both counts now."""
    text = httpx.get(f"{server.root}/metrics/shared", timeout=60, trust_env=False).text

    def total(start: str) -> int:
        lines = [line for line in text.splitlines() if line.startswith(start)]
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)

    return Counts(
        running=total("vllm:num_requests_running"),
        generated=total("vllm:generation_tokens_total"),
    )


def _cancelled(server: Endpoint, before: Counts) -> Finding:
    end = time.monotonic() + LIMIT_SECONDS
    now = read(server)
    while now.running and time.monotonic() < end:
        time.sleep(0.2)
        now = read(server)
    generated = now.generated - before.generated
    said = f"{generated} of {CHOICES * EACH} tokens generated, {now.running} choices still run"
    return Finding(not now.running and generated < CHOICES * EACH // 2, said)
