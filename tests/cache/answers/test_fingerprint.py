"""Equal questions have equal fingerprints, others have others, and the form is the documented one."""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidRequest
from app.openai.completions.request import FIELDS, parse
from cache.answers.fingerprint import Fingerprinter
from cache.answers.fingerprint_form import VERSION, Scope
from cache.answers.normalization import normalized

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "fingerprint_vectors.json").read_text())
DOCUMENT = (HERE.parents[2] / "docs" / "fingerprint.md").read_text()

PLACE: dict[str, Any] = {
    "scope": {"kind": "tenant", "tenant": "acme", "key": ""},
    "namespace": "",
    "family": "completions",
    "alias": "m",
    "targets": [["openai", "gpt-3.5-turbo-instruct"]],
    "normalize": "standard",
}
BASE: dict[str, Any] = {"model": "m", "prompt": "p"}


def fingerprinter(place: dict[str, Any]) -> Fingerprinter:
    return Fingerprinter(**(place | {"scope": Scope(**place["scope"])}))


def digests(body: bytes, **place: Any) -> list[bytes]:
    return fingerprinter(PLACE | place).of(parse(body))


def of(**members: Any) -> bytes:
    """The one digest of a request with these members; a Number is written as it is."""
    (digest,) = digests(written(BASE | members))
    return digest


def of_text(prompt: Any, normalize: str, **members: Any) -> bytes:
    (digest,) = digests(written(BASE | members | {"prompt": prompt}), normalize=normalize)
    return digest


class Number(NamedTuple):
    """A number as it is written."""

    text: str


def written(value: Any, chance: random.Random | None = None) -> bytes:
    """JSON; with ``chance`` in any member order, with any white space and any escapes."""

    def gap() -> str:
        return chance.choice(["", "", " ", "\n", "\t \r\n"]) if chance else ""

    def string(text: str) -> str:
        if chance and chance.random() < 0.5:
            units = text.encode("utf-16-be")
            pairs = [units[i : i + 2].hex() for i in range(0, len(units), 2)]
            return '"' + "".join(f"\\u{pair}" for pair in pairs) + '"'
        return json.dumps(text, ensure_ascii=not chance or chance.random() < 0.5)

    def wrapped(opening: str, items: list[str], closing: str) -> str:
        return opening + gap() + f"{gap()},{gap()}".join(items) + gap() + closing

    def write(value: Any) -> str:
        if isinstance(value, Number):
            return value.text
        if isinstance(value, str):
            return string(value)
        if isinstance(value, dict):
            names = list(value)
            if chance:
                chance.shuffle(names)
            return wrapped(
                "{", [f"{string(n)}{gap()}:{gap()}{write(value[n])}" for n in names], "}"
            )
        if isinstance(value, list):
            return wrapped("[", [write(item) for item in value], "]")
        return json.dumps(value)

    return (gap() + write(value) + gap()).encode()


# A second implementation, slow and plain: what a request means, and that meaning as bytes.

LEFT_OUT = {"model", "prompt", "messages", "stream", "stream_options", "user", "metadata", "store"}
SPACES = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


