"""From the configuration to plans: what is cached, for how long, where, and together with whom."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.config.loading import load
from app.core.keys import Key
from app.openai.completions.request import CompletionRequest, parse
from app.policy.caching import CachePlans
from app.policy.callers import key_ring
from app.routes.completions import COMPLETIONS
from cache.serving import plan as plan_module
from cache.serving.plan import CachePlan

NOW = 1_700_000_000_000
SECRETS = {name: f"hg-{name}-0123456789abcdef" for name in ("web", "job", "far", "own")}


def configured(**changed: Any) -> str:
    """A configuration; ``changed`` members replace those of its only cached model's cache."""
    provider = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}
    document = {
        "providers": {"up": provider, "trial": {"kind": "simulator"}},
        "models": {
            "house": {
                "targets": [
                    {"provider": "up", "model": "m-1"},
                    {"provider": "trial", "model": "m-2"},
                ],
                "price": {"input_per_million": 1, "output_per_million": 2},
                "cache": {"exact": {"ttl": "60s", "max_ttl": "1h", "stale_if_error": "10s"}}
                | changed,
            },
            "bare": {"targets": [{"provider": "trial", "model": "m-1"}]},
            "off": {
                "targets": [{"provider": "trial", "model": "m-1"}],
                "cache": {"exact": {"enabled": False}},
            },
        },
        "tenants": {"acme": {}, "other": {}},
        "keys": [
            {"id": "web", "tenant": "acme", "secret": SECRETS["web"]},
            {"id": "job", "tenant": "acme", "secret": SECRETS["job"], "cache_ttl": "5s"},
            {"id": "far", "tenant": "other", "secret": SECRETS["far"]},
            {"id": "own", "tenant": "acme", "secret": SECRETS["own"], "models": ["bare"]},
        ],
    }
    return orjson.dumps(document).decode()  # JSON is YAML


def key_of(name: str, text: str) -> Key:
    key = key_ring(load(text).settings).find(SECRETS[name].encode())
    assert key is not None
    return key


def maybe(name: str, alias: str, **changed: Any) -> CachePlan | None:
    text = configured(**changed)
    return CachePlans(load(text).settings).of(key_of(name, text), alias)


def plan(name: str = "web", **changed: Any) -> CachePlan:
    found = maybe(name, "house", **changed)
    assert found is not None
    return found


def request(**members: Any) -> CompletionRequest:
    return parse(orjson.dumps({"model": "house", "prompt": "p"} | members))


def digest(plan_: CachePlan, namespace: str = "", **members: Any) -> bytes:
    [only] = plan_.where(COMPLETIONS, namespace).fingerprints(request(**members), ())
    return only


# Whether


@pytest.mark.parametrize("alias", ["bare", "off", "junk", ""])
def test_a_model_without_a_cache_has_no_plan(alias: str) -> None:
    assert maybe("web", alias) is None


def test_a_model_that_a_key_may_not_use_has_no_plan() -> None:
    assert maybe("own", "house") is None


def test_names_that_lead_nowhere_make_no_plans() -> None:
    text = configured()
    made = CachePlans(load(text).settings)
    for number in range(100):
        made.of(key_of("web", text), f"junk-{number}")
    assert made._plans == {}


def test_a_plan_is_made_once() -> None:
    text = configured()
    made = CachePlans(load(text).settings)
    key = key_of("web", text)
    assert made.of(key, "house") is made.of(key, "house")


def test_the_first_target_is_the_one_whose_answers_are_kept() -> None:
    assert plan().accepts == {("up", "m-1")}


# How long


def test_an_answer_is_fresh_and_stale_for_as_long_as_the_model_says() -> None:
    made = plan(exact={"ttl": "60s", "stale_while_revalidate": "5s", "stale_if_error": "10s"})
    assert made.lifetimes(None, NOW) == (NOW + 60_000, NOW + 65_000, NOW + 70_000)


def test_a_key_can_have_a_time_of_its_own() -> None:
    assert plan("job").lifetimes(None, NOW)[0] == NOW + 5000


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (7, 7), (3600, 3600), (10**9 - 1, 3600)])
def test_a_caller_can_ask_for_another_time_up_to_the_longest(asked: int, given: int) -> None:
    assert plan().lifetimes(asked, NOW)[0] == NOW + given * 1000


def test_a_fraction_of_a_second_counts() -> None:
    assert plan(exact={"ttl": "1500ms"}).lifetimes(None, NOW)[0] == NOW + 1500


# Together with whom


@pytest.mark.parametrize("coalesce", ["deterministic", "all", "off"])
def test_the_model_says_which_requests_may_share(coalesce: str) -> None:
    assert plan(coalesce=coalesce).coalesce == coalesce


@pytest.mark.parametrize(("sampled", "reuse"), [("reuse", True), ("bypass", False)])
def test_the_model_says_what_becomes_of_sampled_requests(sampled: str, reuse: bool) -> None:
    assert plan(sampled=sampled).reuse_sampled == reuse


# Where


