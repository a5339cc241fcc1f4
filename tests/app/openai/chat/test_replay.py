"""Between the two shapes of one chat answer."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.family import NotAssembled
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from app.openai.chat.replay import PIECE_CHARACTERS, ChatAssembly, replay
from tests.app.openai.chat.chatting import USAGE, answer, deltas, event, request, shaped

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
CALL = st.builds(
    lambda own, name, arguments: {
        "id": f"c{own}",
        "type": "function",
        "function": {"name": f"f{name}", "arguments": arguments},
    },
    TEXT,
    TEXT,
    TEXT,
)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """A message as OpenAI's plain answers have them, and as vLLM and others extend them."""
    message: dict[str, Any] = {"content": draw(st.none() | TEXT), "refusal": None}
    for name in ("reasoning_content", "reasoning"):
        if draw(st.booleans()):
            message[name] = draw(TEXT.filter(bool))
    if draw(st.booleans()):
        message["annotations"] = draw(st.lists(st.dictionaries(TEXT, TEXT), max_size=2))
    if draw(st.booleans()):
        message["tool_calls"] = draw(
            st.lists(CALL, min_size=1, max_size=3, unique_by=lambda call: call["id"])
        )
        message["content"] = message["content"] or None
    if draw(st.booleans()):
        data = base64.b64encode(draw(st.binary(max_size=50))).decode()
        message["audio"] = {"id": "a", "expires_at": 5, "data": data, "transcript": draw(TEXT)}
        message["content"] = message["content"] or None
    return message


def again(body: bytes) -> dict[str, Any]:
    """A plain answer as a stream, and that as a plain answer."""
    chunks, end = replay(body)
    assembly = ChatAssembly()
    assembly.add(chunks)
    found: dict[str, Any] = orjson.loads(assembly.body(end))
    return found


@settings(deadline=None)
@given(st.lists(messages(), min_size=1, max_size=3))
def test_an_answer_survives_both_ways(given_messages: list[dict[str, Any]]) -> None:
    document = answer(*given_messages, system_fingerprint="f")
    assert again(orjson.dumps(document)) == document


@settings(deadline=None)
@given(messages())
def test_a_replayed_stream_is_one_that_passes_the_shaper_untouched(message: dict[str, Any]) -> None:
    chunks, end = replay(orjson.dumps(answer(message)))
    passed, passed_end = shaped([one.document for one in chunks])
    assert [one.payload for one in passed] == [one.payload for one in chunks]
    assert isinstance(passed_end, StreamEnd)
    assert end == StreamEnd(Usage(3, 2), {"usage": USAGE})


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["content", "reasoning_content"]), TEXT)))
def test_text_is_the_same_however_it_is_cut(said: list[tuple[str, str]]) -> None:
    events = [event({"role": "assistant", "content": ""})]
    events += [event({name: text}) for name, text in said]
    chunks, end = shaped([*events, event({}, "stop")])
    assembly = ChatAssembly()
    assembly.add(chunks)
    assert isinstance(end, StreamEnd)
    message = orjson.loads(assembly.body(end))["choices"][0]["message"]
    for name in ("content", "reasoning_content"):
        expected = "".join(text for one, text in said if one == name)
        assert (message.get(name) or "") == expected


def test_a_long_answer_comes_in_pieces_that_a_reader_can_bear() -> None:
    text = "é" * (3 * PIECE_CHARACTERS)
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": text}}
    audio = {"id": "a", "data": "AAAA" * 10_000, "transcript": text, "expires_at": 1}
    message = {"content": text, "reasoning_content": text, "tool_calls": [call], "audio": audio}
    document = answer({"refusal": None} | message)
    body = orjson.dumps(document)
    assert max(len(one.payload) for one in replay(body).chunks) < 1 << 16
    assert again(body) == document


def test_the_first_delta_has_the_role_and_the_last_the_reason() -> None:
    chunks = replay(orjson.dumps(answer({"content": "Hi"}))).chunks
    assert [delta.get("role") for delta in deltas(chunks)] == ["assistant", None, None]
    assert [one.document["choices"][0]["finish_reason"] for one in chunks] == [None, None, "stop"]


def entries(*tokens: str) -> list[dict[str, Any]]:
    return [
        {"token": token, "logprob": -1.0, "bytes": None, "top_logprobs": []} for token in tokens
    ]


@pytest.mark.parametrize("text", ["ab " * 100, "x" * 250])
def test_log_probabilities_go_with_their_pieces(text: str) -> None:
    document = answer({"content": text, "refusal": None})
    document["choices"][0]["logprobs"] = {"content": entries(*["ab "] * 100), "refusal": None}
    body = orjson.dumps(document)
    assert again(body) == document
    sizes = [
        len(said["content"])
        for one in replay(body).chunks
        if (said := one.document["choices"][0]["logprobs"])
    ]
    assert sizes == [64, 36]


