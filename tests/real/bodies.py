"""The clients' own bodies (`tests/clients/bodies/`), sent as they are, to vLLM and the gateway."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.real import answers, places, promises
from tests.real.report import Finding
from tests.real.same import OK, refusals
from tests.real.servers import Endpoint
from tests.real.wire import Answer, ask

FOLDER = places.ROOT / "tests" / "clients" / "bodies"
BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class Body:
    """One file: what the client sent and under which headers."""

    name: str
    headers: dict[str, str]
    body: dict[str, Any]


def every() -> Iterator[Body]:
    """In the order of their names."""
    for file in sorted(FOLDER.glob("*.json")):
        read = json.loads(file.read_text(encoding="utf-8"))
        yield Body(file.stem, read["headers"], read["body"])


def replay(sent: Body, server: Endpoint, gateway: Endpoint) -> Finding:
    """The gateway accepts what the server accepts, and keeps its promises; texts are sampled."""
    through = ask(gateway, sent.body, headers=sent.headers, model=False)
    if "model" not in sent.body:
        broken = promises.of_an_error(through, BAD_REQUEST)
        return Finding(not broken, "; ".join(broken) or "no model: refused with 400")
    body = {name: value for name, value in sent.body.items() if value is not None}
    direct = ask(server, body | {"model": server.model}, headers=sent.headers)
    if direct.status != OK:
        return refusals(direct, through)
    if through.status != OK:
        return Finding(False, f"{through.status} through the gateway: {through.body[:300]!r}")
    broken = _promises(sent.body, through)
    if sent.body.get("temperature") == 0:
        fold = answers.folded if sent.body.get("stream") else answers.plain
        if found := answers.difference(fold(direct), fold(through)):
            broken.append(found)
    return Finding(not broken, "; ".join(broken))


def _promises(body: dict[str, Any], answer: Answer) -> list[str]:
    if not body.get("stream"):
        return promises.of_a_plain_answer(answer)
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    return promises.of_a_stream(answer, usage=asked)
