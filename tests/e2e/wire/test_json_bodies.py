"""A body is one strict JSON object, in a media type and coding that say so."""

import gzip
import json
import zlib

import pytest

from tests.e2e.wire.test_raw_http import GOOD, said
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.prompts import PRIVATE
from tests.harness.raw_connection import RawAnswer, raw_request
from tests.harness.upstream import Upstream

# JSON that two parsers could read in two ways.

STRANGE = {
    "empty": b"",
    "white space": b"  \n",
    "not json": b"model=native",
    "cut": GOOD[:-1],
    "more": GOOD + b"x",
    "two": GOOD + GOOD,
    "NaN": b'{"model":"native","prompt":"x","temperature":NaN}',
    "Infinity": b'{"model":"native","prompt":"x","temperature":Infinity}',
    "-Infinity": b'{"model":"native","prompt":"x","x":-Infinity}',
    "NaN in an unknown member": b'{"model":"native","prompt":"x","y":[NaN]}',
    "a number beyond all floats": b'{"model":"native","prompt":"x","y":1e999}',
    "leading zero": b'{"model":"native","prompt":"x","n":01}',
    "hex": b'{"model":"native","prompt":"x","n":0x1}',
    "plus": b'{"model":"native","prompt":"x","n":+1}',
    "comment": b'{"model":"native","prompt":"x"/* */}',
    "trailing comma": b'{"model":"native","prompt":"x",}',
    "single quotes": b"{'model':'native','prompt':'x'}",
    "duplicate member": b'{"model":"native","prompt":"x","model":"off"}',
    "duplicate prompt": b'{"model":"native","prompt":"x","prompt":"y"}',
    "duplicate by escape": b'{"model":"native","prompt":"x","mod\\u0065l":"off"}',
    "duplicate inside": b'{"model":"native","prompt":"x","y":{"a":1,"a":2}}',
    "duplicate deep inside": b'{"model":"native","prompt":"x","y":[{"z":{"a":1,"b":2,"a":3}}]}',
    "duplicate beside colons": b'{"model":"native","prompt":"a:b:c","x":"d:e","x":":"}',
    "duplicate beside escaped colons": b'{"model":"native","prompt":"\\u003a","y":1,"y":2}',
    "duplicate balanced by an escaped colon": b'{"model":"native","prompt":"\\u003A","y":1,"y":1}',
    "lone high surrogate": b'{"model":"native","prompt":"\\ud800"}',
    "lone low surrogate": b'{"model":"native","prompt":"\\udc00 x"}',
    "lone surrogate in an unknown member": b'{"model":"native","prompt":"x","y":"\\ud800"}',
    "lone surrogate in a name": b'{"model":"native","prompt":"x","\\ud800":1}',
    "swapped surrogates": b'{"model":"native","prompt":"\\ude00\\ud83d"}',
    "invalid utf-8": b'{"model":"native","prompt":"\xff"}',
    "overlong utf-8": b'{"model":"native","prompt":"\xc0\xaf"}',
    "utf-8 of a surrogate": b'{"model":"native","prompt":"\xed\xa0\x80"}',
    "cut utf-8": b'{"model":"native","prompt":"\xe6\xbc"}',
    "utf-16": '{"model":"native","prompt":"x"}'.encode("utf-16"),
    "utf-32": '{"model":"native","prompt":"x"}'.encode("utf-32"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "a raw control character": b'{"model":"native","prompt":"a\nb"}',
    "a raw NUL": b'{"model":"native","prompt":"a\x00b"}',
    "a bad escape": b'{"model":"native","prompt":"\\x41"}',
    "list": b"[" + GOOD + b"]",
    "string": b'"native"',
    "number": b"5",
    "null": b"null",
    "deep lists": b'{"model":"native","prompt":"x","y":' + b"[" * 500 + b"]" * 500 + b"}",
    "deep objects": b'{"model":"native","prompt":"x","y":' + b'{"a":' * 500 + b"1" + b"}" * 501,
    "very deep": b'{"model":"native","prompt":"x","y":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep and unclosed": b"[" * 900_000,
    "deep prompt": b'{"model":"native","prompt":' + b"[" * 500 + b"]" * 500 + b"}",
}


@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE.keys())
def test_a_body_that_is_not_one_strict_json_object_is_a_400(
    gateway: Gateway, upstream: Upstream, body: bytes
) -> None:
    answer = said(gateway, raw_request(body))
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "invalid_json"
    assert PRIVATE not in answer.error["message"]
    assert upstream.requests == []


def test_nesting_within_reason_is_fine(gateway: Gateway, upstream: Upstream) -> None:
    body = b'{"model":"native","prompt":"x","y":' + b"[" * 90 + b"]" * 90 + b"}"
    assert said(gateway, raw_request(body)).status == 200


def test_brackets_in_a_text_are_no_nesting(gateway: Gateway, upstream: Upstream) -> None:
    body = json.dumps({"model": "native", "prompt": "[{" * 5000}).encode()
    assert said(gateway, raw_request(body)).status == 200


def test_colons_in_a_text_are_no_members(gateway: Gateway, upstream: Upstream) -> None:
    body = b'{"model":"native","prompt":"a:b\\u003ac\\u003A\\\\u003a:"}'
    assert said(gateway, raw_request(body)).status == 200


def test_an_error_about_json_does_not_quote_the_body(gateway: Gateway) -> None:
    body = b'{"model":"native","prompt":"%b"' % PRIVATE.encode()
    assert PRIVATE.encode() not in said(gateway, raw_request(body)).body


# Media types and codings.


def post(gateway: Gateway, body: bytes, *headers: str) -> RawAnswer:
    lines = [f"authorization: Bearer {KEY}", "host: gateway", *headers]
    head = "\r\n".join(["POST /v1/completions HTTP/1.1", *lines, f"content-length: {len(body)}"])
    return said(gateway, head.encode("latin-1") + b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "Application/JSON",
        "application/json ; charset=utf8",
    ],
)
def test_json_by_any_of_its_names_is_taken(gateway: Gateway, kind: str) -> None:
    assert post(gateway, GOOD, f"content-type: {kind}").status == 200


def test_a_body_without_a_type_is_taken_for_json(gateway: Gateway) -> None:
    assert post(gateway, GOOD).status == 200


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/xml",
        "",
    ],
)
def test_anything_but_json_is_a_415(gateway: Gateway, upstream: Upstream, kind: str) -> None:
    answer = post(gateway, GOOD, f"content-type: {kind}")
    assert answer.status == 415
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "unsupported_media_type"
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(GOOD, mtime=0)),
        ("gzip", GOOD),
        ("x-gzip", gzip.compress(GOOD, mtime=0)),
        ("deflate", zlib.compress(GOOD)),
        ("br", GOOD),
        ("zstd", GOOD),
        ("identity, gzip", gzip.compress(GOOD, mtime=0)),
    ],
)
def test_a_compressed_body_is_a_415(
    gateway: Gateway, upstream: Upstream, coding: str, body: bytes
) -> None:
    answer = post(gateway, body, "content-type: application/json", f"content-encoding: {coding}")
    assert answer.status == 415
    assert answer.error["code"] == "unsupported_media_type"
    assert upstream.requests == []


def test_the_identity_coding_is_none(gateway: Gateway) -> None:
    assert post(gateway, GOOD, "content-encoding: identity").status == 200


def test_a_gzip_body_that_does_not_say_so_is_not_json(gateway: Gateway) -> None:
    assert post(gateway, gzip.compress(GOOD)).error["code"] == "invalid_json"
