"""`suffix`, in every way that there is to honour it, over real sockets."""

from __future__ import annotations

import pytest

from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

PROMPT = "def add(a, b): return"


async def mistral(request: Request, wire: Wire) -> None:
    """As https://docs.mistral.ai/api shows fill-in-the-middle, plain and streamed."""
    used = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    base = {"id": "x", "created": 1, "model": "codestral"}
    if not request.document.get("stream"):
        message = {"role": "assistant", "content": " a + b"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        await wire.answer(base | {"choices": [choice], "usage": used})
        return
    await wire.begin_stream()
    for text, reason in ((" a", None), (" + b", "stop")):
        delta = {"role": "assistant", "content": text}
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        await wire.event(base | {"choices": [choice]} | ({"usage": used} if reason else {}))
    await wire.event(b"[DONE]")
    await wire.end_stream()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_mistral_has_an_endpoint_for_it(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    upstream.on("codestral-latest", mistral)
    reply = gateway.complete(model="codestral", prompt=PROMPT, suffix="\n", stream=stream)
    if stream:
        assert reply.streamed_texts() == {0: " a + b"}
    else:
        assert reply.texts == [" a + b"]
        assert reply.document["usage"]["total_tokens"] == 8
    assert upstream.request.target == "/v1/fim/completions"
    assert upstream.request.document["suffix"] == "\n"
    assert upstream.request.document["prompt"] == PROMPT


def test_another_target_fills_in_for_a_model_that_only_chats(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("codestral", mistral)
    reply = gateway.complete(model="house", prompt=PROMPT, suffix="\n")
    assert reply.texts == [" a + b"]
    assert reply.headers["x-provider"] == "mistral"
    assert upstream.request.target == "/v1/fim/completions"


def test_a_models_own_template_is_written_into_its_prompt(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = gateway.complete(model="coder", prompt=["A", "B"], suffix="Z")
    assert reply.status == 200, reply.body
    sent = upstream.request.document
    assert "suffix" not in sent
    assert sent["prompt"] == [
        "<|fim_prefix|>A<|fim_suffix|>Z<|fim_middle|>",
        "<|fim_prefix|>B<|fim_suffix|>Z<|fim_middle|>",
    ]


def test_without_a_suffix_the_template_is_not_written(gateway: Gateway, upstream: Upstream) -> None:
    assert gateway.complete(model="coder", prompt="A").status == 200
    assert upstream.request.document["prompt"] == "A"


@pytest.mark.parametrize(
    ("members", "place"), [({"echo": True}, "echo"), ({"prompt": [1, 2, 3]}, "prompt")]
)
def test_what_would_show_the_template_is_refused(
    gateway: Gateway, upstream: Upstream, members: dict, place: str
) -> None:
    reply = gateway.complete(**{"model": "coder", "suffix": "Z"} | members)
    assert (reply.status, reply.error["param"]) == (400, place)
    assert reply.error["code"] == "unsupported_parameter"
    assert upstream.requests == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_llama_cpp_has_infill(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    last = {"content": "x", "stop": True, "stop_type": "limit", "tokens_evaluated": 9}
    last["tokens_predicted"] = 2

    async def infill(request: Request, wire: Wire) -> None:
        assert request.document["stream"] is stream
        if not stream:
            await wire.answer(last | {"content": "a x"})
            return
        await wire.begin_stream()
        await wire.event({"content": "a ", "stop": False})
        await wire.event(last)
        await wire.end_stream()

    upstream.on("None", infill)
    reply = gateway.complete(model="llama", prompt="A", suffix="Z", max_tokens=2, stream=stream)
    texts = list(reply.streamed_texts().values()) if stream else reply.texts
    assert texts == ["a x"]
    assert upstream.request.target == "/infill"
    assert upstream.request.document["input_suffix"] == "Z"
    assert upstream.request.document["n_predict"] == 2


def test_llama_cpp_completes_without_a_suffix_as_everybody(
    gateway: Gateway, upstream: Upstream
) -> None:
    assert gateway.complete(model="llama").status == 200
    assert upstream.request.target == "/v1/completions"


def test_deepseeks_completions_stand_beside_its_chat(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete(model="deepseek-fim", suffix="\n")
    assert reply.status == 200
    assert upstream.request.target == "/beta/completions"
    assert upstream.request.document["suffix"] == "\n"
