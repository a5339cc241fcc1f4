"""What is made of a stream, whatever the upstream's habits."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import UpstreamInvalid
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from app.openai import sse
from app.openai.completions.answer import read_answer
from app.openai.completions.request import CompletionRequest, parse
from app.openai.completions.stream import StreamShaper
from tests.harness.chain import on_the_wire

NOW = 1_700_000_000
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ASKED = {"stream_options": {"include_usage": True}}
REMOVED = object()


def request(**members: Any) -> CompletionRequest:
    return parse(orjson.dumps({"model": "m", "prompt": "p", "stream": True} | members))


def chunk(*choices: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_600_000_000,
        "model": "up",
        "choices": list(choices),
    } | members


def part(text: Any = "t", index: Any = 0, reason: Any = None, **members: Any) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason} | members


def arrived(document: Any) -> Chunk:
    """A chunk as a provider decodes it."""
    payload = orjson.dumps(document)
    return Chunk(payload, orjson.loads(payload))


def run_through(
    chunks: list[Any], *, said_done: bool = False, **members: Any
) -> tuple[list[Chunk], StreamEnd]:
    """What the chain gets of these upstream chunks, where their stream is whole."""
    shaper = StreamShaper(request(**members), "asked", NOW)
    made = [shaper.shape(arrived(c)) for c in chunks]
    return [c for c in made if c is not None], shaper.end(said_done=said_done)


def shaped(chunks: list[Any], **members: Any) -> list[dict[str, Any]]:
    """The chunks that the chain gets of an upstream's whole stream."""
    return [decoded(c) for c in run_through(chunks, **members)[0]]


def at_end(chunks: list[Any], **members: Any) -> dict[str, Any]:
    """What the end of a whole stream says."""
    return dict(run_through(chunks, **members)[1].members)


def read(chunks: list[Any], *, asked: bool, **members: Any) -> list[dict[str, Any]]:
    """What a caller reads of a whole stream, the end mark taken off."""
    made, end = run_through(chunks, **members, **(ASKED if asked else {}))
    payloads = sse.EventParser().feed(on_the_wire(made, end, usage=asked))
    assert payloads.pop() == sse.DONE
    return [orjson.loads(payload) for payload in payloads]


def decoded(made: Chunk) -> dict[str, Any]:
    """The document of a chunk, which its bytes must say too."""
    document: dict[str, Any] = orjson.loads(made.payload)
    assert orjson.dumps(document) == orjson.dumps(made.document)
    return document


