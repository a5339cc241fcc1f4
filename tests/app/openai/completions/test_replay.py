"""An answer as a stream, a stream as an answer: both ways it is the same answer."""

from __future__ import annotations

from itertools import accumulate
from time import process_time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.family import NotAssembled, Replay
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from app.openai import sse
from app.openai.completions.replay import CompletionAssembly, replay
from app.openai.completions.request import CompletionRequest, parse
from app.openai.completions.stream import StreamShaper
from tests.harness.chain import on_the_wire

NOW = 1_700_000_000
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
A_LINE = 64 << 10  # bytes that every reader of lines bears (Python's asyncio gives up there)
EXTRAS: list[dict[str, Any]] = [
    {},
    {"stop_reason": None},
    {"stop_reason": "END"},
    {"stop_reason": 128_001, "prompt_logprobs": [None, {"7": {"logprob": -0.5, "rank": 1}}]},
    {"content_filter_results": {"hate": {"filtered": False}}},
]
TOKEN = st.text("aé😀\n\x00\"\\', ", max_size=3)


def request(choices: int = 1, **members: Any) -> CompletionRequest:
    whole = {"model": "m", "prompt": "p", "stream": True, "n": choices}
    return parse(orjson.dumps(whole | {"stream_options": {"include_usage": True}} | members))


def logprobs_of(tokens: list[str]) -> dict[str, Any]:
    return {
        "tokens": tokens,
        "token_logprobs": [-0.25 * place for place in range(len(tokens))],
        "top_logprobs": [{token: -0.25, "x": -3} for token in tokens],
        "text_offset": [0, *accumulate(map(len, tokens))][: len(tokens)],
    }


def choice(tokens: list[str], index: int = 0, *, logprobs: bool = False, **more: Any) -> Any:
    return {
        "text": "".join(tokens),
        "index": index,
        "logprobs": logprobs_of(tokens) if logprobs else None,
        "finish_reason": "stop",
    } | more


def answer(*choices: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_600_000_000,
        "model": "up",
        "choices": list(choices),
        "usage": USAGE,
    } | more


@st.composite
def spoken(draw: st.DrawFn, logprobs: bool | None = None) -> tuple[dict[str, Any], list[list[str]]]:
    """A plain answer, and the tokens of each of its choices."""
    tokens = draw(st.lists(st.lists(TOKEN, max_size=7), min_size=1, max_size=3))
    with_logprobs = draw(st.booleans()) if logprobs is None else logprobs
    choices = [
        choice(
            own,
            index,
            logprobs=with_logprobs and bool(own),
            finish_reason=draw(st.sampled_from(["stop", "length"])),
            **draw(st.sampled_from(EXTRAS)),
        )
        for index, own in enumerate(tokens)
    ]
    more = draw(st.sampled_from([{}, {"system_fingerprint": "fp"}, {"system_fingerprint": None}]))
    return answer(*choices, **more), tokens


def upstream(
    draw: st.DrawFn, document: dict[str, Any], tokens: list[list[str]]
) -> list[dict[str, Any]]:
    """Chunks by which an upstream may stream this answer, some tokens in each, in some order."""
    queues = []
    for plain, own in zip(document["choices"], tokens, strict=True):
        queue: list[dict[str, Any]] = []
        start = 0
        while start < len(own):
            end = draw(st.integers(start + 1, len(own)))
            said = plain["logprobs"]
            if said is not None:
                said = {name: value[start:end] for name, value in said.items()}
            queue.append(part("".join(own[start:end]), plain["index"], said))
            start = end
        if not queue or draw(st.booleans()):
            queue.append(part("", plain["index"], None))
        extras = {name: plain[name] for name in plain.keys() - queue[0].keys()}
        queue[-1] |= extras | {"finish_reason": plain["finish_reason"]}
        queues.append(queue)
    chunks = []
    head = {name: document[name] for name in document.keys() - {"choices", "usage"}}
    while live := [queue for queue in queues if queue]:
        taken = [draw(st.sampled_from(live)).pop(0)]
        if taken[0]["index"] + 1 < len(queues) and queues[taken[0]["index"] + 1]:
            taken += [queues[taken[0]["index"] + 1].pop(0)] if draw(st.booleans()) else []
        chunks.append(head | {"choices": taken})
    return [*chunks, head | {"choices": [], "usage": document["usage"]}]