def meaning(place: dict[str, Any], body: bytes) -> list[Any]:
    """One value a prompt; two are equal exactly if the questions are."""
    read = json.loads(body, parse_int=Fraction, parse_float=Fraction)
    members = {
        name: value
        for name, value in read.items()
        if name not in LEFT_OUT and not (value is None and name in FIELDS)
    }
    if members.get("best_of") == 0:
        del members["best_of"]
    if isinstance(members.get("stop"), str):
        members["stop"] = [members["stop"]]
    n = members.get("n", Fraction(1))
    defaults: dict[str, Any] = {
        "max_tokens": Fraction(16),
        "temperature": Fraction(1),
        "top_p": Fraction(1),
        "n": n,
        "best_of": n,
        "echo": False,
        "frequency_penalty": Fraction(0),
        "presence_penalty": Fraction(0),
        "logit_bias": {},
        "logprobs": None,
        "stop": [],
        "suffix": None,
        "seed": None,
    }
    if "max_completion_tokens" in members:
        defaults["max_tokens"] = None
    members = defaults | members
    prompt = read.get("prompt")
    as_it_is = members["echo"] or members["logprobs"] is not None
    as_it_is = as_it_is or "prompt_logprobs" in members or "return_token_ids" in members
    if prompt is None:
        inputs = [("none", "messages", value_of(read["messages"]))]
    elif isinstance(prompt, str) or isinstance(prompt[0], Fraction):
        prompt = [prompt]
    if prompt is not None:
        inputs = []
        for one in prompt:
            if isinstance(one, str):
                level = "none" if as_it_is else place["normalize"]
                inputs.append((level, "prompt", ("text", slowly_normalized(one, level))))
            else:
                inputs.append(("none", "prompt", ("ids", tuple(int(token) for token in one))))
    scope = place["scope"]
    who = (scope["kind"], scope["tenant"], scope["key"])
    where = (place["namespace"], place["family"], place["alias"])
    around = (*who, *where, value_of(place["targets"]))
    return [(around, level, value_of(members), kind, given) for level, kind, given in inputs]


def slowly_normalized(text: str, level: str) -> str:
    if level == "none":
        return text
    text = re.sub("\r\n", "\n", unicodedata.normalize("NFC", text))
    while text and text[0] in SPACES:
        text = text[1:]
    while text and text[-1] in SPACES:
        text = text[:-1]
    if level == "loose":
        text = re.sub(f"[{SPACES}]+", " ", text)
        text = unicodedata.normalize("NFC", "".join(char.casefold() for char in text))
    return text


def value_of(value: Any) -> Any:
    """A JSON value as nested tuples that tell types apart, which Python's `==` does not."""
    if isinstance(value, dict):
        pairs = [(name.encode(), value_of(item)) for name, item in value.items()]
        return ("object", tuple(sorted(pairs, key=lambda pair: pair[0])))
    if isinstance(value, list):
        return ("array", tuple(value_of(item) for item in value))
    if isinstance(value, str):
        return ("text", value)
    if isinstance(value, Fraction):
        return ("number", value)
    return ("word", repr(value))


def form(meant: Any) -> bytes:
    around, level, members, kind, given = meant
    *who_and_where, targets = around
    values = [("text", text) for text in who_and_where] + [targets]
    values += [("text", level), members, ("text", kind), given]
    return b"headgate-fingerprint-1\n" + b"".join(form_of(value) for value in values)


def form_of(value: Any) -> bytes:
    kind, content = value
    if kind == "word":
        return {"None": b"N", "True": b"T", "False": b"F"}[content]
    if kind == "text":
        return with_length("S", content.encode())
    if kind == "number":
        return with_length("D", decimal(content).encode())
    if kind == "ids":
        return with_length("I", ",".join(str(token) for token in content).encode())
    if kind == "array":
        return f"A{len(content)}:".encode() + b"".join(form_of(item) for item in content)
    pairs = [with_length("S", name) + form_of(item) for name, item in content]
    return f"O{len(content)}:".encode() + b"".join(pairs)


def with_length(letter: str, content: bytes) -> bytes:
    return f"{letter}{len(content)}:".encode() + content


def decimal(value: Fraction) -> str:
    if value == 0:
        return "0"
    exponent = 0
    while value.denominator != 1:
        value, exponent = value * 10, exponent - 1
    while value.numerator % 10 == 0:
        value, exponent = value / 10, exponent + 1
    return f"{value.numerator}" + (f"e{exponent}" if exponent else "")


# Requests of every kind, from few texts and numbers, so that equal ones are met often.

