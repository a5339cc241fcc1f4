"""The `openai` client, as people use it."""

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.wire.test_answers import saying
from tests.e2e.wire.test_streams import chunk, streaming
from tests.harness.credentials import KEY, KEYS
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PROMPT
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE

EVERYTHING: dict[str, Any] = {
    "max_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.9,
    "n": 2,
    "best_of": 2,
    "stop": ["\n", "END"],
    "suffix": "end",
    "echo": True,
    "logprobs": 2,
    "frequency_penalty": 0.1,
    "presence_penalty": -0.1,
    "logit_bias": {"50256": -100},
    "seed": 5,
    "user": "someone",
}


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE
    ) as client:
        yield client


def test_a_completion_is_created(client: openai.OpenAI, upstream: Upstream) -> None:
    completion = client.completions.create(model="native", prompt=PROMPT)
    assert completion.choices[0].text == text_of(PROMPT)
    assert completion.object == "text_completion"
    assert completion.usage is not None
    assert completion.usage.total_tokens == len(PROMPT.split()) + 3


def test_every_parameter_goes_through(client: openai.OpenAI, upstream: Upstream) -> None:
    completion = client.completions.create(
        model="native", prompt=["a", "b"], extra_body={"min_p": 0.05}, **EVERYTHING
    )
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    asked = {"model": "native", "prompt": ["a", "b"], "min_p": 0.05} | EVERYTHING
    assert upstream.request.document == asked
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["a", *["Re", " <a>", " 0"]]


@pytest.mark.parametrize("prompt", ["a", ["a", "b"], [1, 2], [[1], [2]]])
def test_every_form_of_prompt_goes_through(
    client: openai.OpenAI, upstream: Upstream, prompt: Any
) -> None:
    client.completions.create(model="native", prompt=prompt)
    assert upstream.request.document["prompt"] == prompt


@pytest.mark.parametrize("model", ["native", "chat", "sim"])
def test_a_stream_is_read(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    with client.completions.create(
        model=model, prompt=PROMPT, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    reasons = [c.finish_reason for one in chunks for c in one.choices if c.finish_reason]
    assert len(reasons) == 1
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    if model != "sim":
        assert "".join(c.text for one in chunks for c in one.choices) == text_of(PROMPT)


def test_a_stream_with_every_parameter_is_read(client: openai.OpenAI, upstream: Upstream) -> None:
    with client.completions.create(
        model="native", prompt=["a", "b"], stream=True, **EVERYTHING
    ) as stream:
        found: dict[int, str] = {}
        for one in stream:
            for choice in one.choices:
                found[choice.index] = found.get(choice.index, "") + choice.text
    assert found == {2 * p + i: "ab"[p] + text_of("ab"[p], i) for p in range(2) for i in range(2)}


def test_the_asynchronous_client_works(gateway: Gateway, upstream: Upstream) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE
        ) as client:
            plain = await client.completions.create(model="native", prompt="a")
            streamed = ""
            stream = await client.completions.create(model="chat", prompt="b", stream=True)
            async with stream:
                async for one in stream:
                    streamed += "".join(choice.text for choice in one.choices)
            return plain.choices[0].text, streamed

    assert asyncio.run(ask()) == (text_of("a"), text_of("b"))


def test_the_raw_answer_has_its_headers(client: openai.OpenAI, upstream: Upstream) -> None:
    answer = client.completions.with_raw_response.create(
        model="native", prompt=PROMPT, extra_headers={"X-Request-ID": "from-the-sdk"}
    )
    assert answer.headers["x-request-id"] == "from-the-sdk"
    assert answer.parse().choices[0].text == text_of(PROMPT)


def test_models_are_listed(client: openai.OpenAI, gateway: Gateway) -> None:
    assert {model.id for model in client.models.list()} == set(gateway.configuration["models"])
    assert client.models.retrieve("org/slashed").id == "org/slashed"


@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ({"model": "nought"}, openai.NotFoundError, "model_not_found"),
        ({"n": 0}, openai.BadRequestError, "invalid_request"),
        ({"model": "off"}, openai.InternalServerError, "not_implemented"),
        ({"model": "nobody"}, openai.InternalServerError, "upstream_unreachable"),
        ({"model": "chat", "suffix": "x"}, openai.BadRequestError, "unsupported_parameter"),
    ],
)
def test_errors_are_the_sdks_own(
    client: openai.OpenAI, fields: dict[str, Any], kind: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        client.completions.create(**{"model": "native", "prompt": "x", **fields})
    assert caught.value.code == code
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("hg-wrong-00112233445566778899", openai.AuthenticationError),
        (KEYS["expired"], openai.AuthenticationError),
        (KEYS["embedder"], openai.PermissionDeniedError),
    ],
)
def test_refused_keys_are_the_sdks_own_errors(
    client: openai.OpenAI, key: str, kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind):
        client.with_options(api_key=key).completions.create(model="native", prompt="x")


def test_a_broken_stream_raises(client: openai.OpenAI, upstream: Upstream) -> None:
    upstream.on("native", streaming(chunk("a"), chunk("b")))
    got = []
    with (
        client.completions.create(model="native", prompt="x", stream=True) as stream,
        pytest.raises(openai.APIError),
    ):
        for one in stream:
            got += [one.choices[0].text]
    assert got == ["a", "b"]


@pytest.mark.parametrize(("status", "calls"), [(400, 1), (401, 1), (404, 1), (422, 1), (501, 1)])
def test_the_sdk_does_not_retry_what_cannot_help(
    client: openai.OpenAI, upstream: Upstream, status: int, calls: int
) -> None:
    upstream.on("native", saying({"error": {"message": "no"}}, status=status))
    with pytest.raises(openai.APIStatusError):
        client.with_options(max_retries=2).completions.create(model="native", prompt="x")
    assert len(upstream.requests) == calls


def test_the_sdk_retries_an_overloaded_upstream(client: openai.OpenAI, upstream: Upstream) -> None:
    async def script(request, wire):
        if len(upstream.requests) < 2:
            await wire.answer({}, status=503, headers=[("retry-after-ms", "20")])
        else:
            await wire.answer({"choices": [{"text": "well", "finish_reason": "stop"}]})

    upstream.on("native", script)
    again = client.with_options(max_retries=2)
    assert again.completions.create(model="native", prompt="x").choices[0].text == "well"
    assert len(upstream.requests) == 2


def test_leaving_a_stream_of_the_sdk_cancels_the_upstream_call(
    client: openai.OpenAI, upstream: Upstream
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk())
        await upstream.gate().wait()

    upstream.on("native", script)
    with client.completions.create(model="native", prompt="x", stream=True) as stream:
        next(iter(stream))
    assert upstream.request.connection.closed.wait(5)


def test_nothing_the_sdk_sends_warns(gateway: Gateway, upstream: Upstream) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client:
            client.completions.create(model="native", prompt="x")
    assert isinstance(upstream.request.headers["x-request-id"], str)
    assert httpx.URL(upstream.request.target).path == "/v1/completions"
