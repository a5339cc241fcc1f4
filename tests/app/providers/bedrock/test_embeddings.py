"""Embeddings over InvokeModel: recordings of Cohere's, and Titan's documented example."""

from __future__ import annotations

import orjson
import pytest

from app.core.errors import InvalidRequest, UpstreamInvalid
from app.providers.bedrock.translation import BedrockTranslation
from tests.app.providers.translation.asking import asked
from tests.harness.recordings import recordings

TRANSLATION = BedrockTranslation()
TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-english-v3"
VECTORS = [r for r in recordings("bedrock.invoke") if r.expect["shape"] == "embeddings"]


def body(model, **members):
    prepared = TRANSLATION.prepare(asked("embeddings", model=model, **members))
    return prepared.path, orjson.loads(prepared.body)


@pytest.mark.parametrize("recording", VECTORS, ids=lambda r: r.name)
def test_recorded_vectors_are_in_input_order(recording):
    made = TRANSLATION.answer(asked("embeddings", input=["x"]), recording.body)
    for item, vector in zip(made["data"], recording.expect["vectors"], strict=True):
        assert len(item["embedding"]) == vector["dimensions"]
        assert item["embedding"][:4] == pytest.approx(vector["first"])
    assert "usage" not in made


def test_titan_takes_one_text_and_counts_its_tokens():
    path, sent = body(TITAN, input="hello", dimensions=256)
    assert path == "/model/amazon.titan-embed-text-v2%3A0/invoke"
    assert sent == {"inputText": "hello", "dimensions": 256}
    data = orjson.dumps({"embedding": [0.5, 1.0], "inputTextTokenCount": 3})
    made = TRANSLATION.answer(asked("embeddings", input="hello"), data)
    assert made["data"][0]["embedding"] == [0.5, 1.0]
    assert made["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_coheres_models_take_a_batch_and_a_type():
    _, sent = body(COHERE, input=["a", "b"], input_type="search_query")
    assert sent == {"texts": ["a", "b"], "input_type": "search_query"}
    assert body(COHERE, input=["a"])[1]["input_type"] == "search_document"
    data = orjson.dumps({"embeddings": {"float": [[1, 2], [3, 4]]}})
    made = TRANSLATION.answer(asked("embeddings", input=["a", "b"]), data)
    assert [item["embedding"] for item in made["data"]] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("model", "members", "place"),
    [
        (TITAN, {"input": ["a", "b"]}, "input"),
        (TITAN, {"input": "a", "input_type": "x"}, "input_type"),
        (COHERE, {"input": [1, 2]}, "input"),
        ("amazon.nova-lite-v1:0", {"input": "a"}, "model"),
        (COHERE, {"input": "a", "user": "u"}, "user"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(model, members, place):
    with pytest.raises(InvalidRequest) as caught:
        body(model, **members)
    assert caught.value.param == place


def test_an_answer_without_vectors_is_invalid():
    with pytest.raises(UpstreamInvalid):
        TRANSLATION.answer(asked("embeddings", input="a"), b'{"message": "x"}')