TEXTS = st.one_of(
    st.sampled_from(
        [
            *["", "x", "X", " x", "x\n", "x y", "x  y", "x\r\ny", "x\ny", "xsuffix: y", "y"],
            *["1,2", "[1,2]", "[1, 2]", "1", "S1:x", "S1:xS6:suffixS1:y", "A0:", "N", "I3:1,2"],
            *["\u00e9", "e\u0301", "\U0001f600", "\u212b", "\u1e9e", "ss", "\u00a0x\u2003", "\0"],
            *["a\u0301\u0323", "a\u0323\u0301", "\u03b1\u0345\u0301", "prompt", "\x1cx", "\u200bx"],
        ]
    ),
    st.text(max_size=6),
)


@st.composite
def numbers(draw: st.DrawFn) -> Number:
    """Any number up to 1e280, in one of the ways of writing it."""
    digits = str(draw(st.one_of(st.integers(0, 20), st.integers(0, 10**30))))
    if draw(st.booleans()):
        digits += "." + draw(st.sampled_from(["0", "5", "50", "00", "1" * 30, "0" * 30 + "1"]))
    exponent = draw(st.sampled_from(["", "", "e0", "E+0", "e2", "e-2", "E-02", "e250", "e-250"]))
    return Number(draw(st.sampled_from(["", "-"])) + digits + exponent)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), TEXTS, numbers()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


def number_in(*texts: str) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *map(Number, texts)])


IDS = st.lists(st.sampled_from([0, 1, 2, 12, 2**31, 2**63]), min_size=1, max_size=3)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": number_in("16", "0", "1", "160"),
        "temperature": number_in("0", "-0", "0.0", "1", "1.0", "10e-1", "0.5", "5E-1", "1e-30"),
        "top_p": number_in("1", "1.00", "0.9", "0.900", "0.9000000000000000000000001"),
        "n": number_in("1", "2"),
        "best_of": number_in("0", "1", "2", "3"),
        "stop": st.one_of(st.none(), TEXTS, st.lists(TEXTS, max_size=3)),
        "suffix": st.one_of(st.none(), TEXTS),
        "echo": st.sampled_from([None, True, False]),
        "logprobs": number_in("0", "5"),
        "frequency_penalty": number_in("0", "-0.0", "0.5", "-2"),
        "presence_penalty": number_in("0", "-0.0", "0.5", "-2"),
        "logit_bias": st.one_of(
            st.none(), st.dictionaries(TEXTS, st.sampled_from([Number("1"), Number("1.0")]))
        ),
        "seed": number_in("0", "1", "18446744073709551616", "18446744073709551617", "2e30"),
        "user": TEXTS,
        "metadata": VALUES,
        "store": VALUES,
        "min_p": VALUES,
        "max_completion_tokens": numbers(),
        "guided_json": VALUES,
    },
)
PROMPTS = st.one_of(
    TEXTS, st.lists(TEXTS, min_size=1, max_size=3), IDS, st.lists(IDS, min_size=1, max_size=3)
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system"]), "content": TEXTS}, optional={"name": VALUES}
    ),
    min_size=1,
    max_size=2,
)
INPUTS = st.one_of(
    st.fixed_dictionaries({"prompt": PROMPTS}),
    st.fixed_dictionaries({"prompt": PROMPTS}),
    st.fixed_dictionaries({"messages": MESSAGES}),
)
REQUESTS = st.builds(
    lambda members, more, given: {"model": "m"} | more | members | given,
    MEMBERS,
    st.dictionaries(TEXTS.filter(lambda name: name not in FIELDS), VALUES, max_size=2),
    INPUTS,
)
LEVELS = st.sampled_from(["none", "standard", "loose"])
NAMES = st.sampled_from(["", "a", "b", "S1:a", "aS0:"])
PLACES = st.fixed_dictionaries(
    {
        "scope": st.fixed_dictionaries(
            {"kind": st.sampled_from(["tenant", "key", "global"]), "tenant": NAMES, "key": NAMES}
        ),
        "namespace": NAMES,
        "family": NAMES,
        "alias": NAMES,
        "targets": st.lists(st.lists(NAMES, max_size=3), max_size=3),
        "normalize": LEVELS,
    }
)


