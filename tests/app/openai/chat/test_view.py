"""A shared chat stream as one caller gets it, also where another call took over."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.family import Diverged
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from app.openai.chat.replay import ChatAssembly, replay
from app.openai.chat.view import ChatView
from tests.app.openai.chat.chatting import USAGE, answer, call_piece, event

END = StreamEnd(Usage(3, 2), {"usage": USAGE})


def stream(*deltas: dict[str, Any], id: str = "chatcmpl-1") -> list[Chunk]:
    """A whole stream of these deltas."""
    events = [event({"role": "assistant", "content": ""}), *map(event, deltas), event({}, "stop")]
    return [Chunk.of(one | {"id": id}) for one in events]


def after(sent: list[Chunk], *others: list[Chunk]) -> list[Chunk]:
    """All that the caller has, where ``sent`` broke off and other calls took over in turn."""
    view = ChatView()
    got = list(view.take(sent))
    for other in others:
        view.taken_over(sent)
        got += view.take(other)
    return got


def said(chunks: list[Chunk]) -> dict[str, Any]:
    assembly = ChatAssembly()
    assembly.add(chunks)
    message: dict[str, Any] = orjson.loads(assembly.body(END))["choices"][0]["message"]
    return message


def test_a_whole_stream_is_handed_on_as_it_is() -> None:
    chunks = stream({"content": "a"})
    assert ChatView().take(chunks) is chunks
    assert ChatView().end(END) is END


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CALLS = st.lists(st.tuples(TEXT, TEXT), max_size=2)


@settings(deadline=None)
@given(st.data(), TEXT, TEXT, CALLS)
def test_whatever_was_sent_is_left_out(
    data: st.DataObject, content: str, reasoning: str, calls: list[tuple[str, str]]
) -> None:
    message: dict[str, Any] = {"content": content, "refusal": None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["content"] = content or None
        message["tool_calls"] = [
            {"id": f"c{i}", "type": "function", "function": {"name": f"f{name}", "arguments": text}}
            for i, (name, text) in enumerate(calls)
        ]
    first = pieces_of(message, data)
    broken = first[: data.draw(st.integers(1, len(first)))]
    whole = said(after(broken, pieces_of(message, data)))
    assert whole == {"role": "assistant"} | message


def pieces_of(message: dict[str, Any], data: st.DataObject) -> list[Chunk]:
    """The stream of a message, its texts cut anywhere."""
    chunks = replay(orjson.dumps(answer(message))).chunks
    cut: list[Chunk] = []
    for chunk in chunks:
        delta = chunk.document["choices"][0]["delta"]
        name = next((n for n in ("content", "reasoning_content") if delta.get(n)), None)
        arguments = [
            c["function"]["arguments"] for c in delta.get("tool_calls", ()) if "id" not in c
        ]
        text = delta[name] if name else arguments[0] if arguments else ""
        if len(text) < 2:
            cut.append(chunk)
            continue
        place = data.draw(st.integers(1, len(text) - 1))
        for piece in (text[:place], text[place:]):
            own = (
                {name: piece}
                if name
                else call_piece(delta["tool_calls"][0]["index"], arguments=piece)
            )
            cut.append(Chunk.of(event(own)))
    return cut


def test_the_envelope_and_the_ids_of_the_first_call_stay() -> None:
    first = stream(call_piece(0, id="a", type="function", name="f", arguments='{"x'))[:-1]
    second = stream(call_piece(0, id="b", type="function", name="f", arguments='{"x": 1}'), id="2")
    got = after(first, second)
    assert {chunk.document["id"] for chunk in got} == {"chatcmpl-1"}
    assert said(got)["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    ]


def test_a_second_take_over_goes_on_from_all_that_was_sent() -> None:
    first, second = stream({"content": "ab"})[:-1], stream({"content": "abc"})[:-1]
    assert said(after(first, second, stream({"content": "abcd"})))["content"] == "abcd"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"content": "ab"}, {"content": "ax"}),
        ({"content": "ab"}, {"content": "a"}),
        ({"reasoning_content": "ab"}, {"content": "ab"}),
        (
            call_piece(0, id="a", type="function", name="f", arguments="{}"),
            call_piece(0, id="b", type="function", name="g", arguments="{}"),
        ),
        (
            call_piece(0, id="a", type="function", name="f", arguments="{}"),
            call_piece(0, id="b", type="function", name="f", arguments="[]"),
        ),
        ({"annotations": [{"a": 1}]}, {"content": "a"}),
        ({"content": "a"}, {"audio": {"data": "AAAA"}}),
    ],
)
def test_another_answer_is_noticed(first: dict[str, Any], second: dict[str, Any]) -> None:
    with pytest.raises(Diverged):
        after(stream(first)[:-1], stream(second))


def test_log_probabilities_of_what_was_sent_are_left_out() -> None:
    def told(text: str) -> dict[str, Any]:
        entries = [{"token": letter, "logprob": -1.0} for letter in text]
        return event({"content": text}, logprobs={"content": entries, "refusal": None})

    first = [Chunk.of(event({"role": "assistant", "content": ""})), Chunk.of(told("ab"))]
    second = [first[0], Chunk.of(told("abc")), Chunk.of(event({}, "stop"))]
    got = after(first, second)
    tokens = [
        entry["token"]
        for chunk in got
        for choice in chunk.document["choices"]
        for entry in (choice.get("logprobs") or {}).get("content", ())
    ]
    assert tokens == ["a", "b", "c"]


def test_a_choice_that_was_finished_is_not_finished_again() -> None:
    whole = stream({"content": "a"})
    assert after(whole, stream({"content": "a"})) == whole
