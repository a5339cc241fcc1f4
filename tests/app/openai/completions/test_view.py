"""Whoever reads a shared stream gets what it would have got alone."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.family import Diverged, Replay
from app.core.reply import Chunk
from app.openai.completions.parts import merge
from app.openai.completions.replay import replay
from app.openai.completions.view import CompletionView
from tests.app.openai.completions.test_replay import (
    TOKEN,
    USAGE,
    answer,
    assembled,
    choice,
    legal,
    part,
    request,
    shaped,
    spoken,
    upstream,
)
from tests.harness.chain import on_the_wire

Spoken = tuple[dict[str, Any], list[list[str]]]


def live(document: dict[str, Any], tokens: list[list[str]]) -> Replay:
    """A stream that gives one token at a time, one choice after another."""
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
    return shaped([*chunks, document | {"choices": []}], request(len(tokens)))


def said(*choices: list[str], logprobs: bool = False, **more: Any) -> Replay:
    """The stream of an answer whose choices have these tokens."""
    plain = [
        choice(own, index, logprobs=logprobs and bool(own)) for index, own in enumerate(choices)
    ]
    return live(answer(*plain, **more), list(choices))


def texts(stream: Replay, *, usage: bool = True) -> list[str]:
    """Each choice's text in a legal stream."""
    found: dict[int, str] = {}
    for chunk in legal(stream, usage=usage):
        for piece in chunk["choices"]:
            found[piece["index"]] = found.get(piece["index"], "") + piece["text"]
    return [found[index] for index in sorted(found)]


def view_of(**batch: Any) -> CompletionView:
    """A caller's view: of all that a stream answers, or of a part of its ``batch``."""
    return CompletionView(**batch)


def together(data: st.DataObject, chunks: list[Chunk]) -> list[list[Chunk]]:
    """The same chunks, several at a time, as a relay may carry them."""
    groups = []
    start = 0
    while start < len(chunks):
        end = data.draw(st.integers(start + 1, len(chunks)))
        groups.append(chunks[start:end])
        start = end
    return groups


def seen(view: CompletionView, stream: Replay, data: st.DataObject | None = None) -> Replay:
    """What a caller gets of a stream, whose chunks come one by one or as ``data`` says."""
    groups = together(data, stream.chunks) if data else [[chunk] for chunk in stream.chunks]
    return Replay([own for group in groups for own in view.take(group)], view.end(stream.end))


def resumed(
    sent: list[Chunk], more: Replay, data: st.DataObject | None = None, **batch: Any
) -> Replay:
    """What a caller gets of a call that broke off and of the one that took over."""
    view = view_of(**batch)
    got = [own for chunk in sent for own in view.take([chunk])]
    view.taken_over(sent)
    rest = seen(view, more, data)
    return Replay([*got, *rest.chunks], rest.end)


# With and without usage


@settings(deadline=None)
@given(spoken(), st.booleans(), st.data())
def test_a_caller_gets_what_it_would_have_got_alone(
    case: Spoken, asked: bool, data: st.DataObject
) -> None:
    document, tokens = case
    chunks = upstream(data.draw, document, tokens)
    shared = shaped(chunks, request(len(tokens)))
    options = {"include_usage": True} if asked else {}
    alone = shaped(chunks, request(len(tokens), stream_options=options))
    got = seen(view_of(), shared, data)
    assert on_the_wire(*got, usage=asked) == on_the_wire(*alone, usage=asked)
    legal(got, usage=asked)


@settings(deadline=None)
@given(spoken(), st.booleans())
def test_a_replay_is_legal_for_every_caller(case: Spoken, asked: bool) -> None:
    document, _ = case
    stream = seen(view_of(), replay(orjson.dumps(document)))
    assert texts(stream, usage=asked) == [c["text"] for c in document["choices"]]


@pytest.mark.parametrize(
    "text", ['"usage":null}', ',"usage":null}\n\n', "data: [DONE]\n\n", '{"usage":null}', "\\n\\n"]
)
@pytest.mark.parametrize("asked", [True, False])
def test_a_text_that_looks_like_an_event_is_a_text(text: str, asked: bool) -> None:
    assert texts(seen(view_of(), said([text, text])), usage=asked) == [text + text]


def test_a_chunk_without_choices_that_says_something_reaches_both() -> None:
    document = answer(choice(["a"]))
    extra = document | {"choices": [], "usage": None, "prompt_filter_results": [1]}
    text = document | {"choices": [part("a", 0, None, "stop")], "usage": None}
    stream = seen(view_of(), shaped([extra, text, document | {"choices": []}], request()))
    for asked in (True, False):
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


def fresh_stream(
    documents: list[dict[str, Any]], tokens: list[Any], missing: list[int], n: int
) -> Replay:
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
    view = view_of(positions=missing, known=known, n=n)
    stream = seen(view, fresh_stream(documents, tokens, missing, n), data)
    whole = orjson.loads(merge(bodies, len(documents), n, missing[0])) | {"id": "cmpl-new"}
    assert texts(stream, usage=asked) == [c["text"] for c in whole["choices"]]
    assert assembled(stream) == whole


def test_a_chunk_without_choices_that_says_something_reaches_a_batch_known_in_part() -> None:
    document = answer(choice(["a"]))
    extra = document | {"choices": [], "usage": None, "prompt_filter_results": [1]}
    text = document | {"choices": [part("a", 0, None, "stop")], "usage": None}
    fresh = shaped([text, extra, document | {"choices": []}], request())
    stream = seen(view_of(positions=[1], known={0: orjson.dumps(answer(choice(["k"])))}), fresh)
    assert any("prompt_filter_results" in chunk for chunk in legal(stream))


# Taken over