def valid(document: dict[str, Any], chance: random.Random | None = None) -> bytes:
    """The body; the few combinations that are refused are not looked at."""
    body = written(document, chance)
    try:
        parse(body)
    except InvalidRequest:
        assume(False)
    return body


# The form


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_a_vector_gives_its_forms_and_digests(vector: dict[str, Any]) -> None:
    assert vector["version"] == VERSION
    place = {name: vector[name] for name in PLACE}
    request = parse(vector["body"].encode())
    forms = [
        bytes.fromhex(result["form_hex"]) if "form_hex" in result else result["form"].encode()
        for result in vector["results"]
    ]
    headers = [
        (name.encode(), value.encode("latin-1")) for name, value in vector.get("headers", ())
    ]
    assert fingerprinter(place).forms(request, headers) == forms
    assert [digest.hex() for digest in fingerprinter(place).of(request, headers)] == [
        result["digest"] for result in vector["results"]
    ]
    assert [hashlib.blake2b(form, digest_size=32).hexdigest() for form in forms] == [
        result["digest"] for result in vector["results"]
    ]


def test_there_are_vectors_enough_and_each_has_a_name_of_its_own() -> None:
    names = [vector["name"] for vector in VECTORS["vectors"]]
    assert len(names) == len(set(names)) >= 25


@settings(deadline=None, max_examples=300)
@given(PLACES, REQUESTS, st.randoms(use_true_random=False))
def test_the_fast_form_is_the_plain_one(
    place: dict[str, Any], document: dict[str, Any], chance: random.Random
) -> None:
    body = valid(document, chance)
    forms = [form(meant) for meant in meaning(place, body)]
    assert fingerprinter(place).forms(parse(body)) == forms
    expected = [hashlib.blake2b(form, digest_size=32).digest() for form in forms]
    assert fingerprinter(place).of(parse(body)) == expected


@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(PLACES, REQUESTS), min_size=2, max_size=2))
def test_digests_are_equal_exactly_where_the_meanings_are(
    asked: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    found = []
    for place, document in asked:
        body = valid(document)
        found += list(zip(meaning(place, body), fingerprinter(place).of(parse(body)), strict=True))
    for (one, digest), (other, another) in combinations(found, 2):
        assert (one == other) == (digest == another)


@settings(deadline=None, max_examples=300)
@given(REQUESTS, st.data())
def test_a_request_with_one_thing_changed_means_the_same_exactly_if_the_digest_is_the_same(
    document: dict[str, Any], data: st.DataObject
) -> None:
    changed = document | data.draw(st.one_of(MEMBERS, INPUTS))
    if "prompt" in changed and "messages" in changed:
        del changed["messages"]
    one, other = valid(document), valid(changed)
    assert (meaning(PLACE, one) == meaning(PLACE, other)) == (digests(one) == digests(other))


# What is equal


@settings(deadline=None)
@given(REQUESTS, st.randoms(use_true_random=False), st.randoms(use_true_random=False))
def test_member_order_white_space_and_escapes_do_not_matter(
    document: dict[str, Any], one: random.Random, other: random.Random
) -> None:
    assert digests(valid(document, one)) == digests(valid(document, other))


@settings(deadline=None)
@given(REQUESTS, TEXTS, VALUES, VALUES, st.booleans())
def test_how_an_answer_is_delivered_and_booked_does_not_matter(
    document: dict[str, Any], user: str, metadata: Any, store: Any, usage: bool
) -> None:
    more = {"stream": True, "stream_options": {"include_usage": usage}}
    more |= {"user": user, "metadata": metadata, "store": store}
    assert digests(valid(document)) == digests(valid(document | more))


DEFAULTS = {
    "max_tokens": ["16"],
    "temperature": ["1", "1.0", "1e0", "0.1e+1", "10E-1"],
    "top_p": ["1", "1.00", "100e-2"],
    "n": ["1"],
    "best_of": ["1", "0"],
    "echo": ["false"],
    "frequency_penalty": ["0", "0.0", "-0", "-0.0", "0e5", "0E-999999999999"],
    "presence_penalty": ["0", "0.0", "-0", "-0.0", "0e5", "0E-999999999999"],
    "logit_bias": ["{}"],
    "logprobs": [],
    "stop": ["[]"],
    "suffix": [],
    "seed": [],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name in DEFAULTS for text in [*DEFAULTS[name], "null"]]
)
def test_a_default_is_the_same_as_none_given(name: str, text: str) -> None:
    assert of(**{name: Number(text)}) == of()