def test_live_log_probabilities_add_up() -> None:
    said = [{"content": entries(token), "refusal": None} for token in "ab"]
    events = [event({"role": "assistant", "content": ""}, logprobs=None)]
    events += [event({"content": t}, logprobs=s) for t, s in zip("ab", said, strict=True)]
    assert plain([*events, event({}, "stop")])["choices"][0]["logprobs"] == {
        "content": entries("a", "b"),
        "refusal": None,
    }


def plain(events: list[dict[str, Any]], **asked: Any) -> dict[str, Any]:
    chunks, end = shaped(events, request(stream=True, **asked))
    assert isinstance(end, StreamEnd)
    assembly = ChatAssembly()
    assembly.add(chunks)
    found: dict[str, Any] = orjson.loads(assembly.body(end))
    return found


def test_what_only_streams_have_is_not_kept() -> None:
    found = plain([event({"content": "a"}, obfuscation="xyz"), event({}, "stop")])
    assert "obfuscation" not in found


def test_what_filters_say_of_a_choice_is_brought_up_to_date() -> None:
    events = [event({"content": "a"}), event({"content": "b"}), event({}, "stop")]
    for one, said in zip(events, ({}, {"hate": {"filtered": False}}, {}), strict=True):
        one["choices"][0]["content_filter_results"] = said
    choice = plain(events)["choices"][0]
    assert choice["content_filter_results"] == {"hate": {"filtered": False}}


def test_reasoning_blocks_go_on_under_their_index() -> None:
    blocks = [{"type": "reasoning.text", "index": 0, "text": text} for text in "ab"]
    blocks.append({"type": "reasoning.text", "index": 1, "text": "c", "signature": "s"})
    events = [event({"content": "", "reasoning_details": [block]}) for block in blocks]
    assert plain([*events, event({}, "stop")])["choices"][0]["message"]["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "text": "ab"},
        {"type": "reasoning.text", "index": 1, "text": "c", "signature": "s"},
    ]


def test_a_sound_is_joined_though_each_piece_is_padded() -> None:
    pieces = [base64.b64encode(part).decode() for part in (b"a", b"bcde")]
    events = [event({"audio": {"id": "x", "transcript": "t"}})]
    events += [event({"audio": {"data": piece}}) for piece in pieces]
    found = plain([*events, event({"audio": {"expires_at": 9}}), event({}, "stop")])
    audio = found["choices"][0]["message"]["audio"]
    assert base64.b64decode(audio["data"]) == b"abcde"
    assert (audio["id"], audio["transcript"], audio["expires_at"]) == ("x", "t", 9)


def test_the_older_function_call_is_joined() -> None:
    events = [event({"function_call": {"name": "f", "arguments": ""}})]
    events += [event({"function_call": {"arguments": part}}) for part in ("{", "}")]
    message = plain([*events, event({}, "function_call")])["choices"][0]["message"]
    assert message["function_call"] == {"name": "f", "arguments": "{}"}
    assert (
        again(orjson.dumps(answer({"refusal": None} | message)))["choices"][0]["message"] == message
    )


@pytest.mark.parametrize(
    "events",
    [
        [event({"content": "a", "mood": "good"}), event({"mood": "bad"}), event({}, "stop")],
        [event({"audio": {"data": "?"}}), event({}, "stop")],
        [event({"reasoning_details": ["a"]}), event({}, "stop")],
        [event({"tool_calls": [{"index": 0, "id": "a"}]}), event({}, "tool_calls")],
    ],
)
def test_what_would_be_guessed_is_not_assembled(events: list[dict[str, Any]]) -> None:
    with pytest.raises(NotAssembled):
        plain(events)


def test_an_empty_stream_is_no_answer() -> None:
    with pytest.raises(NotAssembled):
        ChatAssembly().body(StreamEnd(Usage(0, 0), {"usage": USAGE}))


def test_assembling_leaves_the_chunks_as_they_are() -> None:
    chunks = replay(orjson.dumps(answer({"content": "a", "annotations": [{"b": 1}]}))).chunks
    before = [orjson.dumps(one.document) for one in chunks]
    for _ in range(2):
        assembly = ChatAssembly()
        assembly.add(chunks)
        assembly.add([Chunk.of(event({"annotations": [{"c": 2}]}))])
        assembly.body(StreamEnd(Usage(0, 0), {"usage": USAGE}))
    assert [orjson.dumps(one.document) for one in chunks] == before
