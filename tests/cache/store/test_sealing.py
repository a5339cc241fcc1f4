"""What is encrypted comes back to who has the key, at its own place, as it was, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.values.encryption_key import derived, parse_encryption_key
from app.core.usage import Usage
from cache.answers.entry import CacheEntry, Undecodable
from cache.answers.entry_bytes import Entries
from cache.store.sealing import Seal, Unsealed

OLD, NEW = b"o" * 32, b"n" * 32
SEAL = Seal([OLD])
NOW = 1_700_000_000_000
ANSWER = CacheEntry(
    b'{"id":"cmpl-1"}', "up", "gpt", Usage(3, 5), 120, NOW, NOW + 1, NOW + 9, NOW, NOW
)


def opened(seal: Seal, data: bytes, place: bytes) -> bytes | None:
    """None where it cannot be read; anything else that is raised fails."""
    try:
        return seal.open(data, place)
    except Unsealed:
        return None


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_what_is_encrypted_comes_back(data: bytes, place: bytes) -> None:
    sealed = SEAL.close(data, place)
    assert SEAL.open(sealed, place) == data
    assert Seal([OLD]).open(sealed, place) == data
    assert len(data) < 8 or data not in sealed


def test_at_another_place_it_cannot_be_read() -> None:
    assert opened(SEAL, SEAL.close(b"data", b"here"), b"there") is None


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    rotating = Seal([NEW, OLD])
    assert opened(rotating, SEAL.close(b"data", b""), b"") == b"data"
    assert opened(SEAL, rotating.close(b"data", b""), b"") is None
    assert opened(Seal([NEW]), rotating.close(b"data", b""), b"") == b"data"


def test_one_wrong_byte_and_it_cannot_be_read() -> None:
    sealed = SEAL.close(b"data", b"here")
    spoilt = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    assert {opened(SEAL, data, b"here") for data in spoilt} == {None}


def test_no_part_of_it_can_be_read() -> None:
    sealed = SEAL.close(b"data", b"here")
    assert {opened(SEAL, sealed[:end], b"here") for end in range(len(sealed))} == {None}


def test_no_two_messages_are_encrypted_alike() -> None:
    both = [Seal([OLD]) for _ in range(2)]
    assert len({seal.close(b"data", b"")[:28] for seal in both for _ in range(100)}) == 200


@given(st.binary(max_size=80))
def test_rubbish_cannot_be_read(data: bytes) -> None:
    assert opened(SEAL, data, b"") is None


# Entries


def read(entries: Entries, name: str, data: bytes) -> CacheEntry | None:
    try:
        return entries.decode(name, data)
    except Undecodable:
        return None


def test_an_entry_comes_back_under_its_own_name_only() -> None:
    entries = Entries(SEAL)
    data = entries.encode("a", ANSWER)
    assert (read(entries, "a", data), read(entries, "b", data)) == (ANSWER, None)


def test_the_moments_in_clear_are_authenticated() -> None:
    entries = Entries(SEAL)
    data = entries.encode("a", ANSWER)
    assert data.startswith(b"[%d,%d,%d," % (NOW, NOW + 1, NOW + 9))
    longer = data.replace(b"%d" % (NOW + 9), b"%d" % (NOW + 8), 1)
    assert read(entries, "a", longer) is None


def test_with_keys_no_entry_in_clear_is_read_and_without_none_that_is_encrypted() -> None:
    sealed, plain = Entries(SEAL), Entries()
    assert read(sealed, "a", plain.encode("a", ANSWER)) is None
    assert read(plain, "a", sealed.encode("a", ANSWER)) is None


# Keys


@pytest.mark.parametrize(
    "text",
    ["6e" * 32, "6E" * 32, "bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4=", " " + "6e" * 32 + "\n",
     "bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4"],
)  # fmt: skip
def test_a_key_is_hexadecimal_or_base64(text: str) -> None:
    assert parse_encryption_key(text) == NEW


def test_a_key_may_be_url_safe_base64() -> None:
    assert parse_encryption_key("_" * 42 + "8=") == b"\xff" * 32


@pytest.mark.parametrize(
    "text", ["", "6e" * 31, "6e" * 33, "zz" * 32, "bm5u", "!" * 44, "\u00e9" * 64]
)
def test_what_is_no_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes") as caught:
        parse_encryption_key(text)
    assert not text or text not in str(caught.value)


def test_derived_keys_differ_by_purpose_salt_and_key() -> None:
    keys = {derived(OLD, b"a"), derived(OLD, b"b"), derived(OLD, b"a", b"s"), derived(NEW, b"a")}
    assert len(keys | {OLD, NEW}) == 6