def test_every_field_has_its_default_here_or_is_left_out() -> None:
    assert FIELDS.keys() - LEFT_OUT == DEFAULTS.keys()


def test_best_of_is_n_where_it_is_not_given() -> None:
    assert of(n=3) == of(n=3, best_of=3) != of(n=3, best_of=4)


@pytest.mark.parametrize(
    "texts",
    [
        ["0", "0.0", "-0", "-0.0", "0e5", "0E-9", "0e-" + "9" * 5000],
        ["1", "1.0", "1e0", "1E+0", "0.1e1", "1" + "0" * 50 + "e-50", "1e-" + "0" * 5000],
        ["0.5", "0.50", "5e-1", "50E-2", "0.5e00"],
        ["-100", "-1e2", "-1e+02", "-100.0"],
        ["18446744073709551616", "18446744073709551616.0", "1844674407370955161.6e1"],
        ["1e-" + "9" * 5000, "10e-1" + "0" * 5000, "0.1e-" + "9" * 4999 + "8"],
    ],
)
@pytest.mark.parametrize("wrap", [lambda n: n, lambda n: [n], lambda n: {"a": [n]}])
def test_a_number_counts_by_its_value(texts: list[str], wrap: Callable[[Number], Any]) -> None:
    assert len({of(min_p=wrap(Number(text))) for text in texts}) == 1


def test_a_lone_stop_is_a_list_of_it() -> None:
    assert of(stop="x") == of(stop=["x"])
    assert len({of(stop=stop) for stop in ["", "x", ["x", "x"], ["xx"], ["x", ""], []]}) == 6


@settings(deadline=None)
@given(MEMBERS, PROMPTS, LEVELS)
def test_a_prompt_has_the_same_digest_alone_as_in_a_batch(
    members: dict[str, Any], prompt: Any, level: str
) -> None:
    body = valid(BASE | members | {"prompt": prompt})
    alone = []
    for one in parse(body).prompts:
        bare, listed = (
            digests(written(BASE | members | {"prompt": given}), normalize=level)
            for given in (one, [one])
        )
        assert bare == listed
        alone += bare
    assert digests(body, normalize=level) == alone


def test_a_part_of_a_batch_keeps_its_digests() -> None:
    request = parse(b'{"model": "m", "prompt": ["a", "b", "c"], "x": 1.50}')
    whole = fingerprinter(PLACE).of(request)
    assert fingerprinter(PLACE).of(request.of_prompts([2, 0])) == [whole[2], whole[0]]


# What is different

