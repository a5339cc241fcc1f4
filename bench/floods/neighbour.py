"""A neighbour of a flood, a process of its own: `python -m bench.floods.neighbour --port N`.

It opens a connection for each request, as strangers do, asks for a small completion, reads the
answer to its end, and waits a little. Prints how long that took, as JSON.
"""

import argparse
import asyncio
import json
import socket
import sys
import time
from dataclasses import asdict, dataclass

from bench.processes import HOST, ROOT
from bench.requests import KEY, PATH, headers, plain_body

_PAUSE_SECONDS = 0.02
_TIMEOUT_SECONDS = 5.0
_GOOD = b"HTTP/1.1 200"


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of whole requests, from the connecting on; in seconds."""

    asked: int
    failed: int
    p50: float
    p99: float


async def ask_for(port: int, seconds: float, key: str = KEY) -> Latencies:
    """A neighbour's latencies over so many seconds."""
    command = [sys.executable, "-m", "bench.floods.neighbour", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(
        *command, "--seconds", str(seconds), "--key", key, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds + 4 * _TIMEOUT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Latencies(**json.loads(output))


def measure(port: int, seconds: float, key: str) -> Latencies:
    """Asks until the time is up; a request that ends later is counted with all its time."""
    fields = headers(key) | {"host": HOST, "connection": "close"}
    taken: list[float] = []
    failed = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        began = time.monotonic()
        failed += not _is_good(port, _request(fields, plain_body(f"neighbour {began}")))
        taken.append(time.monotonic() - began)
        time.sleep(_PAUSE_SECONDS)
    taken.sort()
    return Latencies(len(taken), failed, _percentile(taken, 0.50), _percentile(taken, 0.99))


def _request(fields: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _is_good(port: int, request: bytes) -> bool:
    answer = b""
    try:
        with socket.create_connection((HOST, port), _TIMEOUT_SECONDS) as caller:
            caller.sendall(request)
            while data := caller.recv(65536):
                answer += data
    except OSError:
        return False
    return answer.startswith(_GOOD)


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.floods.neighbour", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--key", default=KEY)
    args = parser.parse_args()
    print(json.dumps(asdict(measure(args.port, args.seconds, args.key))))


if __name__ == "__main__":
    main()
