"""Whoever reads a shared stream gets what it would have got alone."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core import sse
from app.core.cached_parts import merge
from app.core.stream_replay import payloads, replay
from app.core.stream_view import Diverged, StreamView
from tests.core.test_stream_replay import (
    TOKEN,
    USAGE,
    answer,
    assembled,
    blocks_of,
    choice,
    legal,
    part,
    request,
    spoken,
    upstream,
)

Spoken = tuple[dict[str, Any], list[list[str]]]


def live(document: dict[str, Any], tokens: list[list[str]]) -> list[bytes]:
    """The blocks of a stream that gives one token at a time, one choice after another."""
    chunks = []
    for plain, own in zip(document["choices"], tokens, strict=True):
        said = plain["logprobs"]
        for place, token in enumerate(own):
            one = said and {name: value[place : place + 1] for name, value in said.items()}
            chunks.append(document | {"choices": [part(token, plain["index"], one)]})
        last = plain | {"text": "", "logprobs": None}
        chunks.append(document | {"choices": [last]})
    for chunk in chunks:
        del chunk["usage"]
    return blocks_of([*chunks, document | {"choices": []}], request(len(tokens)))


def said(*choices: list[str], logprobs: bool = False, **more: Any) -> list[bytes]:
    """The blocks of an answer whose choices have these tokens."""
    plain = [
        choice(own, index, logprobs=logprobs and bool(own)) for index, own in enumerate(choices)
    ]
    return live(answer(*plain, **more), list(choices))


def texts(stream: bytes, *, usage: bool = True) -> list[str]:
    """Each choice's text in a legal stream."""
    found: dict[int, str] = {}
    for chunk in legal(stream, usage=usage):
        for piece in chunk["choices"]:
            found[piece["index"]] = found.get(piece["index"], "") + piece["text"]
    return [found[index] for index in sorted(found)]


def together(data: st.DataObject, blocks: list[bytes]) -> list[bytes]:
    """The same stream in fewer blocks, as a relay may carry it."""
    joined = []
    start = 0
    while start < len(blocks):
        end = data.draw(st.integers(start + 1, len(blocks)))
        joined.append(b"".join(blocks[start:end]))
        start = end
    return joined


def resumed(sent: list[bytes], more: list[bytes], *, usage: bool = True, **view: Any) -> bytes:
    """What a caller gets of a call that broke off and of the one that took over."""
    one = StreamView(include_usage=usage, **view)
    got = [one.take(block) for block in sent]
    one.taken_over(sent)
    return b"".join([*got, *map(one.take, more)])


# With and without usage


@settings(deadline=None)
@given(spoken(), st.booleans(), st.data())
def test_a_caller_gets_what_it_would_have_got_alone(
    case: Spoken, asked: bool, data: st.DataObject
) -> None:
    document, tokens = case
    chunks = upstream(data.draw, document, tokens)
    shared = blocks_of(chunks, request(len(tokens)))
    options = {"include_usage": True} if asked else {}
    alone = blocks_of(chunks, request(len(tokens), stream_options=options))
    view = StreamView(include_usage=asked)
    got = b"".join(map(view.take, together(data, shared)))
    assert got == b"".join(alone)
    legal(got, usage=asked)


@settings(deadline=None)
@given(spoken(), st.booleans())
def test_a_replay_is_legal_for_every_caller(case: Spoken, asked: bool) -> None:
    document, _ = case
    stream = StreamView(include_usage=asked).take(replay(orjson.dumps(document)))
    assert texts(stream, usage=asked) == [c["text"] for c in document["choices"]]


@pytest.mark.parametrize(
    "text", ['"usage":null}', ',"usage":null}\n\n', "data: [DONE]\n\n", '{"usage":null}', "\\n\\n"]
)
@pytest.mark.parametrize("asked", [True, False])
def test_a_text_that_looks_like_an_event_is_a_text(text: str, asked: bool) -> None:
    view = StreamView(include_usage=asked)
    stream = b"".join(map(view.take, said([text, text])))
    assert texts(stream, usage=asked) == [text + text]


def test_a_chunk_without_choices_that_says_something_reaches_both() -> None:
    document = answer(choice(["a"]))
    extra = document | {"choices": [], "usage": None, "prompt_filter_results": [1]}
    text = document | {"choices": [part("a", 0, None, "stop")], "usage": None}
    blocks = blocks_of([extra, text, document | {"choices": []}], request())
    for asked in (True, False):
        stream = b"".join(map(StreamView(include_usage=asked).take, blocks))
        assert legal(stream, usage=asked)[0]["prompt_filter_results"] == [1]


# Part of a batch


