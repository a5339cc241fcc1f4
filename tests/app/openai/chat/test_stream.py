"""A streamed chat answer on its way through: what the reader can rely on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import UpstreamInvalid
from app.core.reply import StreamEnd
from app.core.usage import Usage
from app.openai.chat.replay import ChatAssembly
from app.openai.chat.stream import ChatStreamShaper
from tests.app.openai.chat.chatting import (
    NOW,
    USAGE,
    call_piece,
    chunk,
    deltas,
    event,
    request,
    shaped,
)

ROLE = {"role": "assistant", "content": ""}


def test_a_clean_stream_is_passed_on_byte_for_byte() -> None:
    events = [event(ROLE), event({"content": "Hi"}), event({}, "stop")]
    chunks, end = shaped(events)
    assert [one.payload for one in chunks] == [orjson.dumps(one) for one in events]
    assert isinstance(end, StreamEnd)


def test_the_first_delta_of_each_choice_has_the_role_and_no_other() -> None:
    events = [
        event({"role": "assistant", "content": text}, index=i) for text in "ab" for i in (0, 1)
    ]
    events += [event({}, "stop", index=0), event({}, "stop", index=1)]
    chunks, _ = shaped(events, request(stream=True, n=2))
    for index in (0, 1):
        assert [delta.get("role") for delta in deltas(chunks, index)] == ["assistant", None, None]


def test_a_missing_role_is_said() -> None:
    chunks, _ = shaped([event({"content": "a"}), event({"content": "b"}, "stop")])
    assert deltas(chunks) == [{"content": "a", "role": "assistant"}, {"content": "b"}]


def test_one_envelope_for_the_whole_stream() -> None:
    events = [
        event(ROLE) | {"id": "x", "created": 5, "model": "real"},
        event({}, "stop") | {"id": "y"},
    ]
    chunks, _ = shaped(events)
    heads = {(c.document["id"], c.document["created"], c.document["model"]) for c in chunks}
    assert heads == {("chatcmpl-x", 5, "real")}


def test_usage_is_taken_out_and_told_at_the_end() -> None:
    events = [
        event(ROLE, usage=None),
        event({}, "stop", usage=None),
        event({}) | {"choices": [], "usage": USAGE | {"completion_tokens_details": {"a": 1}}},
    ]
    chunks, end = shaped(events)
    assert len(chunks) == 2
    assert all("usage" not in one.document and b"usage" not in one.payload for one in chunks)
    assert end == StreamEnd(Usage(3, 2), {"usage": USAGE | {"completion_tokens_details": {"a": 1}}})


def test_usage_that_comes_again_is_not_summed() -> None:
    events = [event(ROLE, usage=USAGE), event({}, "stop", usage=USAGE)]
    _, end = shaped(events)
    assert isinstance(end, StreamEnd)
    assert end.usage == Usage(3, 2)


def test_usage_in_every_chunk_where_the_caller_asked_for_it() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    asked = request(stream=True, stream_options=options)
    chunks, _ = shaped([event(ROLE, usage=USAGE), event({}, "stop")], asked)
    assert [one.document["usage"] for one in chunks] == [USAGE, None]


def test_without_usage_it_is_estimated_from_all_that_was_said() -> None:
    events = [event(ROLE)] + [event({"reasoning_content": "abcd"})] * 3 + [event({}, "stop")]
    _, end = shaped(events)
    assert isinstance(end, StreamEnd)
    assert end.usage == Usage(1, 3, estimated=True)


def test_one_finish_a_choice() -> None:
    events = [event(ROLE), event({}, "stop"), event({}, "stop"), event({"content": ""})]
    chunks, _ = shaped(events)
    reasons = [choice["finish_reason"] for c in chunks for choice in c.document["choices"]]
    assert reasons == [None, "stop"]


@pytest.mark.parametrize("done", [True, False])
def test_a_cut_stream_has_no_end(done: bool) -> None:
    asked = request(stream=True, n=2)
    events = [event(ROLE), event(ROLE, index=1), event({}, "stop")]
    _, end = shaped(events, asked, done=done)
    assert isinstance(end, UpstreamInvalid)


def test_an_end_mark_is_believed_of_a_single_choice() -> None:
    assert isinstance(shaped([event(ROLE)])[1], StreamEnd)
    assert isinstance(shaped([event(ROLE)], done=False)[1], UpstreamInvalid)
    assert isinstance(shaped([])[1], UpstreamInvalid)


def test_other_members_are_kept() -> None:
    delta = {"role": "assistant", "content": None, "refusal": None, "annotations": [{"a": 1}]}
    chunks, _ = shaped([event(delta, service_tier="flex", x_groq={"id": "r"}), event({}, "stop")])
    assert deltas(chunks)[0] == delta
    assert chunks[0].document["x_groq"] == {"id": "r"}


def test_a_chunk_without_choices_that_says_something_is_passed_on_under_the_one_id() -> None:
    first = {"choices": [], "prompt_filter_results": [{}], "id": "", "model": "", "created": 0}
    chunks, _ = shaped([first, event(ROLE), event({}, "stop")])
    assert chunks[0].document["prompt_filter_results"] == [{}]
    assert len({one.document["id"] for one in chunks}) == 1


BROKEN: list[Any] = [
    [],
    {"error": {"message": "no"}},
    {"error": {"message": "no", "code": 502}, **event(ROLE)},
    {"id": "x"},
    {"choices": {"a": 1}},
    {"choices": ["a"]},
    event(ROLE) | {"choices": [{"index": 0, "delta": "a"}]},
    event({"content": 5}),
    event({}, 5),  # type: ignore[arg-type]
    event({}, index="0"),
    event({}, index=1),
    event({"tool_calls": {"a": 1}}),
    event({"tool_calls": ["a"]}),
    event({"tool_calls": [{"index": "0"}]}),
    event({"tool_calls": [{"index": 0, "id": 5}]}),
    event({"tool_calls": [{"index": 0, "function": []}]}),
]


@pytest.mark.parametrize("document", BROKEN)
def test_what_is_no_chunk_is_refused(document: Any) -> None:
    shaper = ChatStreamShaper(request(stream=True), "m", NOW)
    with pytest.raises(UpstreamInvalid):
        shaper.shape(chunk(document))


# Tool calls


def joined(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tool calls of a whole stream, joined as an SDK joins them."""
    chunks, end = shaped([event(ROLE), *events, event({}, "tool_calls")])
    assert isinstance(end, StreamEnd)
    calls: dict[int, dict[str, str]] = {}
    for delta in deltas(chunks):
        for piece in delta.get("tool_calls", ()):
            call = calls.setdefault(
                piece["index"], {"id": "", "type": "", "name": "", "arguments": ""}
            )
            for name in ("id", "type"):
                call[name] += piece.get(name) or ""
            for name in ("name", "arguments"):
                call[name] += piece.get("function", {}).get(name) or ""
    assembly = ChatAssembly()
    assembly.add(chunks)
    plain = orjson.loads(assembly.body(end))["choices"][0]["message"]["tool_calls"]
    flat = [{"id": c["id"], "type": c["type"], **c["function"]} for c in plain]
    assert flat == [calls[index] for index in sorted(calls)]
    return flat