KNOWN: dict[str, list[Any]] = {
    "max_tokens": [0, 1, 17, 160],
    "temperature": [0, 0.1, 0.7, 2, Number("0.7000000000000000000001")],
    "top_p": [0, 0.1, 0.7, Number("0.9999999999999999999999")],
    "n": [2, 20],
    "best_of": [2, 20],
    "echo": [True],
    "logprobs": [0, 1, 5],
    "frequency_penalty": [0.1, -0.1, 1, 2],
    "presence_penalty": [0.1, -0.1, 1, 2],
    "logit_bias": [{"1": 1}, {"1": -1}, {"1": 10}, {"11": 1}, {"1": 1, "2": 1}, {"1": 1.5}],
    "stop": ["x", "X", " x", ["x", "y"], ["y", "x"], "xy", "", "S1:x"],
    "suffix": ["", "x", "X", " x", "x\r\ny", "x\ny", "null"],
    "seed": [0, 1, -1, 10, 2**64, 2**64 + 1, 10**300, 10**300 + 1],
    "prompt": [
        *["", "P", "p p", "p  p", "p\np", "e\u0301", "1,2", "[1,2]", "[1, 2]", "1", "I3:1,2"],
        *[[1, 2], [12], [1], [0, 1], [2, 1], [1, 2, 0], [2**63]],
    ],
}
UNKNOWN: dict[str, list[Any]] = {
    "min_p": [None, 0, 0.05, 0.5, "0.05", [0.05], True, False, "", [], {}],
    "repetition_penalty": [1, 1.1, 1.01, Number("1.1000000000000000000000000001")],
    "guided_json": [
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {"type": "number"}}},
        {"type": "object", "properties": {"a": {"type": "number", "minimum": 0.1}}},
        {"type": "object", "properties": {"a": {"type": "number", "minimum": "0.1"}}},
        {"type": "object", "properties": {"a": {"type": "number", "minimum": True}}},
        {"type": "object", "properties": {"a": {"type": "number", "minimum": None}}},
        {"type": "object", "properties": [{"a": {"type": "number"}}]},
        {"enum": ["a", "b"]},
        {"enum": ["b", "a"]},
        {"enum": ["ab"]},
        {"enum": [["a"], "b"]},
        {"enum": [["a", "b"]]},
    ],
    "big": [2**64, 2**64 + 1, -(2**64), 10**30, 10**30 + 1, Number("1e308"), Number("1e-400")],
    "small": [Number(f"1e-{'9' * 5000}"), Number(f"1e-{'9' * 4999}8"), Number("-1e-400"), 0],
    "max_completion_tokens": [1, 16],
    "top_k": [5, 50],
    "Temperature": [0],
}


def test_any_difference_in_any_member_is_another_question() -> None:
    requests = [{}, *({name: v} for name, values in (KNOWN | UNKNOWN).items() for v in values)]
    assert len({of(**members) for members in requests}) == len(requests)


def test_every_field_is_told_apart_here() -> None:
    assert KNOWN.keys() == FIELDS.keys() - LEFT_OUT | {"prompt"}


def test_null_on_an_unknown_member_is_not_the_same_as_its_absence() -> None:
    assert of(min_p=None) != of()


PLACES_APART: list[dict[str, Any]] = [
    {},
    {"scope": {"kind": "tenant", "tenant": "acm", "key": "e"}},
    {"scope": {"kind": "tenant", "tenant": "", "key": "acme"}},
    {"scope": {"kind": "tenant", "tenant": "Acme", "key": ""}},
    {"scope": {"kind": "key", "tenant": "acme", "key": ""}},
    {"scope": {"kind": "key", "tenant": "acme", "key": "k1"}},
    {"scope": {"kind": "key", "tenant": "acme", "key": "k2"}},
    {"scope": {"kind": "global", "tenant": "", "key": ""}},
    {"namespace": "a"},
    {"namespace": "A"},
    {"family": "chat"},
    {"alias": "m2"},
    {"alias": ""},
    {"namespace": "completions", "family": ""},
    {"targets": []},
    {"targets": [[]]},
    {"targets": [["openai"], ["gpt-3.5-turbo-instruct"]]},
    {"targets": [["openai", "gpt-3.5-turbo-instruct", ""]]},
    {"targets": [["openaigpt-3.5-turbo-instruct"]]},
    {"targets": [["openai", "gpt-3.5-turbo-instruct"], ["other", "model"]]},
    {"targets": [["other", "model"], ["openai", "gpt-3.5-turbo-instruct"]]},
    {"normalize": "none"},
    {"normalize": "loose"},
]


def test_another_place_is_another_question() -> None:
    body = orjson.dumps(BASE)
    assert len({digests(body, **place)[0] for place in PLACES_APART}) == len(PLACES_APART)