@st.composite
def partly(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[Any], list[int], int]:
    """The answer to each prompt, its tokens, which prompts are missing, and choices per prompt."""
    n = draw(st.integers(1, 2))
    prompts = draw(st.integers(2, 4))
    missing = draw(st.sets(st.integers(0, prompts - 1), min_size=1, max_size=prompts - 1))
    documents, tokens = [], []
    for prompt in range(prompts):
        own = draw(st.lists(st.lists(TOKEN, max_size=4), min_size=n, max_size=n))
        choices = [choice(one, index) for index, one in enumerate(own)]
        documents.append(answer(*choices, id=f"cmpl-{prompt}"))
        tokens.append(own)
    return documents, tokens, sorted(missing), n


def fresh_blocks(
    documents: list[dict[str, Any]], tokens: list[Any], missing: list[int], n: int
) -> list[bytes]:
    """The stream of a call for the missing prompts."""
    choices = [
        plain | {"index": position * n + plain["index"]}
        for position, prompt in enumerate(missing)
        for plain in documents[prompt]["choices"]
    ]
    spoken_tokens = [own for prompt in missing for own in tokens[prompt]]
    usage = {name: count * len(missing) for name, count in USAGE.items()}
    return live(answer(*choices, id="cmpl-new", usage=usage), spoken_tokens)


@settings(deadline=None)
@given(partly(), st.booleans(), st.data())
def test_a_batch_known_in_part_is_one_stream_by_the_index_rule(
    case: tuple[list[dict[str, Any]], list[Any], list[int], int],
    asked: bool,
    data: st.DataObject,
) -> None:
    documents, tokens, missing, n = case
    bodies = {place: orjson.dumps(document) for place, document in enumerate(documents)}
    known = {place: body for place, body in bodies.items() if place not in missing}
    view = StreamView(include_usage=asked, places=missing, known=known, n=n)
    blocks = together(data, fresh_blocks(documents, tokens, missing, n))
    stream = b"".join(map(view.take, blocks))
    whole = orjson.loads(merge(bodies, len(documents), n, missing[0])) | {"id": "cmpl-new"}
    assert texts(stream, usage=asked) == [c["text"] for c in whole["choices"]]
    if asked:
        assert assembled(stream) == whole


def test_a_chunk_without_choices_that_says_something_reaches_a_batch_known_in_part() -> None:
    document = answer(choice(["a"]))
    extra = document | {"choices": [], "usage": None, "prompt_filter_results": [1]}
    text = document | {"choices": [part("a", 0, None, "stop")], "usage": None}
    blocks = blocks_of([text, extra, document | {"choices": []}], request())
    view = StreamView(
        include_usage=True, places=[1], known={0: orjson.dumps(answer(choice(["k"])))}
    )
    stream = b"".join(map(view.take, blocks))
    assert any("prompt_filter_results" in chunk for chunk in legal(stream))


# Taken over


@settings(max_examples=200, deadline=None)
@given(spoken(logprobs=False), st.booleans(), st.data())
def test_taken_over_anywhere_the_whole_text_comes_once(
    case: Spoken, asked: bool, data: st.DataObject
) -> None:
    document, tokens = case
    first = blocks_of(upstream(data.draw, document, tokens), request(len(tokens)))
    again = document | {"id": "cmpl-2", "created": 1_650_000_000}
    second = blocks_of(upstream(data.draw, again, tokens), request(len(tokens)))
    cut = data.draw(st.integers(0, len(first) - 1))
    stream = resumed(first[:cut], together(data, second), usage=asked)
    assert texts(stream, usage=asked) == [c["text"] for c in document["choices"]]
    if asked:
        expected = [(c["finish_reason"], c.get("stop_reason")) for c in document["choices"]]
        found = [(c["finish_reason"], c.get("stop_reason")) for c in assembled(stream)["choices"]]
        assert found == expected


@settings(deadline=None)
@given(spoken(), st.data())
def test_taken_over_by_a_kept_answer_the_whole_text_comes_once(
    case: Spoken, data: st.DataObject
) -> None:
    document, tokens = case
    first = live(document, tokens)
    sent = first[: data.draw(st.integers(1, len(first) - 1))]
    try:
        stream = resumed(sent, [replay(orjson.dumps(document))])
    except Diverged:
        # The pieces of a replay need not end where tokens do.
        assert any(c["logprobs"] for c in document["choices"])
    else:
        assert texts(stream) == [c["text"] for c in document["choices"]]


@settings(max_examples=200, deadline=None)
@given(spoken(logprobs=False), spoken(logprobs=False), st.data())
def test_a_call_that_says_something_else_is_never_mixed_in(
    one: Spoken, other: Spoken, data: st.DataObject
) -> None:
    count = min(len(one[1]), len(other[1]))
    shared = data.draw(st.lists(TOKEN, max_size=3))
    both = [[shared + own for own in tokens[:count]] for _, tokens in (one, other)]
    first, second = said(*both[0]), said(*both[1])
    sent = first[: data.draw(st.integers(0, len(first) - 1))]
    wholes = [["".join(own) for own in tokens] for tokens in both]
    begun, ended = _so_far(sent, count)
    fits = all(
        wholes[1][i] == begun[i] if i in ended else wholes[1][i].startswith(begun[i])
        for i in range(count)
    )
    try:
        stream = resumed(sent, second)
    except Diverged:
        assert not fits
    else:
        for index, text in enumerate(texts(stream)):
            assert text == wholes[0 if index in ended else 1][index]


