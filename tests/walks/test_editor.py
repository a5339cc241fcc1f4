"""An editor's user: Zed's and Continue's completions as somebody types, and a chat with tools.

Bodies as Zed (crates/edit_prediction/src/fim.rs) and Continue (core/llm/llms/OpenAI.ts) send them.
"""

from __future__ import annotations

import json

from tests.harness.waiting import eventually
from tests.walks.conftest import Walked

FIM = "<|fim_prefix|>def add(a, b):\n    <|fim_suffix|>\n<|fim_middle|>"
MARKS = [
    *("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|repo_name|>"),
    *("<|file_sep|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|cursor|>"),
    *("<|editable|>", "\n\n\n", "```", "/src/"),
]
ZED = {"model": "code", "prompt": FIM, "max_tokens": 64, "stop": MARKS}
CONTINUE = {
    "model": "typing",
    "prompt": FIM,
    "max_tokens": 4096,
    "temperature": 0.01,
    "stream": True,
    "stop": [*MARKS[:11], "#- coding: utf-8"],
}


def test_zed_gets_one_answer_with_the_usage_that_it_reads(walk: Walked) -> None:
    answer = walk.gateway.send(ZED)
    assert answer.status == 200
    document = answer.document
    assert isinstance(document["choices"][0]["text"], str)
    assert {type(document["usage"][name]) for name in ("prompt_tokens", "completion_tokens")} == {
        int
    }
    assert isinstance(document["created"], int)


def test_continue_breaks_off_at_the_next_key_and_nothing_runs_on(walk: Walked) -> None:
    headers = {"x-request-id": "typed-on"}
    with walk.gateway.client.stream(
        "POST",
        walk.gateway.url + "/v1/completions",
        json=CONTINUE,
        headers=headers | {"api-key": walk.gateway.configuration["keys"][0]["secret"]},
    ) as answer:
        assert answer.status_code == 200
        first = next(line for line in answer.iter_lines() if line.startswith("data: "))
        assert isinstance(json.loads(first.removeprefix("data: "))["choices"][0]["text"], str)
    line = walk.gateway.line("typed-on")
    assert line["status"] == 499  # it went away
    assert line["completion_tokens"] < 100  # cancelled, and charged for what came until then
    assert line["total_ms"] < 5_000
    eventually(lambda: walk.gateway.get("/health/ready").status, 200)


def test_a_chat_with_a_tool_streams(walk: Walked) -> None:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}],
        "stream": True,
    }
    fields = {"content-type": "application/json"}
    answer = walk.gateway.ask(
        "POST", "/v1/chat/completions", headers=fields, content=json.dumps(body).encode()
    )
    assert answer.status == 200
    *events, end = answer.payloads
    assert end == b"[DONE]"
    deltas = [c["delta"] for event in events for c in json.loads(event)["choices"]]
    assert deltas[0]["role"] == "assistant"
    assert any(delta.get("tool_calls") for delta in deltas)


def test_a_base_url_without_its_version_says_where_the_api_is(walk: Walked) -> None:
    answer = walk.gateway.ask("POST", "/chat/completions", content=b"{}")
    assert answer.status == 404
    assert "did you mean POST /v1/chat/completions?" in answer.error["message"]
