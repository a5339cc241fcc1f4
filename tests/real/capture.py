"""Write down what the real clients send: `python -m tests.real.capture`.

A small server stands where the gateway would, records each body and its headers, and lets vLLM
answer. Keys are not written down. Files go to `tests/clients/bodies/`.
"""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.real import clients_run, harness, places, servers
from tests.real.clients_list import CLIENTS
from tests.real.servers import Endpoint
from tests.real.wire import ask

BODIES = places.ROOT / "tests" / "clients" / "bodies"
LEFT_OUT = {"authorization", "api-key", "x-api-key", "host", "content-length"}
ALIAS = "tiny-vllm"


class Recorder(ThreadingHTTPServer):
    """Answers as the gateway would, from a server behind it, and keeps what was asked."""

    def __init__(self, server: Endpoint) -> None:
        super().__init__((places.HOST, 0), Handler)
        self.behind = server
        self.seen: list[tuple[dict[str, str], dict[str, Any]]] = []


class Handler(BaseHTTPRequestHandler):
    """POST /v1/completions and nothing else."""

    server: Recorder
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/completions":
            self._refuse(404, "not_found")
            return
        body = json.loads(raw)
        if self.headers["authorization"] != f"Bearer {places.GATEWAY_KEY}":
            self._refuse(401, "invalid_api_key")
            return
        if body["model"] != ALIAS:
            self._refuse(404, "model_not_found")
            return
        kept = {k: v for k, v in self.headers.items() if k.lower() not in LEFT_OUT}
        self.server.seen.append((kept, body))
        answer = ask(self.server.behind, body | {"model": self.server.behind.model})
        self._send(answer.status, answer.headers["content-type"], answer.body)

    def do_GET(self) -> None:
        self._refuse(404, "not_found")

    def _refuse(self, status: int, code: str) -> None:
        error = {"message": f"{code}: no-such-model", "type": "x", "param": None, "code": code}
        self._send(status, "application/json", json.dumps({"error": error}).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request-id", "recorded")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def recording(server: Endpoint) -> Iterator[tuple[Recorder, Endpoint]]:
    """A recorder while the block lasts, and where to find it."""
    recorder = Recorder(server)
    threading.Thread(target=recorder.serve_forever, daemon=True).start()
    root = f"http://{places.HOST}:{recorder.server_port}"
    try:
        yield recorder, Endpoint("recorder", root, places.GATEWAY_KEY, ALIAS)
    finally:
        recorder.shutdown()


def variant(body: dict[str, Any]) -> str:
    """A word for what sets this body apart from the client's others."""
    prompt = body["prompt"]
    if isinstance(prompt, str):
        kind = "text"
    elif isinstance(prompt[0], str):
        kind = "texts"
    else:
        kind = "ids" if isinstance(prompt[0], int) else "lists-of-ids"
    words = [kind]
    words += [name for name in ("echo", "logprobs") if body.get(name)]
    if body.get("stream"):
        words.append("streamed")
    if (body.get("n") or 1) > 1:
        words.append("n")
    if body.get("stop"):
        words.append(f"{len(body['stop'])}-stops")
    return "-".join(words)


def write(name: str, note: str, recorder: Recorder, folder: Path = BODIES) -> None:
    """One file for each variant; the first body of a variant stands for it."""
    kinds: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
    for headers, body in recorder.seen:
        kinds.setdefault(variant(body), (headers, body))
    for kind, (headers, body) in kinds.items():
        entry = {"client": name, "seen": "captured", "headers": headers, "body": body, "note": note}
        text = json.dumps(entry, indent=1, ensure_ascii=False) + "\n"
        (folder / f"{name}-{kind}.json").write_text(text, encoding="utf-8")
    recorder.seen.clear()


def main(only: list[str]) -> None:
    """Run each client (or those named) once against the recorder."""
    places.make_folders()
    BODIES.mkdir(parents=True, exist_ok=True)
    with servers.vllm() as server, recording(server) as (recorder, here):
        for client in CLIENTS:
            if not only or client.name in only:
                found = clients_run.prove(client, here)
                print(client.name, found, len(recorder.seen), flush=True)
                package = f"{client.shown} {clients_run.version(client)}"
                write(client.name, f"{package}, tests/real/clients/{client.script}", recorder)
        if not only or "lm-eval" in only:
            print("lm-eval", harness.compare(here, None), flush=True)
            write("lm-eval", "lm-eval 0.4.13, local-completions, tests/real/tasks", recorder)


if __name__ == "__main__":
    main(sys.argv[1:])