def call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "name": name, "arguments": arguments}


def test_clean_tool_calls_are_passed_on_byte_for_byte() -> None:
    events = [
        event(ROLE),
        event(call_piece(0, id="a", type="function", name="f", arguments="")),
        event(call_piece(0, arguments='{"x"')),
        event(call_piece(0, arguments=":1}")),
        event(call_piece(1, id="b", type="function", name="g", arguments="{}")),
        event({}, "tool_calls"),
    ]
    chunks, _ = shaped(events)
    assert [one.payload for one in chunks] == [orjson.dumps(one) for one in events]


def test_id_type_and_name_are_said_once() -> None:
    pieces = [
        call_piece(0, id="a", type="function", name="f", arguments=part) for part in ("{", "}")
    ]
    assert joined([event(piece) for piece in pieces]) == [call("a", "f", "{}")]
    empty = call_piece(0, id="", type="function", name="", arguments="}")
    first = call_piece(0, id="a", type="function", name="f", arguments="{")
    assert joined([event(first), event(empty)]) == [call("a", "f", "{}")]


def test_calls_without_an_index_are_counted() -> None:
    pieces = [
        call_piece(None, id="a", name="f", arguments="{"),
        call_piece(None, arguments="}"),
        call_piece(None, id="b", name="g", arguments="{}"),
    ]
    assert joined([event(piece) for piece in pieces]) == [
        call("a", "f", "{}"),
        call("b", "g", "{}"),
    ]


def test_another_id_under_the_same_index_is_another_call() -> None:
    pieces = [call_piece(0, id=own, name=own, arguments="{}") for own in ("a", "b", "c")]
    assert joined([event(piece) for piece in pieces]) == [call(i, i, "{}") for i in ("a", "b", "c")]


def test_a_call_without_an_id_gets_one_of_its_own() -> None:
    pieces = [call_piece(i, name="f", arguments="{}") for i in (0, 1)]
    found = joined([event(piece) for piece in pieces])
    assert [one["id"] for one in found] == ["call_1_0_0", "call_1_0_1"]
    assert [one["type"] for one in found] == ["function", "function"]


def test_arguments_that_are_an_object_become_text() -> None:
    piece = call_piece(0, id="a", name="f", arguments={"x": 1})
    assert joined([event(piece)]) == [call("a", "f", '{"x":1}')]


def test_a_name_that_changes_is_refused() -> None:
    events = [event(call_piece(0, id="a", name="f")), event(call_piece(0, name="g"))]
    assert isinstance(shaped(events)[1], UpstreamInvalid)


def test_a_flood_of_calls_is_refused() -> None:
    events = (event(call_piece(i, id=str(i), name="f")) for i in range(2000))
    chunks, end = shaped(events)
    assert isinstance(end, UpstreamInvalid)
    assert len(chunks) == 1024


TEXT = st.text(max_size=40)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, st.lists(st.integers(0, 40), max_size=5)), min_size=1, max_size=4))
def test_arguments_are_the_same_however_they_are_cut(calls: list[tuple[str, list[int]]]) -> None:
    events, expected = [], []
    for index, (arguments, cuts) in enumerate(calls):
        places = [0, *sorted(min(cut, len(arguments)) for cut in cuts), len(arguments)]
        pieces = [arguments[a:b] for a, b in pairwise(places)]
        head = call_piece(index, id=f"c{index}", type="function", name="f", arguments=pieces[0])
        events.append(event(head))
        events += [event(call_piece(index, arguments=piece)) for piece in pieces[1:]]
        expected.append(call(f"c{index}", "f", arguments))
    assert joined(events) == expected