def part(text: str, index: int, logprobs: Any, reason: str | None = None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": reason}


def shaped(chunks: list[Any], asked: CompletionRequest) -> Replay:
    """What the gateway makes of an upstream's chunks."""
    shaper = StreamShaper(asked, "asked", NOW)
    made = [shaper.shape(Chunk(orjson.dumps(chunk))) for chunk in chunks]
    return Replay([chunk for chunk in made if chunk is not None], shaper.end())


def legal(stream: Replay, *, usage: bool = True) -> list[dict[str, Any]]:
    """The chunks that a caller gets of a stream, in which everything is as the contract has it."""
    wire = on_the_wire(*stream, usage=usage)
    *events, rest = wire.split(b"\n\n")
    assert rest == b""
    assert all(event.startswith(b"data: ") and b"\n" not in event for event in events)
    found = [event.removeprefix(b"data: ") for event in events]
    assert found == sse.EventParser().feed(wire)
    assert found.pop() == sse.DONE
    assert sse.DONE not in found
    chunks = [orjson.loads(payload) for payload in found]
    assert len({(c["id"], c["object"], c["created"], c["model"]) for c in chunks}) == 1
    assert all(isinstance(part["text"], str) for c in chunks for part in c["choices"])
    if usage:
        assert [c["usage"] is None for c in chunks] == [True] * (len(chunks) - 1) + [False]
        assert chunks[-1]["choices"] == []
    else:
        assert all("usage" not in c for c in chunks)
    parts = [part for c in chunks for part in c["choices"]]
    for index in {part["index"] for part in parts}:
        reasons = [p["finish_reason"] for p in parts if p["index"] == index]
        assert reasons[-1] is not None
        assert reasons[:-1] == [None] * (len(reasons) - 1)
    return chunks


def assembled(stream: Replay) -> dict[str, Any]:
    assembly = CompletionAssembly()
    assembly.add(stream.chunks)
    document: dict[str, Any] = orjson.loads(assembly.body(stream.end))
    return document


def longest_line(stream: Replay) -> int:
    return max(map(len, on_the_wire(*stream).split(b"\n")))


# A plain answer as a stream


@settings(deadline=None)
@given(spoken())
def test_a_replay_is_a_legal_stream_of_the_same_answer(case: tuple[dict[str, Any], Any]) -> None:
    document, _ = case
    stream = replay(orjson.dumps(document))
    legal(stream)
    assert assembled(stream) == document


LONG = [
    pytest.param(choice([]), id="empty"),
    pytest.param(choice(["x" * 100_000]), id="ascii"),
    pytest.param(choice(["\x00" * 100_000]), id="control-characters"),
    pytest.param(choice(["é😀" * 50_000]), id="unicode"),
    pytest.param(choice(["ab "] * 3000, logprobs=True), id="tokens"),
    pytest.param(choice(["😀"] * 64, logprobs=True), id="64-tokens"),
    pytest.param(choice(["😀"] * 65, logprobs=True), id="65-tokens"),
    pytest.param(choice(["", "a", ""] * 500, logprobs=True), id="tokens-without-text"),
]


@pytest.mark.parametrize("only", LONG)
def test_a_long_answer_comes_back(only: Any) -> None:
    document = answer(only, system_fingerprint="fp")
    stream = replay(orjson.dumps(document))
    legal(stream)
    assert assembled(stream) == document


@pytest.mark.parametrize("only", LONG)
def test_no_line_of_a_replay_is_longer_than_readers_bear(only: Any) -> None:
    assert longest_line(replay(orjson.dumps(answer(only)))) < A_LINE


def test_log_probabilities_whose_tokens_are_not_the_text_come_back() -> None:
    # A character of several tokens: OpenAI names its bytes, and the tokens do not add up to it.
    said = logprobs_of(["bytes:\\xf0\\x9f", "bytes:\\x98\\x80"] * 40)
    document = answer(choice(["😀"] * 40) | {"logprobs": said})
    stream = replay(orjson.dumps(document))
    legal(stream)
    assert assembled(stream) == document


def test_thousands_of_tokens_that_are_not_the_text_are_no_longer_line_either() -> None:
    said = logprobs_of(["bytes:\\xf0\\x9f", "bytes:\\x98\\x80"] * 2000)
    document = answer(choice(["😀"] * 2000) | {"logprobs": said})
    assert longest_line(replay(orjson.dumps(document))) < A_LINE


def test_log_probabilities_without_alternatives_come_back() -> None:
    said = logprobs_of(["a"] * 200) | {"top_logprobs": None}
    document = answer(choice(["a"] * 200) | {"logprobs": said})
    assert assembled(replay(orjson.dumps(document))) == document


def test_the_tokens_of_a_piece_are_its_text() -> None:
    document = answer(choice(["ab", "", "c\n"] * 100, logprobs=True))
    for chunk in legal(replay(orjson.dumps(document)))[:-1]:
        [piece] = chunk["choices"]
        assert "".join(piece["logprobs"]["tokens"]) == piece["text"]
        assert len(piece["logprobs"]["token_logprobs"]) == len(piece["logprobs"]["tokens"])


def test_members_of_the_usage_come_back() -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 2}}
    document = answer(choice(["a"]), usage=usage)
    assert legal(replay(orjson.dumps(document)))[-1]["usage"] == usage
    assert assembled(replay(orjson.dumps(document))) == document