@settings(max_examples=200, deadline=None)
@given(spoken(logprobs=False), st.booleans(), st.data())
def test_taken_over_anywhere_the_whole_text_comes_once(
    case: Spoken, asked: bool, data: st.DataObject
) -> None:
    document, tokens = case
    first = shaped(upstream(data.draw, document, tokens), request(len(tokens))).chunks
    again = document | {"id": "cmpl-2", "created": 1_650_000_000}
    second = shaped(upstream(data.draw, again, tokens), request(len(tokens)))
    cut = data.draw(st.integers(0, len(first)))
    stream = resumed(first[:cut], second, data)
    assert texts(stream, usage=asked) == [c["text"] for c in document["choices"]]
    expected = [(c["finish_reason"], c.get("stop_reason")) for c in document["choices"]]
    found = [(c["finish_reason"], c.get("stop_reason")) for c in assembled(stream)["choices"]]
    assert found == expected


@settings(deadline=None)
@given(spoken(), st.data())
def test_taken_over_by_a_kept_answer_the_whole_text_comes_once(
    case: Spoken, data: st.DataObject
) -> None:
    document, tokens = case
    first = live(document, tokens).chunks
    sent = first[: data.draw(st.integers(1, len(first)))]
    try:
        stream = resumed(sent, replay(orjson.dumps(document)))
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
    sent = first.chunks[: data.draw(st.integers(0, len(first.chunks)))]
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


def _so_far(chunks: list[Chunk], count: int) -> tuple[list[str], set[int]]:
    begun, ended = [""] * count, set()
    for chunk in chunks:
        for piece in chunk.document["choices"]:
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
    view = view_of()
    got: list[Chunk] = []
    sent: list[Chunk] = []
    for number in range(3):
        again = document | {"id": f"cmpl-{number}"}
        chunks, end = shaped(upstream(data.draw, again, [tokens]), request())
        if number < 2:
            chunks = chunks[: data.draw(st.integers(0, len(chunks)))]
        for chunk in chunks:
            sent.append(chunk)
            got += view.take([chunk])
        if number < 2:
            view.taken_over(sent)
    assert texts(Replay(got, view.end(end))) == ["".join(tokens)]


@settings(deadline=None)
@given(partly(), st.data())
def test_a_batch_known_in_part_is_taken_over_too(
    case: tuple[list[dict[str, Any]], list[Any], list[int], int], data: st.DataObject
) -> None:
    documents, tokens, missing, n = case
    bodies = {place: orjson.dumps(document) for place, document in enumerate(documents)}
    known = {place: body for place, body in bodies.items() if place not in missing}
    fresh = fresh_stream(documents, tokens, missing, n)
    sent = fresh.chunks[: data.draw(st.integers(0, len(fresh.chunks)))]
    stream = resumed(sent, fresh, data, positions=missing, known=known, n=n)
    whole = orjson.loads(merge(bodies, len(documents), n, missing[0])) | {"id": "cmpl-new"}
    assert assembled(stream) == whole


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(TOKEN, max_size=5), min_size=1, max_size=2), st.data())
def test_taken_over_between_tokens_every_log_probability_comes_once(
    tokens: list[list[str]], data: st.DataObject
) -> None:
    whole = said(*tokens, logprobs=True)
    sent = whole.chunks[: data.draw(st.integers(1, len(whole.chunks)))]
    assert assembled(resumed(sent, whole, data)) == assembled(whole)


def test_a_token_without_text_keeps_its_log_probability_after_a_take_over() -> None:
    whole = said(["a", "", "b"], logprobs=True)
    [only] = assembled(resumed(whole.chunks[:1], whole))["choices"]
    assert only["logprobs"]["tokens"] == ["a", "", "b"]


def test_tokens_that_end_elsewhere_are_not_cut_in_two() -> None:
    with pytest.raises(Diverged):
        resumed(said(["a", "b"], logprobs=True).chunks[:1], said(["ab"], logprobs=True))


def test_a_shorter_answer_does_not_continue_a_longer_one() -> None:
    with pytest.raises(Diverged):
        resumed(said(["abc", "d"]).chunks[:1], said(["ab"]))


def test_a_stream_that_was_sent_whole_needs_nothing_more() -> None:
    # Its call can break off after its last chunk: nobody has said yet that it was whole.
    whole = said(["a", "b"])
    assert resumed(whole.chunks, whole) == whole


def test_one_envelope_stands_over_both_calls() -> None:
    stream = resumed(said(["a", "b"], id="cmpl-1").chunks[:1], said(["a", "b"], id="cmpl-2"))
    assert {chunk["id"] for chunk in legal(stream)} == {"cmpl-1"}


def test_an_extra_of_a_choice_that_had_not_begun_is_not_lost() -> None:
    # Servers put the prompt's log-probabilities into a choice's first chunk, which may be empty.
    def chunks(prompt_logprobs: Any) -> list[Any]:
        document = answer()
        first = part("a", 0, None, "stop")
        second = part("", 1, None) | {"prompt_logprobs": prompt_logprobs}
        last = part("b", 1, None, "stop")
        return [document | {"choices": [one], "usage": None} for one in (first, second, last)]

    whole = shaped([*chunks([None]), answer()], request(2))
    stream = resumed(whole.chunks[:1], whole)
    assert assembled(stream)["choices"][1]["prompt_logprobs"] == [None]


def test_a_view_changes_no_chunk() -> None:
    # Others read the same chunks.
    whole = said(["a", "b"], ["c"])
    known = {0: orjson.dumps(answer(choice(["k"])))}
    seen(view_of(positions=[1, 2], known=known), whole)
    resumed(whole.chunks[:1], whole)
    assert [orjson.dumps(c.document) for c in whole.chunks] == [c.payload for c in whole.chunks]
