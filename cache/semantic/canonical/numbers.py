"""Numbers and units of a prompt: read where they are certain, kept as written where not.

"1,000", "one thousand" and "1000" are one number; "3.11" and "3.1", "10-20" and "10 20", "1.0" and
"1" are not, and nothing here rounds, converts or drops a sign.
"""

from __future__ import annotations

import re
from decimal import Decimal

from cache.semantic.canonical.words import rows

NUMBER_WORDS: dict[str, int] = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
MULTIPLIERS = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
ORDINAL_WORDS = {
    "first": "1st", "third": "3rd", "fourth": "4th", "fifth": "5th", "sixth": "6th",
    "seventh": "7th", "eighth": "8th", "ninth": "9th", "tenth": "10th", "eleventh": "11th",
    "twelfth": "12th", "thirteenth": "13th", "fourteenth": "14th", "fifteenth": "15th",
    "sixteenth": "16th", "seventeenth": "17th", "eighteenth": "18th", "nineteenth": "19th",
    "twentieth": "20th", "thirtieth": "30th", "fortieth": "40th", "fiftieth": "50th",
}  # fmt: skip
# "one" after these is a pronoun: this one, no one.
ONE_IS_A_PRONOUN_AFTER = frozenset(
    "no any every some each this that which the another other good better best".split()
)
# With these "one hundred and five" may be two numbers.
TWO_NUMBERS = frozenset(
    """between from both sum product difference ratio add multiply subtract divide times plus minus
    average mean of""".split()
)

# Only after a number. Case matters where it does in the unit: Gb is a bit, GB a byte. Case matters where it does in the unit: Gb is a bit, GB a byte.
UNITS = rows(
    """
    km kms kilometer kilometers kilometre kilometres KM Km
    kg kgs kilogram kilograms KG Kg
    cm centimeter centimeters centimetre centimetres
    mm millimeter millimeters millimetre millimetres
    meter meters metre metres
    mile miles
    lb lbs
    oz ounce ounces
    ft foot feet
    inch inches
    yard yards yd yds
    acre acres
    hectare hectares ha
    hour hours hr hrs
    minute minutes min mins
    second seconds sec secs
    millisecond milliseconds ms
    day days
    week weeks wk wks
    month months
    year years yr yrs
    liter liters litre litres
    ml milliliter milliliters millilitre millilitres mL
    gram grams
    mg milligram milligrams
    mcg microgram micrograms
    ton tons
    tonne tonnes
    kb KB kilobyte kilobytes
    mb MB megabyte megabytes
    gb GB gigabyte gigabytes
    tb TB terabyte terabytes
    hz Hz hertz
    khz kHz kilohertz
    mhz MHz megahertz
    ghz GHz gigahertz
    mph
    kph
    am AM
    pm PM
    % percent
    kwh kWh
    kw kW kilowatt kilowatts
    volt volts
    watt watts
    tablespoon tablespoons tbsp tbsps
    teaspoon teaspoons tsp tsps
    cup cups
    usd USD
    eur EUR
    gbp GBP
    """
)
UNITS |= {unit: unit for unit in UNITS.values()} | {"mph": "mph", "kph": "kph"}
# Short units whose capitals tell them apart: kept as written, unless the table knows them.
CASED_UNITS = frozenset("mb gb kb tb pb mbps gbps kbps mw ma mv mpa pa ms mm kn".split())

MAX_DIGITS = 12  # "… million": what is longer would be rounded by Decimal, and stays as it is
_THOUSANDS = re.compile(r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_ORDINALS = frozenset({"st", "nd", "rd", "th"})
_COUNTING = frozenset({*NUMBER_WORDS, *MULTIPLIERS})
_CONVERTIBLE = _COUNTING | ORDINAL_WORDS.keys()


def is_number(token: str) -> bool:
    return token in _COUNTING or (token[-1].isdigit() and not token[0].isalpha())


def written(number: str, suffix: str) -> list[str]:
    """A number in digits with what is joined to it: 1,000; 10km; 3rd; 5-; 5G."""
    if "," in number and _THOUSANDS.fullmatch(number):
        number = number.replace(",", "")
    if not suffix or suffix == "-":
        return [number]
    if suffix in UNITS:
        return [number, UNITS[suffix]]
    if suffix.lower() in _ORDINALS:
        return [number + suffix.lower()]
    return [number + suffix]


def unit(word: str) -> str | None:
    """The word after a number, where it is a unit; None where it is a word like any other."""
    known = UNITS.get(word)
    if known is not None:
        return known
    small = word.lower()
    if small in CASED_UNITS or (len(word) == 1 and word not in {"I", "a"}):
        return word
    return UNITS.get(small)


def spelled_out(tokens: list[str]) -> list[str]:
    """Number words as digits: twenty one, two hundred and five, 2.5 million."""
    if _CONVERTIBLE.isdisjoint(tokens):
        return tokens
    and_joins = TWO_NUMBERS.isdisjoint(tokens)
    result: list[str] = []
    at = 0
    while at < len(tokens):
        word = tokens[at]
        after = at
        if word in _COUNTING or (word[-1].isdigit() and _multiplier_follows(tokens, at)):
            pronoun = word == "one" and result and result[-1] in ONE_IS_A_PRONOUN_AFTER
            if not pronoun:
                value, after = _number_at(tokens, at, and_joins)
        if after == at:
            result.append(ORDINAL_WORDS.get(word, word))
            at += 1
        else:
            result.append(value)
            at = after
    return result


def _number_at(tokens: list[str], start: int, and_joins: bool) -> tuple[str, int]:
    """The number that begins here as digits, and where it ends: at its start where there is none."""
    total = Decimal(0)
    group: Decimal | None = None  # what is below the next thousand
    ceiling = 10**15  # the next multiplier must be smaller
    room = 1000  # what may still be added: below 100 after a hundred, below 10 after a twenty
    at = start
    while at < len(tokens):
        token = tokens[at]
        small = NUMBER_WORDS.get(token)
        multiplier = MULTIPLIERS.get(token, 0)
        if small is not None and small < room and (small or at == start):
            group = (group or 0) + Decimal(small)
            room = 10 if small >= 20 else 0
        elif at == start and _PLAIN.fullmatch(token) and _multiplier_follows(tokens, at):
            group, room = Decimal(token), 0
        elif multiplier == 100 and (at == start or (group and group < 100)):
            group = (1 if group is None else group) * Decimal(100)
            room = 100
        elif multiplier > 100 and multiplier < ceiling and (at == start or group):
            total += (1 if group is None else group) * multiplier
            group, room, ceiling = None, 1000, multiplier
        elif not (and_joins and at > start and _and_joins(tokens, at, room)):
            break
        at += 1
    if at == start:
        return "", at
    number = total + (group or 0)
    whole = number == number.to_integral_value()
    return format(number.to_integral_value() if whole else number.normalize(), "f"), at


def _multiplier_follows(tokens: list[str], at: int) -> bool:
    return at + 1 < len(tokens) and tokens[at + 1] in MULTIPLIERS and len(tokens[at]) < MAX_DIGITS


def _and_joins(tokens: list[str], at: int, room: int) -> bool:
    """Whether this "and" stands inside a number: "two hundred and five", not "and two hundred"."""
    if tokens[at] != "and" or tokens[at - 1] not in MULTIPLIERS or at + 1 == len(tokens):
        return False
    if NUMBER_WORDS.get(tokens[at + 1], 1000) >= min(room, 100) or tokens[at + 1] == "zero":
        return False
    return all(token not in MULTIPLIERS for token in tokens[at + 2 : at + 4])
