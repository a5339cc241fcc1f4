"""Where a collector takes spans."""

from __future__ import annotations

import pytest

from app.config.values.otlp_endpoint import OtlpEndpoint


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://otel.example/custom", "https://otel.example/custom"),
        ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
    ],
)
def test_an_address_without_a_path_gets_the_one_of_the_protocol(written: str, meant: str) -> None:
    assert OtlpEndpoint.parse(written) == meant


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("collector:4318", "http://collector:4318/v1/traces"),
        ("ftp://collector", "http://collector:4318/v1/traces"),
        ("http://me:secret@collector:4318", "`headers`"),
        ("http://collector:4318/v1/traces?key=secret", "without a query"),
        ("http://collector:4317", "gRPC"),
        (7, "a URL"),
    ],
)
def test_any_other_is_refused_without_repeating_it(wrong: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as failure:
        OtlpEndpoint.parse(wrong)
    assert "secret" not in str(failure.value)
