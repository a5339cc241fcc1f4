"""Stop sequences that the gateway applies: whole texts, and across the borders of chunks."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from app.openai.stops import StoppedStream, StopScanner, cut_choice, first_stop

TEXTS = st.text(alphabet="ab\n", max_size=40)
STOPS = st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), min_size=1, max_size=5)


def scanned(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    scanner = StopScanner(stops)
    given_out = ""
    for piece in pieces:
        given_out += scanner.feed(piece)
        if scanner.stopped:
            return given_out, True
    return given_out + scanner.rest(), False


@given(text=TEXTS, stops=STOPS, cuts=st.lists(st.integers(0, 40), max_size=10))
@example(text="aab", stops=["ab"], cuts=[1, 2])
@example(text="aaab", stops=["aab", "aaa"], cuts=[3])
def test_a_text_ends_where_it_would_whole_however_it_is_cut(text, stops, cuts):
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    place = first_stop(text, stops)
    expected = (text, False) if place < 0 else (text[:place], True)
    if place >= 0:
        # An earlier piece may already hold one, which then ends before a longer one could begin.
        assert scanned(pieces, stops)[1]
        assert first_stop(scanned(pieces, stops)[0], stops) < 0
    else:
        assert scanned(pieces, stops) == expected


@given(text=TEXTS, stop=st.text(alphabet="ab\n", min_size=1, max_size=4))
def test_one_sequence_ends_a_text_at_the_same_place_letter_by_letter(text, stop):
    place = first_stop(text, [stop])
    expected = (text, False) if place < 0 else (text[:place], True)
    assert scanned(list(text), [stop]) == expected


def test_what_cannot_become_a_stop_sequence_is_not_held():
    scanner = StopScanner(["\n\n", "```"])
    assert scanner.feed("def f():\n") == "def f():"
    assert scanner.feed("    pass") == "\n    pass"
    assert scanner.feed("``x") == "``x"


def test_a_completion_and_a_chat_are_cut_with_their_log_probabilities():
    choice = {
        "text": "one two STOP three",
        "finish_reason": "length",
        "logprobs": {
            "tokens": ["one", " two", " STOP", " three"],
            "token_logprobs": [-1, -2, -3, -4],
        },
    }
    cut_choice(choice, ["STOP"])
    assert (choice["text"], choice["finish_reason"]) == ("one two ", "stop")
    assert choice["logprobs"]["token_logprobs"] == [-1, -2, -3]
    chat = {"message": {"content": "a|b"}, "finish_reason": "stop", "logprobs": None}
    cut_choice(chat, ["|"])
    assert chat["message"]["content"] == "a"


def test_a_choice_without_a_stop_sequence_stays_as_it_is():
    choice = {"text": "abc", "finish_reason": "length"}
    cut_choice(choice, ["x"])
    assert choice == {"text": "abc", "finish_reason": "length"}


def chunk(index: int, text: str, reason: str | None = None):
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": reason}]}


def test_each_choice_of_a_stream_stops_by_itself():
    stream = StoppedStream(["END"], 2)
    first = chunk(0, "a E")
    assert stream.take(first)
    assert first["choices"][0]["delta"]["content"] == "a "
    last = chunk(0, "ND more")
    assert stream.take(last)
    assert last["choices"][0] == {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}
    assert not stream.take(chunk(0, "even more")), "nothing follows a finish"
    assert not stream.all_stopped
    other = chunk(1, "E", "length")
    assert stream.take(other)
    assert other["choices"][0]["delta"]["content"] == "E", "what was held is given out at the end"
    assert stream.all_stopped
