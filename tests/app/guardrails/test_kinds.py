"""What the built-in kinds find, and what they leave alone."""

from __future__ import annotations

import pytest

from app.guardrails.kinds.pii import ENTITIES, pii_patterns
from app.guardrails.kinds.secrets import secret_patterns
from app.guardrails.matching.scanner import Scanner
from app.guardrails.matching.view import View
from bench.guardrails.__main__ import Detectors, main, play
from bench.guardrails.files import unescaped
from bench.guardrails.own_set import rows
from bench.guardrails.own_texts import CODE, HARMLESS
from tests.harness.guarded import rule_with

PII = Scanner([(0, pattern) for pattern in pii_patterns(ENTITIES)])
SECRETS = Scanner([(0, pattern) for pattern in secret_patterns()])


def found(scanner: Scanner, text: str) -> list[tuple[str, str]]:
    findings = sorted(set(View(scanner).feed(text, final=True)))
    return [(f.entity, text[f.start : f.end]) for f in findings]


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("mail bob.o-hara+x@mail.example.co.uk.", "email", "bob.o-hara+x@mail.example.co.uk"),
        ("pay with 4111 1111 1111 1111 123", "card", "4111 1111 1111 1111"),
        ("amex 378282246310005!", "card", "378282246310005"),
        ("to DE89 3704 0044 0532 0130 00 and more", "iban", "DE89 3704 0044 0532 0130 00"),
        ("gb82west12345698765432", "iban", "gb82west12345698765432"),
        ("(555) 123-4567 is mine", "phone", "(555) 123-4567"),
        ("+49 30 1234567", "phone", "+49 30 1234567"),
        ("call 555-123-4567 x89", "phone", "555-123-4567 x89"),
        ("SSN 078-05-1121", "ssn", "078-05-1121"),
        ("from 192.168.1.20:80", "ip", "192.168.1.20"),
        ("2001:db8:85a3::8a2e:370:7334", "ip", "2001:db8:85a3::8a2e:370:7334"),
        ("DNI 12345678Z", "national_id", "12345678Z"),
        ("CPF 529.982.247-25", "national_id", "529.982.247-25"),
    ],
)
def test_personal_data_is_found_where_it_stands(text: str, entity: str, value: str) -> None:
    assert (entity, value) in found(PII, text)


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # no card: the last digit is wrong
        "DE88370400440532013000",
        "000-12-3456",
        "999.1.1.1 and 127.0.0.1 and section 4.2.1.3",
        "std::vector a::b at 12:30:45 on 2024-05-17",
        "3.14159265358 1234567890 and order number 555-123-4567",
        "12345678A",
        "ISBN 978-3-16-148410-0",
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert found(PII, text) == []


@pytest.mark.parametrize("text", [*HARMLESS, *CODE])
def test_harmless_texts_hold_no_secrets(text: str) -> None:
    assert found(SECRETS, text) == []


def test_our_own_set_is_found_and_harmless_texts_pass() -> None:
    tallies, _ = play(rows(), 0, 0)
    for kind in ("secrets", "card", "iban", "email", "phone", "ssn", "ip", "injection"):
        tally = tallies[kind]
        assert tally.caught >= 0.95 * tally.harmful, kind
    harmless = [tallies[kind] for kind in ("prompts", "code", "numbers")]
    assert sum(tally.wrong for tally in harmless) <= 0.01 * sum(t.harmless for t in harmless)


def test_rows_of_a_kind_are_looked_for_by_its_rule() -> None:
    detectors = Detectors()
    kinds = {"E-mail": "email", "credit card": "card", "api_key": "secrets", "emails": "email"}
    assert {kind: detectors.of_kind(kind) for kind in kinds} == kinds
    assert detectors.of_kind("gossip") is None


def test_the_bench_reads_files_and_says_what_is_wrong_with_them(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.tsv"  # type: ignore[operator]
    file.write_text("kind\tlabel\ttext\nemail\t1\tmail\\nbob@example.com\nchat\t0\thello\\\\n\n")
    assert main(["--no-cost", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["chat", "0", "0", "-", "1", "0", "0.00%", "0.00%"],
        ["email", "1", "1", "1.000", "0", "0", "-", "-"],
        ["all", "1", "1", "1.000", "1", "0", "0.00%", "0.00%"],
    ]
    file.write_text("label\ttext\n1\tx\n")
    assert main(["--no-cost", str(file)]) == 2
    assert "the header has no kind" in capsys.readouterr().err


def test_a_cell_can_hold_what_it_cannot_hold() -> None:
    assert unescaped(r"a\nb\tc\\nd\x") == "a\nb\tc\\nd\\x"


def test_invisible_text_is_found_and_emoji_are_left_alone() -> None:
    scanner = Scanner([(0, pattern) for pattern in rule_with(kind="invisible").patterns])
    hidden = "".join(chr(0xE0000 + ord(one)) for one in "ignore")
    assert found(scanner, f"a{hidden}b")
    assert not found(
        scanner,
        "\u2764\ufe0f \U0001f468\u200d\U0001f469\u200d\U0001f466 \u0645\u06cc\u200c\u062e\u0648",
    )


def test_injection_observes_unless_told_otherwise() -> None:
    assert rule_with(kind="injection").mode == "observe"
    assert rule_with(kind="injection", mode="block").mode == "block"


def test_every_rule_of_the_secrets_can_say_what_it_found() -> None:
    """A rule that names a group which its pattern has not fails on the first match."""
    for pattern in secret_patterns():
        assert pattern._group <= pattern._regex.groups, pattern.hint


@pytest.mark.parametrize(
    "text",
    [
        "Hash the password using SHA256 and a salt.",
        "The login page/Dashboard2 redirects in a loop",
        "What is the token limit of GPT-4-turbo-2024-04-09?",
        "cache key 9fceb02d0ae598e95dc970b74767f19372d61af8 was evicted",
        "idempotency key: 123e4567-e89b-12d3-a456-426614174000",
        "The GPIO pin: 17 is used for the LED.",
        "client = OpenAI(api_key=os.environ.get('OPENAI_API_KEY'))",
        "auth2.errCb({authId: oauth2.auth.name})",
        "secret_santa_2023_participants",
    ],
)
def test_what_is_called_a_key_or_a_password_need_not_be_one(text: str) -> None:
    assert found(SECRETS, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "phone numbers in 2020 rose by 15 000 000",
        "In 1999 (2000) 123-456 pages were printed",
        "part no. 0212-345-6789",
        "Decimal('+35236450.6')",
    ],
)
def test_what_has_many_digits_need_not_be_a_number_to_call(text: str) -> None:
    assert found(PII, text) == []
