"""anthropic: messages plain, streamed, with tools, pictures and a schema; what is refused, by type."""

import os
from typing import Any

import anthropic  # type: ignore[import-not-found]  # in a folder of its own

MODEL = os.environ["GATEWAY_MODEL"]
client = anthropic.Anthropic(
    base_url=os.environ["GATEWAY_URL"], api_key=os.environ["GATEWAY_KEY"], max_retries=0
)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
TOOL: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
    "cache_control": {"type": "ephemeral"},
}


def asking(*content: Any, **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "max_tokens": 1024,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": list(content)}],
    } | more


ASKED = {"type": "text", "text": "Is it raining?"}
plain = client.messages.create(**asking(ASKED))
assert plain.type == "message"
assert plain.role == "assistant"
assert plain.id.startswith("msg_")
assert plain.content[0].type == "text"
assert plain.content[0].text
assert plain.stop_reason == "end_turn"
assert plain.usage.input_tokens > 0
assert plain.usage.output_tokens > 0
assert plain._request_id

with client.messages.stream(**asking(ASKED)) as stream:
    kinds = [event.type for event in stream]
    whole = stream.get_final_message()
assert kinds[0] == "message_start"
assert kinds[-1] == "message_stop"
assert "text" in kinds
assert whole.content[0].text == plain.content[0].text
assert whole.usage.output_tokens == plain.usage.output_tokens
assert whole.usage.input_tokens == plain.usage.input_tokens

image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
assert client.messages.create(**asking(ASKED, image)).content[0].text

with client.messages.stream(**asking(ASKED, tools=[TOOL])) as stream:
    pieces = [event.partial_json for event in stream if event.type == "input_json"]
    called = stream.get_final_message()
assert pieces
for message in (called, client.messages.create(**asking(ASKED, tools=[TOOL]))):
    assert message.stop_reason == "tool_use"
    assert message.content[-1].type == "tool_use"
    assert message.content[-1].name == "weather"
    assert message.content[-1].input == {"city": "simulated"}
result = {"type": "tool_result", "tool_use_id": called.content[-1].id, "content": "rain"}
turns = [
    {"role": "user", "content": [ASKED]},
    {"role": "assistant", "content": called.content},
    {"role": "user", "content": [result]},
]
assert client.messages.create(**asking(tools=[TOOL], messages=turns)).content[0].type == "text"


def refused(call: Any, kind: type[anthropic.APIStatusError]) -> anthropic.APIStatusError:
    """The error that a call raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")


for wrong, kind, name in (
    (asking(ASKED, model="nobody's"), anthropic.NotFoundError, "not_found_error"),
    (
        asking(ASKED, extra_body={"temperature": 1.5}),
        anthropic.BadRequestError,
        "invalid_request_error",
    ),
    (asking(ASKED, container="mine"), anthropic.BadRequestError, "invalid_request_error"),
):
    found = refused(lambda wrong=wrong: client.messages.create(**wrong), kind)
    assert found.body["type"] == "error"
    assert found.body["request_id"] == found.request_id
    assert found.body["error"]["type"] == name
stranger = client.with_options(api_key="wrong")
found = refused(lambda: stranger.messages.create(**asking(ASKED)), anthropic.AuthenticationError)
assert found.body["error"]["type"] == "authentication_error"
found = refused(
    lambda: client.messages.count_tokens(model=MODEL, messages=turns[:1]), anthropic.APIStatusError
)
assert found.status_code == 501
assert "usage" in found.message
print("OK")