def _so_far(blocks: list[bytes], count: int) -> tuple[list[str], set[int]]:
    begun, ended = [""] * count, set()
    for payload in payloads(b"".join(blocks)):
        for piece in orjson.loads(payload)["choices"]:
            begun[piece["index"]] += piece["text"]
            if piece["finish_reason"]:
                ended.add(piece["index"])
    return begun, ended


@settings(max_examples=200, deadline=None)
@given(st.lists(TOKEN, max_size=6), st.data())
def test_taken_over_again_and_again_the_whole_text_comes_once(
    tokens: list[str], data: st.DataObject
) -> None:
    document = answer(choice(tokens))
    view = StreamView(include_usage=True)
    got, sent = [], []
    for number in range(3):
        chunks = upstream(data.draw, document | {"id": f"cmpl-{number}"}, [tokens])
        blocks = blocks_of(chunks, request())
        if number < 2:
            blocks = blocks[: data.draw(st.integers(0, len(blocks) - 1))]
        for block in blocks:
            sent.append(block)
            got.append(view.take(block))
        if number < 2:
            view.taken_over(sent)
    assert texts(b"".join(got)) == ["".join(tokens)]


@settings(deadline=None)
@given(partly(), st.data())
def test_a_batch_known_in_part_is_taken_over_too(
    case: tuple[list[dict[str, Any]], list[Any], list[int], int], data: st.DataObject
) -> None:
    documents, tokens, missing, n = case
    bodies = {place: orjson.dumps(document) for place, document in enumerate(documents)}
    known = {place: body for place, body in bodies.items() if place not in missing}
    blocks = fresh_blocks(documents, tokens, missing, n)
    sent = blocks[: data.draw(st.integers(0, len(blocks) - 1))]
    stream = resumed(sent, together(data, blocks), places=missing, known=known, n=n)
    whole = orjson.loads(merge(bodies, len(documents), n, missing[0])) | {"id": "cmpl-new"}
    assert assembled(stream) == whole


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(TOKEN, max_size=5), min_size=1, max_size=2), st.data())
def test_taken_over_between_tokens_every_log_probability_comes_once(
    tokens: list[list[str]], data: st.DataObject
) -> None:
    blocks = said(*tokens, logprobs=True)
    sent = blocks[: data.draw(st.integers(1, len(blocks) - 1))]
    stream = resumed(sent, together(data, blocks))
    assert assembled(stream) == assembled(b"".join(blocks))


def test_a_token_without_text_keeps_its_log_probability_after_a_take_over() -> None:
    blocks = said(["a", "", "b"], logprobs=True)
    [only] = assembled(resumed(blocks[:1], blocks))["choices"]
    assert only["logprobs"]["tokens"] == ["a", "", "b"]


def test_tokens_that_end_elsewhere_are_not_cut_in_two() -> None:
    with pytest.raises(Diverged):
        resumed(said(["a", "b"], logprobs=True)[:1], said(["ab"], logprobs=True))


def test_a_shorter_answer_does_not_continue_a_longer_one() -> None:
    with pytest.raises(Diverged):
        resumed(said(["abc", "d"])[:1], said(["ab"]))


def test_a_stream_that_was_sent_whole_needs_nothing_more() -> None:
    # Its call can break off after its last event: nobody has said yet that it landed.
    blocks = said(["a", "b"])
    stream = resumed(blocks, blocks)
    assert stream == b"".join(blocks)
    assert stream.count(sse.DONE_EVENT) == 1


def test_one_envelope_stands_over_both_calls() -> None:
    stream = resumed(said(["a", "b"], id="cmpl-1")[:1], said(["a", "b"], id="cmpl-2"))
    assert {chunk["id"] for chunk in legal(stream)} == {"cmpl-1"}


def test_an_extra_of_a_choice_that_had_not_begun_is_not_lost() -> None:
    # Servers put the prompt's log-probabilities into a choice's first chunk, which may be empty.
    def chunks(prompt_logprobs: Any) -> list[Any]:
        document = answer()
        first = part("a", 0, None, "stop")
        second = part("", 1, None) | {"prompt_logprobs": prompt_logprobs}
        last = part("b", 1, None, "stop")
        return [document | {"choices": [one], "usage": None} for one in (first, second, last)]

    blocks = blocks_of([*chunks([None]), answer()], request(2))
    stream = resumed(blocks[:1], blocks)
    assert assembled(stream)["choices"][1]["prompt_logprobs"] == [None]