def broken(chunks: list[Any], **members: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        shaped(chunks, **members)


def test_a_clean_stream_passes_as_it_is() -> None:
    chunks = [chunk(part("a")), chunk(part("b", reason="stop"), system_fingerprint="f")]
    assert shaped(chunks) == chunks


def test_one_id_one_time_and_one_model_for_the_whole_stream() -> None:
    chunks = [
        chunk(part(), id="x1", created=5.5, model="first"),
        chunk(part(reason="stop"), id="x2", created=9, model="second"),
    ]
    seen = {(c["id"], c["created"], c["model"], c["object"]) for c in shaped(chunks)}
    assert seen == {("cmpl-x1", 5, "first", "text_completion")}


def test_a_chunk_without_an_envelope_gets_one() -> None:
    [only] = shaped([{"choices": [part(reason="stop")]}])
    assert only["id"].startswith("cmpl-")
    assert (only["object"], only["created"], only["model"]) == ("text_completion", NOW, "asked")


@pytest.mark.parametrize("text", [None, ""])
def test_every_choice_has_a_text(text: Any) -> None:
    assert shaped([chunk(part(text, reason="stop"))])[0]["choices"][0]["text"] == ""


def test_a_choice_without_a_text_member_has_one_afterwards() -> None:
    [only] = shaped([chunk({"index": 0, "finish_reason": "stop"})])
    assert only["choices"] == [part("", reason="stop")]


def test_a_second_finish_reason_is_not_passed_on() -> None:
    chunks = [chunk(part("a", reason="stop")), chunk(part("", reason="stop"))]
    assert [c["choices"] for c in shaped(chunks)] == [[part("a", reason="stop")]]


def test_text_after_the_end_keeps_its_place_without_a_second_reason() -> None:
    chunks = [chunk(part("a", reason="stop")), chunk(part("b", reason="length"))]
    assert shaped(chunks)[1]["choices"] == [part("b")]


# Usage


def test_usage_is_no_part_of_any_chunk() -> None:
    chunks = [chunk(part("a"), usage=None), chunk(part(reason="stop"), usage=USAGE)]
    seen = shaped([*chunks, chunk(usage=USAGE)], **ASKED)
    assert len(seen) == 2
    assert not any("usage" in c for c in seen)


def test_usage_is_stripped_when_it_was_not_asked_for() -> None:
    chunks = [chunk(part(reason="stop"), usage=None), chunk(usage=USAGE)]
    seen = read(chunks, asked=False)
    assert len(seen) == 1
    assert "usage" not in seen[0]


def test_usage_comes_once_and_last_when_it_was_asked_for() -> None:
    chunks = [chunk(part("a"), usage=None), chunk(part(reason="stop")), chunk(usage=USAGE)]
    seen = read(chunks, asked=True)
    assert [c["usage"] for c in seen] == [None, None, USAGE]
    assert seen[-1]["choices"] == []
    assert seen[-1]["id"] == "cmpl-1"


def test_usage_that_came_with_the_last_choice_gets_its_own_chunk() -> None:
    seen = read([chunk(part(reason="stop"), usage=USAGE)], asked=True)
    assert [c["usage"] for c in seen] == [None, USAGE]


def test_usage_details_stay_in_the_usage_chunk() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 1}}
    chunks = [chunk(part(reason="stop")), chunk(usage=USAGE | details)]
    assert read(chunks, asked=True)[-1]["usage"] == USAGE | details


@pytest.mark.parametrize("members", [{}, ASKED], ids=["not-asked", "asked"])
def test_the_end_knows_the_usage_whoever_asked(members: dict[str, Any]) -> None:
    chunks = [chunk(part(reason="stop")), chunk(usage=USAGE, system_fingerprint="f")]
    assert at_end(chunks, **members) == {"usage": USAGE, "system_fingerprint": "f"}


def test_usage_that_never_came_is_estimated() -> None:
    shaper = StreamShaper(request(prompt="12345678"), "asked", NOW)
    shaper.shape(arrived(chunk(part("123456789", reason="stop"))))
    assert shaper.usage == Usage(2, 3, estimated=True)


def test_continuous_usage_is_passed_on_where_it_was_asked_for() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = [chunk(part("a")), chunk(part(reason="stop"), usage=USAGE)]
    assert [c["usage"] for c in shaped(chunks, stream_options=options)] == [None, USAGE]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=4))
def test_a_streamed_answer_is_never_estimated_below_a_plain_one(pieces: list[str]) -> None:
    shaper = StreamShaper(request(), "asked", NOW)
    for piece in pieces:
        shaper.shape(arrived(chunk(part(piece))))
    whole = chunk(part("".join(pieces), reason="stop"))
    plain = read_answer(orjson.dumps(whole), parse(b'{"model":"m","prompt":"p"}'), "asked", NOW)
    assert shaper.usage is not None
    assert shaper.usage.prompt_tokens == plain.usage.prompt_tokens
    assert shaper.usage.completion_tokens >= plain.usage.completion_tokens


def test_where_nothing_went_by_nothing_was_used() -> None:
    assert StreamShaper(request(), "asked", NOW).usage is None


@pytest.mark.parametrize("asked", [False, True], ids=["not-asked", "asked"])
def test_a_usage_chunk_may_lack_choices(asked: bool) -> None:
    seen = read([chunk(part(reason="stop")), {"usage": USAGE}], asked=asked)
    assert seen[-1].get("usage") == (USAGE if asked else None)
    assert len(seen) == (2 if asked else 1)


