"""llama.cpp's /infill, after the examples of its server's README."""

from __future__ import annotations

import orjson
import pytest

from app.core.errors import UpstreamInvalid
from app.providers.llamacpp.infill import InfillTranslation
from tests.app.providers.translation.asking import asked, refused

TRANSLATION = InfillTranslation("http://h:8080/infill")
LAST = {
    "content": "",
    "stop": True,
    "stop_type": "eos",
    "tokens_evaluated": 12,
    "tokens_predicted": 4,
}


def test_a_suffix_is_the_servers_input_suffix():
    prepared = TRANSLATION.prepare(
        asked("completions", prompt=["def f("], suffix="return x", max_tokens=9, stop="X", seed=1)
    )
    assert prepared.path == "http://h:8080/infill"
    assert orjson.loads(prepared.body) == {
        "input_prefix": "def f(",
        "input_suffix": "return x",
        "n_predict": 9,
        "stop": ["X"],
        "seed": 1,
        "stream": False,
    }


def test_what_the_endpoint_has_not_is_refused_by_name():
    members = {"prompt": [1], "suffix": "s", "n": 2, "logprobs": 1, "echo": True}
    assert refused(TRANSLATION, operation="completions", **members) == [
        "n", "logprobs", "echo", "prompt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"stop_type": "eos"}, "stop"),
        ({"stop_type": "word"}, "stop"),
        ({"stop_type": "limit"}, "length"),
        ({"stopped_limit": True}, "length"),
    ],
)
def test_an_answer_is_a_completion(said, reason):
    data = orjson.dumps(LAST | {"content": "x)", "stop_type": None} | said)
    made = TRANSLATION.answer(asked("completions", prompt="p", suffix="s"), data)
    assert made["choices"][0]["text"] == "x)"
    assert made["choices"][0]["finish_reason"] == reason
    assert made["usage"]["total_tokens"] == 16


def streamed(*events):
    made = asked("completions", prompt="p", suffix="s", stream=True)
    translator = TRANSLATION.translator(made, 1 << 20)
    data = b"".join(b"data: %s\n\n" % orjson.dumps(event) for event in events)
    return translator.take(data) + translator.end(), translator


def test_a_stream_ends_with_its_last_event():
    chunks, translator = streamed({"content": "a", "stop": False}, {"content": "b"}, LAST)
    texts = [choice["text"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts) == "ab"
    assert chunks[-1]["usage"]["prompt_tokens"] == 12
    assert translator.done


def test_a_stream_without_its_last_event_is_cut():
    _, translator = streamed({"content": "a", "stop": False})
    assert isinstance(translator.broken, UpstreamInvalid)