def test_prompt_and_suffix_do_not_flow_into_each_other() -> None:
    pairs = [
        {"prompt": "x", "suffix": "y"},
        {"prompt": "xsuffix: y"},
        {"prompt": "xy"},
        {"prompt": "", "suffix": "xy"},
        {"prompt": "xy", "suffix": ""},
        {"prompt": "y", "suffix": "x"},
        {"prompt": "xS6:suffixS1:y"},
        {"prompt": "x", "suffix": "yS6:promptS1:x"},
    ]
    assert len({of(**pair) for pair in pairs}) == len(pairs)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from("S1:xA0N"), max_size=8).map("".join), min_size=4, max_size=4)
)
def test_texts_that_speak_the_encoding_s_language_stay_in_their_place(texts: list[str]) -> None:
    prompt, suffix, name, value = texts
    alone = of_text(prompt, "none", suffix=suffix, **{"x" + name: value})
    for other in ([suffix, prompt, name, value], [prompt + suffix, "", name, value]):
        there = of_text(other[0], "none", suffix=other[1], **{"x" + other[2]: other[3]})
        assert (there == alone) == (other == texts)
    moved = of_text(prompt, "none", suffix=suffix, **{"x" + name + value: ""})
    assert (moved == alone) == (value == "")


def test_a_prompt_that_holds_a_whole_form_is_only_a_prompt() -> None:
    (whole,) = fingerprinter(PLACE).forms(parse(orjson.dumps(BASE)))
    nested = of(prompt=whole.decode())
    assert nested not in {of(), of(prompt=whole.decode()[:-1]), of(suffix=whole.decode())}


def test_messages_are_not_a_prompt() -> None:
    chat = [{"role": "user", "content": "p"}]
    asked: list[dict[str, Any]] = [
        {"messages": chat},
        {"messages": [{"role": "system", "content": "p"}]},
        {"messages": [{"role": "system", "content": "s"}, *chat]},
        {"messages": chat * 2},
        {"messages": [{"role": "user", "content": "P"}]},
        {"messages": [{"role": "user", "content": " p"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "p"}]}]},
        {"messages": [{"role": "user", "content": "p", "name": None}]},
        {"prompt": "p"},
        {"prompt": json.dumps(chat)},
    ]
    found = [digests(written({"model": "m"} | one)) for one in asked]
    assert all(len(one) == 1 for one in found)
    assert len({one[0] for one in found}) == len(asked)


# Normalization

LEVEL_CASES = [  # two texts, and the levels at which they are the same question
    ("x", " x\n", "standard loose"),
    ("x", "\u00a0\u2003x\x1c", "standard loose"),
    ("", " \n", "standard loose"),
    ("x\ny", "x\r\ny", "standard loose"),
    ("\u00e9", "e\u0301", "standard loose"),
    ("\u212b", "\u00c5", "standard loose"),
    ("a\u0301\u0323", "a\u0323\u0301", "standard loose"),
    ("x y", "x \t\n  y", "loose"),
    ("x y", "x\u00a0y", "loose"),
    ("x y", "X Y", "loose"),
    ("Stra\u00dfe", "STRASSE", "loose"),
    ("\u0390", "\u03b9\u0308\u0301", "standard loose"),
    ("\u0390x", "\u1fd3X", "loose"),
    ("x\ry", "x\ny", "loose"),
    ("xy", "x y", ""),
    ("x", "\u200bx", ""),
    ("\ufb01", "fi", "loose"),
    ("\u2460", "1", ""),
    ("11 miles", "10 miles", ""),
]


@pytest.mark.parametrize("level", ["none", "standard", "loose"])
@pytest.mark.parametrize(("one", "other", "levels"), LEVEL_CASES)
def test_a_level_makes_equal_what_it_says(one: str, other: str, levels: str, level: str) -> None:
    assert (of_text(one, level) == of_text(other, level)) == (level in levels.split())


@pytest.mark.parametrize("members", [{"echo": True}, {"logprobs": 0}])
@pytest.mark.parametrize("level", ["standard", "loose"])
def test_a_prompt_that_is_part_of_the_answer_is_taken_as_it_is(
    members: dict[str, Any], level: str
) -> None:
    assert of_text("x", level, **members) != of_text("x ", level, **members)
    assert of_text("x", level, **members) == of_text("x", "none", **members)