# Bytes


CLEAN = b'{"id":"cmpl-1","object":"text_completion","created":1,"model":"up","choices":[%b]%b}'
ONE = b'{"text":"a b","index":0,"logprobs":null,"finish_reason":"stop"}'


def shape_bytes(payload: bytes, **members: Any) -> Chunk:
    """The only chunk of a stream."""
    made = StreamShaper(request(**members), "asked", NOW).shape(Chunk(payload))
    assert made is not None
    return made


def test_bytes_that_need_no_change_are_passed_on_as_they_came() -> None:
    payload = CLEAN.replace(b",", b" , ") % (ONE, b', "odd": 1e0')
    assert shape_bytes(payload).payload == payload


def test_a_null_usage_is_cut_off_the_bytes() -> None:
    payload = CLEAN.replace(b'"id":', b'"id" : ')
    assert shape_bytes(payload % (ONE, b',"usage":null')).payload == payload % (ONE, b"")


@pytest.mark.parametrize(
    ("one", "more"),
    [
        (ONE.replace(b'"stop"', b'""'), b""),
        (ONE.replace(b'"a b"', b"null"), b""),
        (ONE.replace(b',"logprobs":null', b""), b""),
        (ONE.replace(b'"index":0,', b""), b""),
        (ONE, b',"usage":{"prompt_tokens":1,"completion_tokens":1}'),
        (ONE, b',"usage":null,"odd":1'),
        (ONE, b',"object":"x"'),
        (ONE, b',"created":1.0'),
        (ONE, b',"model":null'),
        (ONE, b',"id":"1"'),
    ],
)
def test_what_was_changed_is_encoded_anew(one: bytes, more: bytes) -> None:
    made = shape_bytes(CLEAN % (one, more))
    assert made.payload == orjson.dumps(decoded(made))


def test_an_event_of_several_lines_becomes_one_line() -> None:
    payload = CLEAN % (ONE, b"")
    made = StreamShaper(request(), "asked", NOW).shape(Chunk(b"", orjson.loads(payload)))
    assert made is not None
    assert made.payload == payload


ODD = st.sampled_from([REMOVED, None, "", "x", "cmpl-2", 0, 5, 7.0, 7.5, True, "text_completion"])
RARE = st.sampled_from([REMOVED, REMOVED, None, {}, USAGE, {"prompt_tokens": "x"}])


@st.composite
def odd_chunks(draw: st.DrawFn) -> dict[str, Any]:
    """A chunk that can be read, with anything about it as no contract has it."""
    choices = [
        {
            "text": draw(st.text(max_size=3) | st.none()),
            "index": draw(st.sampled_from([0, 0, None, REMOVED])),
            "finish_reason": draw(st.sampled_from([None, "", "stop", REMOVED])),
            "logprobs": draw(st.sampled_from([None, {}, {"tokens": ["a"]}, REMOVED])),
            "odd": draw(st.sampled_from([REMOVED, 1.5, "\u2028"])),
        }
        for _ in range(draw(st.integers(0, 2)))
    ]
    whole = {name: draw(ODD) for name in ("id", "object", "created", "model", "odd")}
    whole |= {"choices": [present(c) for c in choices], "usage": draw(RARE)}
    names = draw(st.permutations(list(whole)))
    return present({name: whole[name] for name in names})


def present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not REMOVED}


@settings(max_examples=300, deadline=None)
@given(st.lists(odd_chunks(), min_size=1, max_size=4), st.booleans())
def test_the_bytes_of_a_chunk_say_what_its_document_says(
    chunks: list[dict[str, Any]], continuous: bool
) -> None:
    options = {"include_usage": True, "continuous_usage_stats": continuous}
    shaper = StreamShaper(request(stream_options=options), "asked", NOW)
    envelopes = set()
    for made in filter(None, (shaper.shape(arrived(c)) for c in chunks)):
        document = decoded(made)
        assert ("usage" in document) == continuous
        envelopes.add(orjson.dumps([document[n] for n in ("id", "object", "created", "model")]))
        assert type(document["created"]) is int
        assert all(isinstance(choice["text"], str) for choice in document["choices"])
        assert all({"index", "logprobs", "finish_reason"} <= c.keys() for c in document["choices"])
    assert len(envelopes) <= 1