# A live stream as a plain answer


@settings(deadline=None)
@given(spoken(), st.data())
def test_a_live_stream_adds_up_to_the_plain_answer(
    case: tuple[dict[str, Any], list[list[str]]], data: st.DataObject
) -> None:
    document, tokens = case
    chunks = upstream(data.draw, document, tokens)
    stream = shaped(chunks, request(len(tokens)))
    legal(stream)
    assert assembled(stream) == document


@settings(deadline=None)
@given(spoken(), st.data())
def test_it_does_not_matter_how_many_chunks_come_at_once(
    case: tuple[dict[str, Any], list[list[str]]], data: st.DataObject
) -> None:
    document, _ = case
    chunks, end = replay(orjson.dumps(document))
    assembly = CompletionAssembly()
    while chunks:
        count = data.draw(st.integers(1, len(chunks)))
        assembly.add(chunks[:count])
        chunks = chunks[count:]
    assert orjson.loads(assembly.body(end)) == document


def test_four_times_the_tokens_take_about_four_times_the_time() -> None:
    def seconds(tokens: int) -> float:
        chunks = []
        for place in range(tokens):
            one = part("ab ", 0, logprobs_of(["ab "]), "stop" if place == tokens - 1 else None)
            chunks.append(Chunk.of(answer(one)))
        began = process_time()
        CompletionAssembly().add(chunks)
        return process_time() - began

    seconds(100)
    assert min(seconds(12_000) for _ in range(2)) < 10 * min(seconds(3000) for _ in range(2))


def test_token_ids_of_the_pieces_follow_each_other() -> None:
    first, second = part("a", 0, None), part("b", 0, None, "stop")
    chunks = [
        answer(first | {"token_ids": [1, 2], "prompt_token_ids": [9]}, usage=None),
        answer(second | {"token_ids": [3], "prompt_token_ids": None}, usage=None),
        answer(usage=USAGE),
    ]
    [only] = assembled(shaped(chunks, request()))["choices"]
    assert (only["token_ids"], only["prompt_token_ids"]) == ([1, 2, 3], [9])


def test_a_fingerprint_that_comes_late_is_kept() -> None:
    chunks = [
        answer(part("a", 0, None, "stop"), usage=None, system_fingerprint=None),
        answer(usage=USAGE, system_fingerprint="fp"),
    ]
    assert assembled(shaped(chunks, request()))["system_fingerprint"] == "fp"


def test_what_filters_say_of_a_choice_is_brought_up_to_date() -> None:
    envelope = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    assembly = CompletionAssembly()
    for text, said in (("a", {}), ("b", {"hate": {"filtered": False}}), ("", None)):
        one = {
            "text": text,
            "index": 0,
            "logprobs": None,
            "finish_reason": None if text else "stop",
        }
        assembly.add([Chunk.of(envelope | {"choices": [one | {"content_filter_results": said}]})])
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    body = orjson.loads(assembly.body(StreamEnd(Usage(1, 2), {"usage": usage})))
    assert body["choices"][0]["content_filter_results"] == {"hate": {"filtered": False}}


def test_an_end_without_chunks_is_no_answer() -> None:
    end = replay(orjson.dumps(answer(choice(["a"])))).end
    with pytest.raises(NotAssembled):
        CompletionAssembly().body(end)


@pytest.mark.parametrize("members", [{}, {"usage": None}])
def test_an_end_without_usage_is_no_answer(members: dict[str, Any]) -> None:
    assembly = CompletionAssembly()
    assembly.add(replay(orjson.dumps(answer(choice(["a"])))).chunks)
    with pytest.raises(NotAssembled):
        assembly.body(StreamEnd(Usage(3, 2), members))


@pytest.mark.parametrize(
    ("before", "after"),
    [("a", "b"), (1, 2), ({"a": 1}, {"b": 1}), ([1], 2), ("a", ["a"])],
    ids=repr,
)
def test_what_cannot_be_added_up_is_not_guessed(before: Any, after: Any) -> None:
    assembly = CompletionAssembly()
    first = answer(part("a", 0, None) | {"odd": before})
    second = answer(part("b", 0, None, "stop") | {"odd": after})
    with pytest.raises(NotAssembled):
        assembly.add([Chunk.of(first), Chunk.of(second)])


def test_adding_up_changes_no_chunk() -> None:
    # Others read the same chunks.
    said = [part("a", 0, logprobs_of(["a"])), part("b", 0, logprobs_of(["b"]), "stop")]
    chunks = [Chunk.of(answer(one | {"token_ids": [1]})) for one in said]
    CompletionAssembly().add(chunks)
    assert [orjson.dumps(chunk.document) for chunk in chunks] == [c.payload for c in chunks]
