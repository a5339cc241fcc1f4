"""A real server that goes away: within a stream, for a while, and between two requests."""

import json
import os
import signal
import time
from contextlib import suppress

import httpx

from tests.real import places, promises, servers
from tests.real.report import Finding
from tests.real.servers import Endpoint, Servers
from tests.real.wire import Answer, ask

LONG = {"prompt": "the gate", "max_tokens": 3900, "temperature": 0, "logprobs": 5}
SHORT = {"prompt": "the gate", "max_tokens": 4, "temperature": 0}
UVICORN_KEEPS_SECONDS = 5.0
BACK_WITHIN_SECONDS = 30.0


def survived(_: Servers) -> Finding:
    """Kill a server of our own in the middle of a stream, then start it again on its port."""
    port = places.free_port()
    broken: list[str] = []
    with (
        servers.llama(port, "outage.log") as server,
        servers.gateway(None, server, "outage-gateway") as front,
    ):
        gateway = front.under("tiny-llama")
        broken += _cut(server, gateway)
        down = ask(gateway, SHORT)
        broken += [f"down: {said}" for said in promises.of_an_error(down, 502)]
        with servers.llama(port, "outage.log"):
            broken += _back(gateway)
    return Finding(not broken, "; ".join(broken) or "an error event, then 502, then 200 again")


def idle(gateway: Endpoint) -> Finding:
    """Ask again when the server has closed, or is just closing, the connection kept for it."""
    for pause in (UVICORN_KEEPS_SECONDS - 0.01, UVICORN_KEEPS_SECONDS, UVICORN_KEEPS_SECONDS + 0.3):
        ask(gateway, SHORT)
        time.sleep(pause)
        again = ask(gateway, SHORT)
        if again.status != httpx.codes.OK:
            return Finding(False, f"{again.status} after {pause} s: {again.body[:200]!r}")
    return Finding(True, "three pauses about as long as the server's keep-alive")


def _cut(server: Endpoint, gateway: Endpoint) -> list[str]:
    """What is wrong with a stream whose server was killed after the first chunk."""
    body = {"model": gateway.model, "stream": True, **LONG}
    headers = {"authorization": f"Bearer {gateway.key}"}
    got = b""
    with (
        httpx.Client(timeout=30, trust_env=False) as client,
        client.stream("POST", f"{gateway.base}/completions", json=body, headers=headers) as answer,
    ):
        chunks = answer.iter_bytes()
        got += next(chunks)
        os.killpg(server.pid, signal.SIGKILL)
        with suppress(httpx.RemoteProtocolError):
            for chunk in chunks:
                got += chunk
    events = Answer(200, answer.headers, got).events()
    if not events or "[DONE]" in events:
        return [f"cut: the stream ends as if it were whole, after {len(events)} events"]
    error = json.loads(events[-1]).get("error")
    if not error:
        return [f"cut: the last event is {events[-1][:200]}"]
    missing = promises.ENVELOPE - error.keys()
    return [f"cut: the error event lacks {sorted(missing)}"] if missing else []


def _back(gateway: Endpoint) -> list[str]:
    """A server that answers again is used again, within a bound."""
    end = time.monotonic() + BACK_WITHIN_SECONDS
    while (status := ask(gateway, SHORT).status) != httpx.codes.OK:
        if time.monotonic() > end:
            return [f"back: still {status} after {BACK_WITHIN_SECONDS:.0f} s"]
        time.sleep(0.5)
    return []