@pytest.mark.parametrize("level", ["standard", "loose"])
def test_token_ids_suffix_and_messages_are_never_normalised(level: str) -> None:
    assert of_text([1, 2], level) == of_text([1, 2], "none")
    assert of_text("x", level, suffix="y") != of_text("x", level, suffix="y ")
    chat = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "p"}]})
    assert digests(chat, normalize=level) == digests(chat, normalize="none")


def test_white_space_is_exactly_the_documented_one() -> None:
    every = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
    assert "".join(char for char in every if not normalized(char, "standard")) == SPACES
    assert all(
        f"U+{ord(char):04X}" in DOCUMENT for char in SPACES if not "\u2000" < char < "\u200a"
    )


@settings(deadline=None)
@given(
    st.text("-\u0301\u0300\u0323\u0345\u0344\u0f71\u0f73\u0f74\u0f81\u05b0", min_size=10),
    st.integers(7, 20),
)
def test_long_rows_of_marks_come_out_in_plain_nfc(row: str, times: int) -> None:
    text = f"a{row * times}b"
    assert normalized(text, "standard") == unicodedata.normalize("NFC", text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("mark", ["\u0301\u0323", "\u0f73\u0f71", "\u0344\u0316"])
def test_a_row_of_marks_out_of_order_does_not_take_minutes(mark: str) -> None:
    assert normalized("a" + mark * 200_000, "loose")


# Headers that go upstream

HEADERS = st.lists(
    st.tuples(st.sampled_from([b"x-a", b"x-b", b"accept-language"]), st.binary(max_size=6)),
    max_size=4,
)


def ordered(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, list[bytes]]]:
    names = sorted({name for name, _ in headers})
    return [(name, [value for has, value in headers if has == name]) for name in names]


@given(HEADERS, HEADERS)
def test_other_headers_are_another_question(
    one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]]
) -> None:
    request = parse(b'{"model":"m","prompt":"p"}')
    maker = fingerprinter(PLACE)
    same = ordered(one) == ordered(other)
    assert (maker.of(request, one) == maker.of(request, other)) == same
    assert (maker.partition(request, "", one) == maker.partition(request, "", other)) == same


def test_without_headers_the_form_is_what_it_was() -> None:
    request = parse(b'{"model":"m","prompt":"p"}')
    maker = fingerprinter(PLACE)
    assert maker.forms(request, []) == maker.forms(request)
    [with_one] = maker.forms(request, [(b"x-a", b"1")])
    assert with_one == maker.forms(request)[0] + b"S7:headersA1:A2:S3:x-aS1:1"


# The document


def test_the_document_s_examples_are_vectors() -> None:
    by_name = {vector["name"]: vector for vector in VECTORS["vectors"]}
    examples = re.findall(
        r"### Example: `(.+?)`\n.*?```json\n(.*?)\n```\n.*?```text\n(.*?)\n```\n.*?`([0-9a-f]{64})`",
        DOCUMENT,
        re.DOTALL,
    )
    assert len(examples) >= 2
    for name, body, form_text, digest in examples:
        vector = by_name[name]
        assert vector["body"] == body
        assert vector["results"] == [{"form": form_text, "digest": digest}]


@pytest.mark.parametrize("name", sorted(FIELDS.keys() | LEFT_OUT))
def test_the_document_names_every_member(name: str) -> None:
    assert f"`{name}`" in DOCUMENT


@pytest.mark.parametrize("field", ["max_tokens", "n", "logprobs", "seed"])
def test_an_integer_and_its_float_are_one_question(field: str) -> None:
    body = b'{"model":"m","prompt":"p","%b":%b}'
    keys = [digests(body % (field.encode(), number)) for number in (b"2", b"2.0", b"2e0", b"0.2e1")]
    assert keys == [keys[0]] * 4
