"""Labelled texts of our own making: made anew from a seed, so that no secret stands in a file."""

from __future__ import annotations

import base64
import random
import re
import string
import uuid
from collections.abc import Callable, Iterator

from bench.guardrails.files import Row
from bench.guardrails.own_forms import NAMES, PHONES, TOKENS, WRITTEN
from bench.guardrails.own_texts import ATTACKS, CODE, FRAMES, HARMLESS, NUMBERS

EACH = 12  # texts of every form
OF_A_FORM = 4  # of those that are many

_HEX = "0123456789abcdef"
_ALNUM = string.ascii_letters + string.digits
_UPPER = string.ascii_uppercase + "234567"

Make = Callable[[random.Random], str]


def rows(seed: int = 1) -> list[Row]:
    """Every kind, harmful and harmless."""
    rng = random.Random(seed)
    made: list[Row] = []
    for kind, forms in (*FORMS.items(),):
        for make in forms:
            for _ in range(EACH):
                frame = rng.choice(FRAMES["any"] + FRAMES.get(kind, ()))
                made.append(Row(True, frame.replace("{}", make(rng)), kind, "own"))
    for template in (*TOKENS, *WRITTEN):
        for _ in range(OF_A_FORM):
            frame = rng.choice(FRAMES["any"])
            made.append(Row(True, frame.replace("{}", _form(template)(rng)), "secrets", "own"))
    for pattern in PHONES:
        for _ in range(OF_A_FORM):
            frame = rng.choice(FRAMES["any"] + FRAMES["phone"])
            made.append(Row(True, frame.replace("{}", _filled(pattern, rng)), "phone", "own"))
    made += [Row(True, text, "injection", "own") for text in ATTACKS]
    made += [Row(False, text, "prompts", "own") for text in HARMLESS]
    made += [Row(False, text, "code", "own") for text in CODE]
    for template in NUMBERS:
        made += [Row(False, _filled(template, rng), "numbers", "own") for _ in range(EACH)]
    return made


def _filled(template: str, rng: random.Random) -> str:
    return "".join(rng.choice(string.digits) if one == "#" else one for one in template)


def _some(alphabet: str, least: int, most: int | None = None) -> Make:
    return lambda rng: "".join(rng.choices(alphabet, k=rng.randint(least, most or least)))


def _after(prefix: str, alphabet: str, least: int, most: int | None = None) -> Make:
    return lambda rng: prefix + _some(alphabet, least, most)(rng)


def _password(rng: random.Random) -> str:
    word = rng.choice(
        "Summer Winter dragon Monkey Falcon hunter Secure Tiger orange Planet".split()
    )
    return (
        word + rng.choice("!@#$%&*-_") + str(rng.randint(1, 9999)) + rng.choice(["", "!", "x", "Z"])
    )


def _jwt(rng: random.Random) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    body = base64.urlsafe_b64encode(b'{"sub":"%d"}' % rng.getrandbits(64)).decode().rstrip("=")
    return f"{head}.{body}.{_some(_ALNUM, 43)(rng)}"


def _private_key(rng: random.Random) -> str:
    lines = [_some(_ALNUM + "+/", 64)(rng) for _ in range(6)]
    kind = rng.choice(["RSA ", "EC ", "OPENSSH ", ""])
    return "\n".join(
        [f"-----BEGIN {kind}PRIVATE KEY-----", *lines, f"-----END {kind}PRIVATE KEY-----"]
    )


def _named(make: Make) -> Make:
    names = ("API_KEY={}", 'api_key: "{}"', "my api key is {}", "SECRET_KEY = '{}'", "access token: {}",
             "export AUTH_TOKEN={}", '"client_secret": "{}"', "The secret is {}")  # fmt: skip
    return lambda rng: rng.choice(names).replace("{}", make(rng))


def _passworded(rng: random.Random) -> str:
    names = ("password: {}", "my password is {}", 'DB_PASSWORD="{}"', "The admin password for the server is {}",
             "pwd={}", "login bob, password {}", '{"user": "bob", "password": "%s"}')  # fmt: skip
    name = rng.choice(names[:5])
    return name.replace("{}", _password(rng))


def _url(rng: random.Random) -> str:
    scheme = rng.choice(
        ["postgres", "postgresql", "mysql", "mongodb+srv", "redis", "amqp", "https"]
    )
    return f"{scheme}://admin:{_password(rng).replace('#', '-').replace('@', '-').replace('/', '-')}@db.example.net/app"


def _card(prefix: str, size: int) -> Make:
    def make(rng: random.Random) -> str:
        digits = prefix + _some(string.digits, size - 1 - len(prefix))(rng)
        total = sum(
            sum(divmod(2 * int(one), 10)) if place % 2 == 0 else int(one)
            for place, one in enumerate(reversed(digits))
        )
        digits += str(-total % 10)
        gap = rng.choice(["", " ", "-"])
        return gap.join(digits[i : i + 4] for i in range(0, size, 4))

    return make


