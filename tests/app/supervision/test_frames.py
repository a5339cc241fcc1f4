"""What the main process and its workers say to each other, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.supervision.frames import MAX_FRAME_BYTES, Frames, frame

MESSAGES = st.lists(st.dictionaries(st.text(), st.integers(-1000, 1000) | st.text()), max_size=5)


@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_messages_arrive_whole_however_they_are_cut(messages: list, sizes: list[int]) -> None:
    data = b"".join(map(frame, messages))
    frames, found, at = Frames(), [], 0
    while data:
        size = sizes[at % len(sizes)]
        found += frames.feed(data[:size])
        data, at = data[size:], at + 1
    assert found == messages


def test_a_message_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(ValueError, match="too long"):
        frame({"metrics": "x" * MAX_FRAME_BYTES})


def test_a_message_that_is_too_long_is_refused_at_its_head() -> None:
    with pytest.raises(ValueError, match="too long"):
        Frames().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


@pytest.mark.parametrize("body", [b"[1]", b"nonsense"])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        Frames().feed(len(body).to_bytes(4, "big") + body)