# Broken streams


@pytest.mark.parametrize("members", [{}, ASKED], ids=["not-asked", "asked"])
@pytest.mark.parametrize(
    "rubbish",
    [
        None,
        5,
        "text",
        [],
        {},
        {"foo": 1},
        {"error": "no"},
        {"error": {"message": "no"}},
        chunk(error={"message": "no"}),
        {"choices": 5},
        {"choices": "x"},
        {"choices": {"a": 1}},
        {"choices": [None]},
        {"choices": ["t"]},
        chunk(part(5)),
        chunk(part(["t"])),
        chunk(part(index=1)),
        chunk(part(index=-1)),
        chunk(part(index="0")),
        chunk(part(index=True)),
        chunk(part(reason=5)),
        chunk(part(logprobs=[])),
        chunk(part(logprobs="x")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_rubbish_breaks_the_stream(rubbish: Any, members: dict[str, Any]) -> None:
    broken([rubbish, chunk(part(reason="stop"))], **members)


@pytest.mark.parametrize(
    ("chunks", "members"),
    [
        ([], {}),
        ([chunk(part())], {}),
        ([chunk(usage=USAGE)], ASKED),
        ([chunk(part(reason="stop")), chunk(part(index=1))], {"n": 2}),
        ([chunk(part(reason="stop"))], {"prompt": ["a", "b"]}),
        ([chunk(part(reason="")), chunk(usage=USAGE)], {}),
    ],
)
def test_a_cut_stream_never_ends_well(chunks: list[Any], members: dict[str, Any]) -> None:
    broken(chunks, **members)


def test_a_server_that_ignores_n_still_answers() -> None:
    assert len(shaped([chunk(part(reason="stop"))], n=3)) == 1


def test_what_went_by_before_a_cut_is_counted() -> None:
    shaper = StreamShaper(request(), "asked", NOW)
    shaper.shape(arrived(chunk(part("12345678"))))
    with pytest.raises(UpstreamInvalid):
        shaper.end()
    assert shaper.usage == Usage(1, 2, estimated=True)


@pytest.mark.parametrize("levels", [100, 300, 900])
def test_an_absurdly_nested_chunk_is_never_a_crash(levels: int) -> None:
    shaper = StreamShaper(request(), "asked", NOW)
    deep = orjson.loads(b"[" * levels + b"]" * levels)
    with contextlib.suppress(UpstreamInvalid):
        shaper.shape(Chunk(b"", chunk(part(), extra=deep)))


# Any interleaving


@st.composite
def interleavings(draw: st.DrawFn) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """The pieces of n choices, and chunks that carry them in some legal order."""
    texts = draw(
        st.lists(
            st.lists(st.text("aé😀\n", max_size=3), max_size=4),
            min_size=1,
            max_size=4,
        )
    )
    queues: list[list[dict[str, Any]]] = []
    for index, pieces in enumerate(texts):
        queue = [part(piece, index) for piece in pieces]
        if draw(st.booleans()) or not queue:
            queue.append(part(draw(st.sampled_from(["", None])), index, "length"))
        else:
            queue[-1] = queue[-1] | {"finish_reason": "length"}
        if draw(st.booleans()):
            queue.append(part("", index, draw(st.sampled_from([None, "length", "stop"]))))
        queues.append(queue)
    chunks: list[dict[str, Any]] = []
    while any(queues):
        several = draw(st.integers(1, 3))
        taken = []
        for _ in range(several):
            live = [queue for queue in queues if queue]
            if live:
                taken.append(draw(st.sampled_from(live)).pop(0))
        chunks.append(chunk(*taken, id=draw(st.sampled_from(["a", "b", "cmpl-c"]))))
    return texts, chunks


@settings(max_examples=120, deadline=None)
@given(interleavings(), st.booleans(), st.sampled_from(["last", "own", "none"]))
def test_every_interleaving_reads_the_same(
    case: tuple[list[list[str]], list[dict[str, Any]]], asked: bool, usage: str
) -> None:
    texts, chunks = case
    if usage == "last":
        chunks = [*chunks[:-1], chunks[-1] | {"usage": USAGE}]
    elif usage == "own":
        chunks = [*chunks, chunk(usage=USAGE)]
    seen = read(chunks, n=len(texts), asked=asked)
    choices = [choice for item in seen for choice in item["choices"]]
    for index, pieces in enumerate(texts):
        mine = [choice for choice in choices if choice["index"] == index]
        assert "".join(choice["text"] for choice in mine) == "".join(pieces)
        reasons = [choice["finish_reason"] for choice in mine]
        assert [reason for reason in reasons if reason] == ["length"]
    assert len({item["id"] for item in seen}) == 1
    with_usage = [item for item in seen if item.get("usage")]
    assert len(with_usage) == asked
    if asked and usage != "none":
        assert with_usage[0]["usage"] == USAGE


@settings(max_examples=60, deadline=None)
@given(interleavings(), st.data())
def test_a_stream_cut_anywhere_before_its_last_reason_is_noticed(
    case: tuple[list[list[str]], list[dict[str, Any]]], data: st.DataObject
) -> None:
    texts, chunks = case
    prompts = [str(index) for index in range(len(texts))]
    finished: set[int] = set()
    whole = 0
    for item in chunks:
        whole += 1
        finished |= {c["index"] for c in item["choices"] if c["finish_reason"]}
        if len(finished) == len(texts):
            break
    cut = data.draw(st.integers(0, whole - 1))
    broken(chunks[:cut], prompt=prompts)


# Servers that forget the finish reason, or number the pieces of one choice.


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("asked", [True, False])
def test_one_choice_is_whole_when_the_upstream_says_done(pieces: int, asked: bool) -> None:
    chunks = read([chunk(part("a"))] * pieces, asked=asked, said_done=True)
    reasons = [choice["finish_reason"] for item in chunks for choice in item["choices"]]
    assert reasons == [None] * pieces
    assert bool(chunks[-1].get("usage")) == asked


@pytest.mark.parametrize(
    ("chunks", "members"),
    [
        ([], {}),
        ([chunk(usage=USAGE)], {}),
        ([chunk(part())], {"n": 2}),
        ([chunk(part(reason="stop")), chunk(part(index=1))], {"n": 2}),
        ([chunk(part()), chunk(part(index=1))], {"prompt": ["a", "b"]}),
    ],
)
def test_saying_done_does_not_make_anything_else_whole(
    chunks: list[Any], members: dict[str, Any]
) -> None:
    shaper = StreamShaper(request(**members), "asked", NOW)
    for item in chunks:
        shaper.shape(arrived(item))
    with pytest.raises(UpstreamInvalid):
        shaper.end(said_done=True)


def test_pieces_that_are_numbered_are_one_choice() -> None:
    pieces = [part(text, index) for index, text in enumerate("abc")]
    seen = shaped([*map(chunk, pieces), chunk(part("", 3, "stop"))])
    choices = [choice for item in seen for choice in item["choices"]]
    assert [choice["index"] for choice in choices] == [0, 0, 0, 0]
    assert "".join(choice["text"] for choice in choices) == "abc"
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(part("a"), part("b", 1, "stop"))],
        [chunk(part("a", 0, "stop")), chunk(part("b", 1, "stop"))],
        [chunk(part("a")), chunk(part("b", 1)), chunk(part("c", 0, "stop"))],
        [chunk(part("a")), chunk(part("b")), chunk(part("c", 1, "stop"))],
    ],
)
def test_a_second_choice_is_never_added_to_the_first(chunks: list[Any]) -> None:
    broken(chunks)
