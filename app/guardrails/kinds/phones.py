"""Telephone numbers: by their form, by a country's plan of numbers, or by the words before them.

Sources: ITU E.164; libphonenumber, which validates after a match.
"""

from __future__ import annotations

import re

import phonenumbers

from app.guardrails.matching.edges import BEFORE, FIVE_DIGITS, text_of, touches
from app.guardrails.matching.pattern import Pattern

_PHONE_WORDS = re.compile(
    rb"(?i)\b(?:phone|telephone|tel|mobile|cell|cellphone|fax|whatsapp|sms|call|called|calling|dial|ring"
    rb"|reach|text|telefon|handy|mobil|t\xc3\xa9l\xc3\xa9phone|tel\xc3\xa9fono|telefono|celular|contact|hotline"
    rb"|landline|voicemail|(?:my|his|her|their|our|your)(?: \w{1,12})? number|phonenumber|phone_number"
    rb"|cellulare|telefone|telefoon|numer|numero de tel|num\xc3\xa9ro|n\xc3\xbamero)\b[^\n]{0,32}$"
)
_NO_PHONE_WORDS = re.compile(
    rb"(?i)(?:order|invoice|account|acct|ticket|serial|tracking|card|ssn|social|routing|isbn|iban|version"
    rb"|part|item|model|product|zip|id|ref|reference|case|passport|license|licence|timestamp|epoch|sku)\b[\w ]{0,10}[#:. ]{0,3}$"
)
_DATE = re.compile(
    r"(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:[0-2]?\d|3[01])(?:[ T]\d.*)?"
    r"|(?:[0-2]?\d|3[01])[-./ ](?:[0-2]?\d|3[01])[-./ ](?:(?:19|20)\d\d|\d\d)(?: \d.*)?"
    r"|\d{1,3}(?:\.\d{1,3}){3}|\d+\.\d+"
)
_NORTH_AMERICAN = re.compile(
    r"(?:1[-. ]?)?(?:\(\d{3}\) ?|\d{3}[-./ ])\d{3}[-. ]\d{4}|(?:1[-. ]?)?\(\d{3}\) ?\d{7}"
)
_RANGE = re.compile(r"\d{1,6}0 ?- ?\d{1,6}0")
_EXTENSION = re.compile(r" ?(?:x|ext\.?|extension|#) ?\d{1,6}$")
_IN_PAIRS = re.compile(r"0\d(?:[ .\-]\d{2}){4}")
# As it is written where the area is set apart: 030 / 1234567, 0171-123 45 67.
_AREA = re.compile(r"\(?0[1-9]\d{0,3}\)?(?: ?[/\-.] ?| )\d{2,8}(?:[ \-.]\d{2,4}){0,3}")
# An area or a country in brackets, which nothing else has: (351) 924 133 532, 8 (392) 727-76-91.
_BRACKETED = re.compile(r"(?:\d{1,3}[ \-]?)?\(\d{2,5}\)[ /\-.]{0,2}\d{2,9}(?:[ \-.]\d{2,5}){0,4}")
_YEAR = re.compile(r"\((?:19|20)\d\d\)")
_BRAZILIAN = re.compile(r"\(?[1-9]\d\)? 9?[2-9]\d{3}-\d{4}")
_NATIONAL = re.compile(r"\(?0\d{1,5}\)?(?:[ ./\-\u00a0]{0,2}\(?\d{1,8}\)?){0,6}")
# Where a number that begins with 0 is looked up.
_REGIONS = (
    "GB",
    "DE",
    "FR",
    "IT",
    "NL",
    "ES",
    "AU",
    "IN",
    "JP",
    "BR",
    "CH",
    "AT",
    "BE",
    "SE",
    "PL",
)


def phone_patterns() -> list[Pattern]:
    number = r"(?:\+|\(|\b)\d(?:[ .\-/()\x{A0}\x{2011}\x{2013}]{0,3}\d){6,16}"
    number += r"(?: ?(?:x|ext\.?|extension|#) ?\d{1,6}\b)?"
    return [Pattern("phone", number, check=_is_phone, hint=FIVE_DIGITS)]


def _is_phone(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    if touches(data, start, -1, b"._/+#$=%" if data[start] != 0x2B else b"._/+=") or touches(
        data, end, 0, b"_%"
    ):
        return None
    if re.match(rb"[.\-/:,]\d", data[end : end + 2]):
        return None  # a part of something longer
    text = _EXTENSION.sub("", text_of(data, start, end))
    digits = re.sub(r"\D", "", text)
    is_date = _DATE.fullmatch(text) and not _IN_PAIRS.fullmatch(text)
    if len(digits) > 15 or is_date or len(set(digits)) == 1 or digits in "01234567890123456789":
        return None
    before = data[max(0, start - BEFORE) : start]
    return (start, end) if _could_be_called(text, digits, before) else None


def _could_be_called(text: str, digits: str, before: bytes) -> bool:
    """Whether a row of digits is a telephone number: by its form, its place or the words before it."""
    if text.startswith("+") or (text.startswith("00") and len(digits) >= 10):
        if re.fullmatch(r"\+?\d+\.\d{1,3}", text):
            return False  # a number with a fraction
        parted = len(digits) >= 9 and re.fullmatch(r"\+?\d+(?:\.\d+)?", text) is None
        return parted or _is_possible("+" + digits.removeprefix("00"), None)
    if _NO_PHONE_WORDS.search(before):
        return False
    if len(digits) in range(9, 14) and _BRACKETED.fullmatch(text) and not _YEAR.match(text):
        return True
    if _NORTH_AMERICAN.fullmatch(text) or _BRAZILIAN.fullmatch(text) or _IN_PAIRS.fullmatch(text):
        return True
    if _PHONE_WORDS.search(before):
        return len(digits) >= 7 and not (_RANGE.fullmatch(text) or digits.endswith("00000"))
    if len(digits) in range(9, 12) and _AREA.fullmatch(text):
        return True
    if text.startswith(("(0", "0")) and len(digits) >= 9 and _NATIONAL.fullmatch(text):
        return any(_is_valid(digits, region) for region in _REGIONS)
    return False


def _is_possible(number: str, region: str | None) -> bool:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_possible_number(parsed)


def _is_valid(number: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