@pytest.mark.parametrize(
    ("scope", "web_job", "web_far"),
    [("tenant", True, False), ("key", False, False), ("global", True, True)],
)
def test_a_scope_says_who_has_answers_in_common(scope: str, web_job: bool, web_far: bool) -> None:
    web, job, far = (plan(name, scope=scope) for name in ("web", "job", "far"))
    assert (digest(web) == digest(job)) == web_job
    assert (digest(web) == digest(far)) == web_far


@pytest.mark.parametrize(("scope", "tenant"), [("tenant", "acme"), ("key", "acme"), ("global", "")])
def test_a_scope_says_whose_purge_covers_an_answer(scope: str, tenant: str) -> None:
    assert plan(scope=scope).where(COMPLETIONS, "").place.tenant == tenant


def test_namespaces_are_apart() -> None:
    made = plan()
    assert digest(made) != digest(made, "x") != digest(made, "y")
    assert made.where(COMPLETIONS, "x").place != made.where(COMPLETIONS, "y").place


def test_as_many_namespaces_are_remembered_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "MAX_PLACES", 10)
    made = plan()
    first = digest(made, "n-0")
    for number in range(35):
        made.where(COMPLETIONS, f"n-{number}")
    assert len(made._places) <= 10
    assert digest(made, "n-0") == first


def test_every_prompt_has_its_place() -> None:
    made = plan()
    both = made.where(COMPLETIONS, "").fingerprints(request(prompt=["a", "b"]), ())
    assert both == [digest(made, prompt="a"), digest(made, prompt="b")]


# What a target is


def _changed(change: dict[str, Any]) -> bytes:
    document = orjson.loads(configured())
    model, provider = document["models"]["house"], document["providers"]["up"]
    model |= change.get("model", {})
    provider |= change.get("provider", {})
    text = orjson.dumps(document).decode()
    made = CachePlans(load(text).settings).of(key_of("web", text), "house")
    assert made is not None
    return digest(made)


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"targets": [{"provider": "up", "model": "m-9"}]}},
        {"model": {"targets": [{"provider": "trial", "model": "m-1"}]}},
        {"model": {"completions": "chat"}},
        {"provider": {"base_url": "http://127.0.0.1:8/v1"}},
        {"provider": {"headers": {"x-deployment": "a"}}},
    ],
    ids=str,
)
def test_answers_of_another_target_are_others(change: dict[str, Any]) -> None:
    assert _changed(change) != _changed({})


def test_other_headers_make_another_target() -> None:
    one, other, both = (
        _changed({"provider": {"headers": headers}})
        for headers in ({"a": "b"}, {"a": "c"}, {"a": "b", "c": "d"})
    )
    assert len({one, other, both}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"provider": {"api_key": "sk-another-key-0123456789"}},
        {"provider": {"timeouts": {"connect": "1s"}}},
        {"model": {"price": {"input_per_million": 9, "output_per_million": 9}}},
    ],
    ids=str,
)
def test_what_changes_no_answer_changes_no_target(change: dict[str, Any]) -> None:
    assert _changed(change) == _changed({})


def test_the_order_of_headers_is_no_difference() -> None:
    one = _changed({"provider": {"headers": {"a": "b", "c": "d"}}})
    assert one == _changed({"provider": {"headers": {"c": "d", "a": "b"}}})


# The caller's own time to live


@pytest.mark.parametrize(
    ("exact", "key", "cap"),
    [
        ({"ttl": "60s"}, "web", 86_400),
        ({"ttl": "3d"}, "web", 3 * 86_400),
        ({"ttl": "60s"}, "job", 86_400),
        ({"ttl": "60s", "max_ttl": "2h"}, "web", 7200),
        ({"ttl": "60s", "max_ttl": "30d"}, "web", 30 * 86_400),
    ],
)
def test_what_a_caller_may_ask_for_is_capped(exact: dict[str, str], key: str, cap: int) -> None:
    made = plan(key, exact=exact)
    assert made.lifetimes(30 * 86_400, NOW)[0] == NOW + cap * 1000
    assert made.lifetimes(cap - 1, NOW)[0] == NOW + (cap - 1) * 1000


# Headers that go upstream


def varies(**members: Any) -> frozenset[bytes]:
    document = orjson.loads(configured())
    document["providers"]["up"] |= members
    text = orjson.dumps(document).decode()
    found = CachePlans(load(text).settings).of(key_of("web", text), "house")
    assert found is not None
    return found.varies


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, set()),
        ({"forward_headers": []}, set()),
        ({"forward_headers": ["traceparent", "X-Org"]}, {b"x-org"}),
        ({"forward_headers": ["x-org", "x-b"], "neutral_headers": ["x-b"]}, {b"x-org"}),
        ({"forward_headers": ["traceparent"], "neutral_headers": []}, {b"traceparent"}),
    ],
)
def test_what_goes_upstream_counts_unless_it_is_neutral(
    members: dict[str, Any], expected: set[bytes]
) -> None:
    assert varies(**members) == expected
