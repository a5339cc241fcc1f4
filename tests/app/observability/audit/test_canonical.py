"""One spelling for every record: RFC 8785, for what a record may hold."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from app.observability.audit.canonical import MAX_INTEGER, canonical, plain

NAMES = st.text(st.characters(max_codepoint=127), max_size=8)
WHOLE = st.integers(-MAX_INTEGER, MAX_INTEGER)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_it_is_what_another_writer_of_the_form_writes(record: dict[str, object]) -> None:
    # For names of ASCII, sorting by code point and by UTF-16 unit are the same; Python's own
    # encoder escapes as section 3.2.2.2 of the RFC asks for.
    other = json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert canonical(record) == other.encode()


def test_the_texts_of_the_specification_come_out_as_it_says() -> None:
    # RFC 8785, section 3.2.2: the member `string` and the literals of the example.
    given_text = json.loads('"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/"')
    record = {"string": given_text, "literals": [None, True, False]}
    expected = '{"literals":[null,true,false],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert canonical(record) == expected.encode()


@given(st.dictionaries(st.text(), st.floats() | st.integers() | st.text() | st.binary()))
def test_what_is_made_plain_can_be_spelt(record: dict[str, object]) -> None:
    made = canonical(plain(record))
    assert canonical(json.loads(made)) == made
