"""portkey-ai for Python: a config of the caller's own, one by its id, streams, completions."""

from __future__ import annotations

import os

from portkey_ai import Portkey

URL, KEY = os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]
MESSAGES = [{"role": "user", "content": "Is it raining in Graz?"}]
FALLBACK = {
    "strategy": {"mode": "fallback"},
    "targets": [{"provider": "openai", "override_params": {"model": name}} for name in ("a", "b")],
}


def client(**settings: object) -> Portkey:
    return Portkey(api_key=KEY, base_url=f"{URL}/v1", **settings)


def said(answer: object) -> str:
    return answer.choices[0].message.content  # type: ignore[attr-defined, no-any-return]


for config in (FALLBACK, "pc-known"):
    answer = client(config=config).chat.completions.create(model="m0", messages=MESSAGES)
    assert "Graz" in said(answer), answer
    assert answer.usage.completion_tokens > 0
    headers = answer.get_headers()
    assert headers["last-used-option-index"] == "config.targets[1]", headers

stream = client(config=FALLBACK, metadata={"plan": "free"}).chat.completions.create(
    model="m0", messages=MESSAGES, stream=True
)
pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
assert "".join(pieces) == said(answer)
assert len(pieces) > 2

text = client(provider="openai", trace_id="trace-1").completions.create(model="b", prompt="Hello")
assert "Hello" in text.choices[0].text
assert text.get_headers()["trace-id"] == "trace-1"

balanced = client(
    config={
        "strategy": {"mode": "conditional", "conditions": [
            {"query": {"metadata.plan": {"$eq": "paid"}}, "then": "good"},
        ], "default": "cheap"},
        "targets": [
            {"name": "good", "provider": "openai", "override_params": {"model": "c"}},
            {"name": "cheap", "provider": "openai", "override_params": {"model": "b"}},
        ],
    },
    metadata={"plan": "paid"},
)  # fmt: skip
answer = balanced.chat.completions.create(model="m0", messages=MESSAGES)
assert answer.get_headers()["last-used-option-index"] == "config.targets[0]"

refusal = ""
try:
    own = {"provider": "openai", "api_key": "sk-my-own"}
    client(config=own).completions.create(model="m0", prompt="Hello")
except Exception as error:  # noqa: BLE001 - whatever the package makes of a 400
    refusal = str(error)
assert "config.api_key" in refusal, refusal
print("OK")
