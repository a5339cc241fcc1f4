"""A small OTLP collector over a real socket: what it is sent is held to the protocol's definition."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.harness.waiting import eventually

_IDS = ("traceId", "spanId", "parentSpanId")


class Collector:
    """Takes posts; answers with the next of ``statuses``, and then with 200."""

    def __init__(self, statuses: tuple[int, ...] = ()) -> None:
        self._statuses = list(statuses)
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.open = threading.Event()  # posts wait for it
        self.open.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """One post; the status that it gets."""
        self.open.wait(30)
        self.paths.append(path)
        self.headers.append(headers)
        status = self._statuses.pop(0) if self._statuses else 200
        if status == 200:
            self.bodies.append(body)
            request = ParseDict(_with_base64(json.loads(body)), ExportTraceServiceRequest())
            for part in request.resource_spans:
                self.resources.append(
                    {one.key: one.value.string_value for one in part.resource.attributes}
                )
                for scope in part.scope_spans:
                    self.spans += scope.spans
        return status

    def trace(self, trace_id: str, count: int) -> list[Span]:
        """The spans of one trace, once there are that many."""
        eventually(lambda: len(self._of(trace_id)), count)
        return self._of(trace_id)

    def _of(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id.hex() == trace_id]


def attributes(span: Span) -> dict[str, Any]:
    """A span's attributes as plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def _with_base64(document: Any) -> Any:
    """OTLP's JSON has identifiers in hexadecimal, where protobuf's own has base64."""
    if isinstance(document, list):
        return [_with_base64(one) for one in document]
    if not isinstance(document, dict):
        return document
    return {
        name: base64.b64encode(bytes.fromhex(value)).decode()
        if name in _IDS
        else _with_base64(value)
        for name, value in document.items()
    }


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                status = collector.take(self.path, dict(self.headers), body)
            except Exception as error:  # noqa: BLE001 - the test sees that no span came
                status = 400
                print("not OTLP:", error)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler
