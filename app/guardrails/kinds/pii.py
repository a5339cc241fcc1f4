"""Personal data: a pattern finds what may be it, and a checksum or the plan of numbers decides.

Sources: ISO/IEC 7812 (cards), ISO 13616 (IBAN), ITU E.164 (telephone), SSA (social security numbers),
and the national rules in python-stdnum and libphonenumber, which validate after a match.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import cache

from stdnum import iban as iban_rules
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import ssn

from app.guardrails.kinds.phones import phone_patterns
from app.guardrails.matching.edges import BEFORE, FIVE_DIGITS, text_of, touches
from app.guardrails.matching.pattern import Check, Pattern

_IBAN = r"[A-Za-z]{2}\d{2}[ \-]?[A-Za-z0-9]{4}"
ENTITIES = ("email", "phone", "card", "iban", "ssn", "ip", "national_id")
_SEPARATORS = re.compile(r"[ .\-\u00a0\u2011\u2013/]")
# Numbers of cards by how many digits they have. Those of twelve are too common to be taken for one
# without a word that says so.
_ISSUERS = {
    12: re.compile(r"50|5[6-8]|6[0-9]"),
    13: re.compile(r"4|5018|60|6304|67"),
    14: re.compile(r"30[0-5]|3[689]|5018|6304|67"),
    15: re.compile(r"3[47]|2131|1800|5018|6304|67"),
    16: re.compile(r"4|5[0-8]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|35|3[068]|6|81|9[79]"),
    17: re.compile(r"5[06-8]|6"),
    18: re.compile(r"5[06-8]|6"),
    19: re.compile(r"4|5[06-8]|6|9792"),
}
_CARD_WORDS = re.compile(
    rb"(?i)(?:card|\bcc\b|credit|debit|maestro|visa|master|amex|pay)[^\n]{0,32}$"
)
_NO_CARD_WORDS = re.compile(
    rb"(?i)(?:ean|isbn|gtin|upc|barcode|imei|order|tracking|invoice|serial)\b[\w ]{0,10}[#:. ]{0,3}$"
)


def pii_patterns(entities: Iterable[str]) -> list[Pattern]:
    """The patterns of some entities."""
    return [pattern for entity in entities for pattern in _makers()[entity]()]


@cache
def _makers() -> dict[str, Callable[[], list[Pattern]]]:
    return {
        "email": _email,
        "phone": phone_patterns,
        "card": _card,
        "iban": _iban,
        "ssn": _ssn,
        "ip": _ip,
        "national_id": _national_ids,
    }


def _email() -> list[Pattern]:
    domain = r"(?:[A-Za-z0-9-]{1,40}\.){1,4}[A-Za-z]{2,24}"
    return [Pattern("email", rf"[A-Za-z0-9_][A-Za-z0-9._%+'-]{{0,63}}@{domain}\b", hint="@")]


def _card() -> list[Pattern]:
    return [Pattern("card", r"\b\d(?:[ \-.\x{A0}]?\d){11,18}", check=_is_card, hint=FIVE_DIGITS)]


def _iban() -> list[Pattern]:
    rest = r"(?:[ \-]?[A-Za-z0-9]{4}){2,7}(?:[ \-]?[A-Za-z0-9]{1,3})?"
    return [Pattern("iban", rf"\b[A-Za-z]{{2}}\d{{2}}{rest}", check=_is_iban, hint=_IBAN)]


def _ssn() -> list[Pattern]:
    return [
        Pattern("ssn", r"\b\d{3}[-\x{2013}\x{2011}]\d{2}[-\x{2013}\x{2011}]\d{4}\b", check=_is_ssn),
        Pattern("ssn", r"\b\d{3}[ .]?\d{2}[ .]?\d{4}\b", check=_beside(_SSN_WORDS, _is_ssn)),
    ]


def _ip() -> list[Pattern]:
    groups = r"(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}"
    return [
        Pattern("ip", r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b", check=_is_address),
        Pattern("ip", groups, check=_is_address, hint=r":[0-9A-Fa-f]{0,4}:"),
    ]


_NO_ADDRESS_WORDS = re.compile(
    rb"(?i)(?:version|release|section|chapter|clause|article|paragraph|figure|table|step|build|ver\.?"
    rb"|sections|rev\.?|\xc2\xa7) ?$"
)
_SSN_WORDS = re.compile(
    rb"(?i)(?:ssn|social[ -]?security|\bss ?#|tax(?:payer)? id|itin)[^\n]{0,32}$"
)


def _national_ids() -> list[Pattern]:
    valid, beside = _valid_by, _beside
    return [
        Pattern("national_id", regex, check=check)
        for regex, check in (
            (r"\b\d{8}[ -]?[A-Z]\b", valid(dni.is_valid)),
            (r"\b[XYZ][ -]?\d{7}[ -]?[A-Z]\b", valid(nie.is_valid)),
            (r"\b[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]\b", valid(codicefiscale.is_valid)),
            (
                r"\b[12] ?\d{2} ?\d{2} ?\d[0-9AB] ?\d{3} ?\d{3} ?\d{2}\b",
                valid(nir.is_valid),
            ),
            (r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b", valid(cpf.is_valid)),
            (r"\b756\.\d{4}\.\d{4}\.\d{2}\b", valid(ahv.is_valid)),
            (r"\b\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}\b", valid(nn.is_valid)),
            (r"\b\d{6}[-+A]\d{3}[0-9A-Y]\b", valid(hetu.is_valid)),
            (r"\b(?:19|20)?\d{6}[-+]\d{4}\b", valid(_is_nordic)),
            (r"\b\d{4} \d{4} \d{4}\b", valid(aadhaar.is_valid)),
            (r"\b\d{3}[ -]\d{3}[ -]\d{3}\b", valid(sin.is_valid)),
            (r"\b\d{3} \d{3} \d{4}\b", beside(_words(r"nhs"), valid(nhs.is_valid))),
            (r"\b\d{11}\b", beside(_words(r"pesel"), valid(pesel.is_valid))),
            (
                r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b",
                beside(_words(r"steuer|tax|idnr"), valid(idnr.is_valid)),
            ),
            (r"\b\d{9}\b", beside(_words(r"bsn|burgerservice|sofi"), valid(bsn.is_valid))),
            (r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", None),
        )
    ]


def _is_nordic(number: str) -> bool:
    return bool(personnummer.is_valid(number) or cpr.is_valid(number))


def _words(words: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?i)(?:%b)[^\n]{0,32}$" % words.encode())


def _beside(words: re.Pattern[bytes], check: Check) -> Check:
    """Only where one of these words stands before it."""

    def checked(data: bytes, start: int, end: int) -> tuple[int, int] | None:
        if words.search(data[max(0, start - BEFORE) : start]) is None:
            return None
        return check(data, start, end)

    return checked


def _valid_by(is_valid: Callable[[str], bool]) -> Check:
    def check(data: bytes, start: int, end: int) -> tuple[int, int] | None:
        return (start, end) if is_valid(text_of(data, start, end)) else None

    return check


def _is_card(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The longest row of digits from here on that is a card's number."""
    if touches(data, start, -1):
        return None
    text = text_of(data, start, end)
    before = data[max(0, start - BEFORE) : start]
    least = 12 if _CARD_WORDS.search(before) else 13
    while len(digits := _SEPARATORS.sub("", text)) >= least:
        if not _ISSUERS[len(digits)].match(digits):
            text = text[:-1].rstrip(" -.\u00a0")
            continue
        stop = start + len(text.encode())
        # One digit all along is a number of nothing.
        if _passes_luhn(digits) and len(set(digits)) > 1 and not touches(data, stop, 0):
            return None if _NO_CARD_WORDS.search(before) else (start, stop)
        text = text[:-1].rstrip(" -.\u00a0")
    return None


_DOUBLED = {str(digit): sum(divmod(2 * digit, 10)) for digit in range(10)}


def _passes_luhn(digits: str) -> bool:
    """The check of ISO/IEC 7812-1, annex B."""
    doubled = sum([_DOUBLED[digit] for digit in digits[-2::-2]])
    return (sum(map(int, digits[::-2])) + doubled) % 10 == 0


def _is_iban(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    """The longest account number from here on: what follows it may look like a part of it."""
    text = text_of(data, start, end)
    while len(compact := re.sub(r"[ \-]", "", text).upper()) >= 15:
        stop = start + len(text.encode())
        if (
            _is_one_in_97(compact)
            and not touches(data, stop, 0)
            and (text.isupper() or iban_rules.is_valid(compact, check_country=False))
        ):
            return start, stop
        text = text[:-1].rstrip(" -")
    return None


def _is_one_in_97(compact: str) -> bool:
    digits = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return int(digits) % 97 == 1


def _is_ssn(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    digits = re.sub(r"\D", "", text_of(data, start, end))
    plain = f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"
    if touches(data, start, -1, b"-") or touches(data, end, 0, b"-"):
        return None
    # Numbers given to taxpayers without one begin with 9, and are as personal.
    taxpayer = digits[0] == "9" and digits[3:5] != "00"
    return (start, end) if ssn.is_valid(plain) or taxpayer else None


def _is_address(data: bytes, start: int, end: int) -> tuple[int, int] | None:
    around = b".:-" if b":" not in data[start:end] else b":"
    if touches(data, start, -1, around):
        return None
    if _NO_ADDRESS_WORDS.search(data[max(0, start - BEFORE) : start]):
        return None
    following = data[end : end + 2]
    if touches(data, end, 0) or (following[:1] in (b".", b"-") and following[1:].isdigit()):
        return None
    text = text_of(data, start, end)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    nowhere = address.is_loopback or address.is_unspecified or text.startswith(("255.", "0."))
    short = ":" in text and (sum(map(bool, text.split(":"))) < 3 or not re.search(r"\d", text))
    return None if nowhere or short else (start, end)