def _iban(country: str, size: int, letters: int = 0) -> Make:
    def make(rng: random.Random) -> str:
        body = _some(string.ascii_uppercase, letters)(rng) if letters else ""
        body += _some(string.digits, size - 4 - letters)(rng)
        number = "".join(str(int(one, 36)) for one in body + country + "00")
        whole = f"{country}{98 - int(number) % 97:02d}{body}"
        gap = rng.choice(["", " "])
        return gap.join(whole[i : i + 4] for i in range(0, size, 4))

    return make


def _pattern(*patterns: str) -> Make:
    return lambda rng: _filled(rng.choice(patterns).replace("N", str(rng.randint(2, 9))), rng)


def _email(rng: random.Random) -> str:
    first, last = (
        rng.choice("ann bob carla dmitri élodie yuki".split()),
        rng.choice("lee roy tan".split()),
    )
    first = first.replace("é", "e")
    name = rng.choice([f"{first}.{last}", f"{first}{rng.randint(1, 99)}", f"{first}_{last}+news"])
    return (
        f"{name}@{rng.choice('example.com mail.example.co.uk uni-x.example.org firma.de'.split())}"
    )


def _address(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return ":".join(f"{rng.randint(4096, 65535):x}" for _ in range(8))
    return ".".join(str(rng.randint(1, 250)) for _ in range(4))


def _ssn(rng: random.Random) -> str:
    return f"{rng.randint(100, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


_ALPHABETS = {
    "A": _ALNUM, "H": _HEX, "L": string.ascii_lowercase + string.digits,
    "U": string.ascii_uppercase + string.digits, "D": string.digits, "W": _ALNUM + "-_",
    "B": _ALNUM + "+/",
}  # fmt: skip
_SLOT = re.compile(r"<([A-Z])(\d*)>")


def _form(template: str) -> Make:
    """Fills the slots of a form of ``own_forms``."""

    def make(rng: random.Random) -> str:
        def fill(slot: re.Match[str]) -> str:
            kind, size = slot[1], int(slot[2] or 0)
            if kind in _ALPHABETS:
                return _some(_ALPHABETS[kind], size)(rng)
            if kind == "V":
                return _SLOT.sub(
                    fill, rng.choice("<A32> <H32> <H40> <B43>= <A24> <W43> <G>".split())
                )
            if kind == "G":
                return str(uuid.UUID(int=rng.getrandbits(128), version=4))
            return _password(rng) if kind == "P" else rng.choice(NAMES)

        return _SLOT.sub(fill, template)

    return make


FORMS: dict[str, tuple[Make, ...]] = {
    "secrets": (
        _after("AKIA", _UPPER, 16),
        _after("ghp_", _ALNUM, 36),
        _after("github_pat_", _ALNUM, 82),
        _after("glpat-", _ALNUM, 20),
        _after("sk-", _ALNUM, 48),
        _after("sk-ant-api03-", _ALNUM + "-_", 93),
        _after("xoxb-123456789012-1234567890123-", _ALNUM, 24),
        _after("AIza", _ALNUM + "-_", 35),
        _after("sk_live_", _ALNUM, 24),
        _after("npm_", _ALNUM, 36),
        _after("hf_", string.ascii_letters, 34),
        _after("key-", _HEX, 32),
        _after("dop_v1_", _HEX, 64),
        _after("shpat_", _HEX, 32),
        lambda rng: f"SG.{_some(_ALNUM, 22)(rng)}.{_some(_ALNUM, 43)(rng)}",
        lambda rng: f"{rng.randint(10**8, 10**9)}:AA{_some(_ALNUM, 33)(rng)}",
        _jwt,
        _private_key,
        _named(_some(_ALNUM, 24, 48)),
        _named(_some(_HEX, 32, 64)),
        _named(_some(_ALNUM + "+/", 40)),
        _passworded,
        _url,
        lambda rng: f"Authorization: Bearer {_some(_ALNUM, 32)(rng)}",
        lambda rng: f"curl -u admin:{_password(rng).replace('/', '-')} https://example.net",
    ),
    "card": (_card("4", 16), _card("51", 16), _card("37", 15), _card("6011", 16), _card("35", 16)),
    "iban": (
        _iban("DE", 22),
        _iban("FR", 27),
        _iban("GB", 22, 4),
        _iban("NL", 18, 4),
        _iban("ES", 24),
    ),
    "email": (_email,),
    "phone": (
        _pattern(
            "(N##) N##-####", "N##-N##-####", "+1 N## N## ####", "1-800-N##-####", "N##.N##.####"
        ),
        _pattern("+44 20 7### ####", "+44 7### ######", "020 7### ####"),
        _pattern("+49 30 #######", "030 / ########", "0171 #######"),
        _pattern("+33 6 ## ## ## ##", "01 4# ## ## ##"),
        _pattern("+91 98### #####", "+61 4## ### ###", "+81 3-####-####"),
    ),
    "ssn": (_ssn,),
    "ip": (_address,),
}


def write(made: list[Row]) -> Iterator[str]:
    """The rows as the lines of a file, for those who want to look at them."""
    yield "label\tkind\ttext"
    for row in made:
        text = row.text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
        yield f"{int(row.harmful)}\t{row.kind}\t{text}"
