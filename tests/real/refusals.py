"""What a caller is told when the server behind the gateway says no, or is not there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.real import places, promises
from tests.real.report import Finding
from tests.real.servers import Endpoint
from tests.real.wire import ask


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that must fail with this status and, where the contract names one, this code."""

    name: str
    model: str
    body: Mapping[str, Any]
    status: int
    code: str | None
    key: str | None = None

    def check(self, gateway: Endpoint) -> Finding:
        answer = ask(gateway.under(self.model), {"max_tokens": 4, **self.body}, key=self.key)
        broken = promises.of_an_error(answer, self.status)
        if not broken and self.code and answer.json()["error"]["code"] != self.code:
            broken.append(f"code {answer.json()['error']['code']!r}, not {self.code!r}")
        said = f"{answer.status} {answer.body[:260].decode(errors='replace')}"
        return Finding(not broken, "; ".join(broken) + (f": {said}" if broken else ""))


TOO_LONG = {"prompt": [5] * (places.CONTEXT + 900)}
REFUSALS = (
    Refusal("a wrong key upstream", "wrong-key", {"prompt": "x"}, 502, "upstream_auth_failed"),
    Refusal(
        "a wrong key upstream, streamed",
        "wrong-key",
        {"prompt": "x", "stream": True},
        502,
        "upstream_auth_failed",
    ),
    Refusal("too long for the context", "tiny-vllm", TOO_LONG, 400, "context_length_exceeded"),
    Refusal(
        "too long for the context, streamed",
        "tiny-vllm",
        {**TOO_LONG, "stream": True},
        400,
        "context_length_exceeded",
    ),
    Refusal(
        "too long for llama-cpp-python's context",
        "tiny-llama",
        {"prompt": "the gate " * (places.CONTEXT + 100)},
        400,
        "context_length_exceeded",
    ),
    Refusal(
        "the server's own error is 700 kB of traceback",
        "tiny-llama",
        {"prompt": [5] * (places.CONTEXT + 900)},
        502,
        None,
    ),
    Refusal("a model that the server lacks", "wrong-name", {"prompt": "x"}, 404, None),
    Refusal("a member of the wrong kind", "tiny-vllm", {"prompt": "x", "min_p": "no"}, 400, None),
    Refusal("a server that is not there", "nowhere", {"prompt": "x"}, 502, "upstream_unreachable"),
    Refusal(
        "a server that is not there, streamed",
        "nowhere",
        {"prompt": "x", "stream": True},
        502,
        "upstream_unreachable",
    ),
    Refusal("an alias that is not there", "no-such", {"prompt": "x"}, 404, "model_not_found"),
    Refusal("a wrong key", "tiny-vllm", {"prompt": "x"}, 401, "invalid_api_key", key="hg-no-no"),
)
