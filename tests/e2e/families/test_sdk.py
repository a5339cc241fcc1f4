"""The `openai` client in conversation and for embeddings, as people use it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.families.asking import TOOL, embedding, event, inputs_of, vector_of
from tests.e2e.families.test_chat import CALL_PIECES, CALLS
from tests.harness.credentials import KEY, KEYS
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PROMPT, unseen
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE

USER: Any = [{"role": "user", "content": PROMPT}]
WEATHER: Any = TOOL


class Weather(BaseModel):
    city: str
    days: int


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE
    ) as client:
        yield client


def test_a_conversation(client: openai.OpenAI, upstream: Upstream) -> None:
    answer = client.chat.completions.create(model="plain", messages=USER)
    assert answer.choices[0].message.content == text_of(PROMPT)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize("model", ["plain", "cached"])
def test_a_stream_is_read(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    prompt = unseen()
    messages: Any = [{"role": "user", "content": prompt}]
    for _ in range(2):
        with client.chat.completions.stream(
            model=model, messages=messages, stream_options={"include_usage": True}
        ) as stream:
            kinds = [one.type for one in stream]
            whole = stream.get_final_completion()
        assert "content.delta" in kinds
        assert whole.choices[0].message.content == text_of(prompt)
        assert whole.choices[0].message.role == "assistant"
        assert whole.usage is not None


@pytest.mark.parametrize("model", ["sim", "cached-sim"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_whole_round_with_a_tool(client: openai.OpenAI, model: str, streamed: bool) -> None:
    asked: dict[str, Any] = {"model": model, "tools": [WEATHER], "seed": 5}

    def message(messages: Any) -> Any:
        if not streamed:
            return client.chat.completions.create(messages=messages, **asked).choices[0].message
        with client.chat.completions.stream(messages=messages, **asked) as stream:
            return stream.get_final_completion().choices[0].message

    called = message(USER)
    [call] = called.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "simulated"}
    said = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    history = [*USER, called.model_dump(exclude_none=True), said]
    assert message(history).content


def test_tool_calls_of_an_untidy_stream_are_joined(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    """This client concatenates whatever a delta repeats, so that nothing may be repeated."""

    async def script(request: Request, wire: Wire) -> None:
        await wire.begin_stream()
        for delta in CALL_PIECES:
            await wire.event(event(delta | {"role": "assistant"}))
        await wire.event(event({"role": "assistant"}, "tool_calls"))
        await wire.event(b"[DONE]")
        await wire.end_stream()

    upstream.on("up", script)
    with client.chat.completions.stream(model="plain", messages=USER, tools=[WEATHER]) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.role == "assistant"
    calls = [
        call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls or ()
    ]
    for call in calls:
        call["function"].pop("parsed_arguments", None)
    assert calls == CALLS


@pytest.mark.parametrize("streamed", [False, True])
def test_json_of_a_schema_is_parsed(client: openai.OpenAI, streamed: bool) -> None:
    if streamed:
        with client.chat.completions.stream(
            model="sim", messages=USER, response_format=Weather
        ) as stream:
            parsed = stream.get_final_completion().choices[0].message.parsed
    else:
        parsed = (
            client.chat.completions.parse(model="sim", messages=USER, response_format=Weather)
            .choices[0]
            .message.parsed
        )
    assert parsed == Weather(city="simulated", days=7)


def test_images_log_probabilities_and_everything_else(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": PROMPT}, picture]}]
    answer = client.chat.completions.create(
        model="plain", messages=messages, n=2, logprobs=True, top_logprobs=2, seed=1
    )
    assert upstream.request.document["messages"] == messages
    assert len(answer.choices) == 2
    assert answer.choices[0].logprobs is not None
    entries = answer.choices[0].logprobs.content or []
    assert [len(entry.top_logprobs) for entry in entries] == [2, 2, 2]


def test_errors_are_the_clients_own(gateway: Gateway, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="plain", messages=USER, temperature=3)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="unknown", messages=USER)
    with pytest.raises(openai.PermissionDeniedError):
        client.with_options(api_key=KEYS["colleague"]).chat.completions.create(
            model="plain", messages=USER
        )


def test_a_cut_stream_raises(client: openai.OpenAI, upstream: Upstream) -> None:
    async def script(request: Request, wire: Wire) -> None:
        await wire.begin_stream()
        await wire.event(event({"role": "assistant", "content": "a"}))
        wire.reset()

    upstream.on("up", script)
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="plain", messages=USER, stream=True))


@pytest.mark.parametrize("model", ["plain", "cached"])
def test_embeddings_come_as_base64_without_anybody_noticing(
    client: openai.OpenAI, upstream: Upstream, model: str
) -> None:
    upstream.on("up", embedding)
    texts = [unseen(), "b", "b"]
    for _ in range(2):
        answer = client.embeddings.create(model=model, input=texts)
        assert [one.embedding for one in answer.data] == [vector_of(text) for text in texts]
    first = upstream.requests[0]
    assert "encoding_format" not in first.document  # though this client asks for base64
    assert inputs_of(first) == texts[:2]


def test_embeddings_as_numbers_with_dimensions(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(
        model="sim", input=[[1, 2], [3]], dimensions=7, encoding_format="float"
    )
    assert [len(one.embedding) for one in answer.data] == [7, 7]
    assert answer.usage.total_tokens == 3


async def _ask_async(url: str) -> tuple[str | None, int]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        answer = await client.chat.completions.create(model="sim", messages=USER)
        vectors = await client.embeddings.create(model="sim", input="a")
        return answer.choices[0].message.content, len(vectors.data[0].embedding)


def test_the_asynchronous_client(gateway: Gateway) -> None:
    text, dimensions = asyncio.run(_ask_async(gateway.url))
    assert text
    assert dimensions == 256
