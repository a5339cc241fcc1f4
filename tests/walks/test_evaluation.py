"""An evaluation engineer: the requests of lm-evaluation-harness's `local-completions`, and its retries.

Bodies as lm-evaluation-harness 0.4.13 sends them (lm_eval/models/openai_completions.py, api_models.py).
"""

from __future__ import annotations

import time
from typing import Any

from tests.harness.credentials import KEYS
from tests.walks.conftest import Walked

CONTEXTS = [[9, 8, 7, 6], [5, 4, 3]]
GENERATE = {
    "model": "demo",
    "prompt": CONTEXTS,
    "max_tokens": 6,
    "temperature": 0,
    "stop": ["\n\n", "Question:", "</s>", "<|im_end|>", "Q:", "\n#"],
    "seed": 1234,
}
SCORE = {
    "model": "demo",
    "prompt": ["The sky is blue", "Two and two is four"],
    "max_tokens": 1,
    "temperature": 0,
    "logprobs": 1,
    "echo": True,
    "seed": 1234,
}


def test_it_asks_for_the_tokenizer_without_a_key_and_is_told_what_is_missing(walk: Walked) -> None:
    for method, path in (("GET", "/tokenizer_info"), ("POST", "/tokenize")):
        answer = walk.gateway.ask(method, path, key=None)
        assert (answer.status, answer.error["code"]) == (401, "missing_api_key")
        assert "Authorization: Bearer" in answer.error["message"]


def test_a_batch_of_token_ids_comes_back_in_order(walk: Walked) -> None:
    answer = walk.gateway.send(GENERATE)
    assert answer.status == 200
    assert [choice["index"] for choice in answer.document["choices"]] == [0, 1]
    empty = walk.gateway.send(GENERATE | {"stop": []})
    assert (empty.status, len(empty.texts)) == (200, 2)


def test_scores_have_a_number_for_every_token_and_are_the_same_twice(walk: Walked) -> None:
    first, again = walk.gateway.send(SCORE), walk.gateway.send(SCORE)
    assert first.status == 200
    assert first.document["choices"] == again.document["choices"]
    assert (first.headers["x-headgate-cache"], again.headers["x-headgate-cache"]) == ("miss", "hit")
    for choice in first.document["choices"]:
        scores = choice["logprobs"]
        assert len(scores["tokens"]) == len(scores["token_logprobs"]) == len(scores["top_logprobs"])
        assert all(isinstance(score, float) for score in scores["token_logprobs"][1:])


def test_a_run_that_was_interrupted_goes_on_where_it_stopped(walk: Walked) -> None:
    more = [*SCORE["prompt"], "Grass is green"]  # type: ignore[misc]
    resumed = walk.gateway.send(SCORE | {"prompt": more})
    assert resumed.headers["x-headgate-cache"] == "partial"
    assert len(resumed.document["choices"]) == 3


def test_its_retries_get_through_a_limit(walk: Walked) -> None:
    """It repeats every answer that is not 2xx, by its own clock; ours says how long that takes."""

    def ask() -> Any:
        return walk.gateway.send(GENERATE | {"prompt": [[1, 2]]}, KEYS["colleague"])

    end = time.monotonic() + 10
    statuses = [ask().status for _ in range(3)]
    refused = ask()
    while refused.status != 429 and time.monotonic() < end:
        refused = ask()
    assert 200 in statuses
    assert refused.error["code"] == "rate_limit_exceeded"
    assert 0 < int(refused.headers["retry-after-ms"]) <= 200
    answer = ask()
    while answer.status == 429 and time.monotonic() < end:
        answer = ask()
    assert answer.status == 200


def test_a_wrong_field_is_named_so_that_a_retry_is_seen_to_be_useless(walk: Walked) -> None:
    wrong = walk.gateway.send(GENERATE | {"logprobs": 9, "n": 0})
    assert wrong.status == 400
    assert [p["param"] for p in wrong.error["details"]] == ["logprobs", "n"]
    assert wrong.headers["x-should-retry"] == "false"
