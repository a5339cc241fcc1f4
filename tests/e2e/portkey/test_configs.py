"""Portkey's configs over sockets: who is asked, what it is sent, and what the caller hears."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.harness.credentials import COLLEAGUE, KEYS, STRANGER
from tests.harness.gateway import Gateway
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream, good_server


def t(model: str, provider: str = "openai", **more: Any) -> dict[str, Any]:
    return {"provider": provider, "override_params": {"model": model}} | more


def fallback(*targets: Any, **more: Any) -> dict[str, Any]:
    return {"strategy": {"mode": "fallback"}, "targets": list(targets)} | more


def failing(upstream: Upstream, model: str, *statuses: int) -> None:
    """Let a model answer with these statuses in turn, and well after that."""
    left = list(statuses)

    async def script(request: Any, wire: Any) -> None:
        if left:
            await wire.answer({"error": {"message": "no"}}, left.pop(0))
        else:
            await good_server(request, wire)

    upstream.on(model, script)


def ask(gateway: Gateway, config: Any = None, headers: Any = (), **fields: Any) -> Reply:
    sent = dict(headers)
    if config is not None:
        sent["x-portkey-config"] = config if isinstance(config, str) else json.dumps(config)
    return gateway.complete(headers=sent, **({"model": "m0", "prompt": "hi"} | fields))


def models(upstream: Upstream) -> list[str | None]:
    return [request.model for request in upstream.requests]


def refused(reply: Reply, place: str) -> bool:
    error = reply.error
    assert place in str(error["param"]), error
    return (reply.status, error["code"]) == (400, "invalid_config")


def test_a_fallback_goes_on_and_says_who_answered(gateway: Gateway, upstream: Upstream) -> None:
    failing(upstream, "a", 500)
    reply = ask(gateway, fallback(t("a"), t("b")))
    assert (reply.status, models(upstream)) == (200, ["a", "b"])
    headers = reply.headers
    assert headers["x-portkey-last-used-option-index"] == "config.targets[1]"
    assert headers["x-portkey-retry-attempt-count"] == "0"
    assert headers["x-portkey-provider"] == "openai"
    assert headers["x-headgate-attempts"] == "2"


def test_a_stored_config_is_known_by_its_id(gateway: Gateway, upstream: Upstream) -> None:
    failing(upstream, "a", 503)
    assert ask(gateway, "pc-known").status == 200
    assert models(upstream) == ["a", "b"]


def test_overrides_go_over_the_body(gateway: Gateway, upstream: Upstream) -> None:
    config = t("a") | {"override_params": {"model": "a", "max_tokens": 3}}
    ask(gateway, config, max_tokens=9, temperature=0.5)
    assert upstream.request.document == {
        "model": "a",
        "prompt": "hi",
        "max_tokens": 3,
        "temperature": 0.5,
    }


@pytest.mark.parametrize(("statuses", "count"), [((500,), "1"), ((500, 500, 500), "-1")])
def test_a_configs_own_retry_governs(
    gateway: Gateway, upstream: Upstream, statuses: tuple[int, ...], count: str
) -> None:
    failing(upstream, "a", *statuses)
    reply = ask(gateway, t("a", retry={"attempts": 2}))
    assert reply.headers["x-portkey-retry-attempt-count"] == count
    assert len(models(upstream)) == min(3, len(statuses) + 1)


def test_without_a_retry_the_gateway_makes_no_second_call(
    gateway: Gateway, upstream: Upstream
) -> None:
    failing(upstream, "a", 500)
    assert ask(gateway, t("a")).status == 502
    assert models(upstream) == ["a"]


def test_metadata_decides(gateway: Gateway, upstream: Upstream) -> None:
    config = {
        "strategy": {
            "mode": "conditional",
            "conditions": [{"query": {"metadata.plan": "paid"}, "then": "B"}],
            "default": "A",
        },
        "targets": [t("a", name="A"), t("b", name="B")],
    }
    ask(gateway, config, {"x-portkey-metadata": '{"plan": "paid"}'})
    ask(gateway, config)
    assert models(upstream) == ["b", "a"]


def test_a_time_limit_is_of_the_first_byte(gateway: Gateway, upstream: Upstream) -> None:
    gate = upstream.gate()

    async def late(request: Any, wire: Any) -> None:
        await gate.wait()

    upstream.on("a", late)
    reply = ask(gateway, fallback(t("a", request_timeout=200), t("b")))
    assert (reply.status, models(upstream)) == (200, ["a", "b"])


def test_a_stream_falls_back_until_it_has_content(gateway: Gateway, upstream: Upstream) -> None:
    failing(upstream, "a", 500)
    reply = ask(gateway, fallback(t("a"), t("b")), stream=True)
    assert reply.headers["x-portkey-last-used-option-index"] == "config.targets[1]"
    assert b"[DONE]" in reply.body


def test_calls_of_a_request_are_at_most_twelve(gateway: Gateway, upstream: Upstream) -> None:
    failing(upstream, "a", *[503] * 99)
    reply = ask(gateway, fallback(*[t("a", retry={"attempts": 1})] * 16))
    assert reply.status == 503
    assert len(models(upstream)) == 12


def test_a_caller_pays_one_request_for_all_its_targets(
    gateway: Gateway, upstream: Upstream
) -> None:
    failing(upstream, "a", 500)
    config = {"x-portkey-config": json.dumps(fallback(t("a"), t("b")))}
    replies = [
        gateway.complete(key=KEYS["team"], headers=config, model="m0", prompt="hi")
        for _ in range(2)
    ]
    assert [reply.status for reply in replies] == [200, 429]
    assert models(upstream) == ["a", "b"]


# The cache


def test_what_a_config_wants_kept_is_kept_for_its_tenant(
    gateway: Gateway, upstream: Upstream
) -> None:
    config = t("kept", cache={"mode": "simple", "max_age": 60})
    fields = {"prompt": "kept for one"}
    states = [ask(gateway, config, **fields).headers["x-portkey-cache-status"] for _ in range(2)]
    assert states == ["MISS", "HIT"]
    fresh = ask(gateway, config, {"x-portkey-cache-force-refresh": "true"}, **fields)
    assert fresh.headers["x-portkey-cache-status"] == "REFRESH"
    assert fresh.headers["x-headgate-cache"] == "bypass"
    stranger = gateway.complete(
        key=STRANGER, headers={"x-portkey-config": json.dumps(config)}, model="m0", **fields
    )
    assert stranger.headers["x-portkey-cache-status"] == "MISS"
    assert len(models(upstream)) == 3


def test_without_a_cache_in_the_config_nothing_is_kept(
    gateway: Gateway, upstream: Upstream
) -> None:
    replies = [ask(gateway, t("kept"), prompt="not kept") for _ in range(2)]
    assert {reply.headers["x-portkey-cache-status"] for reply in replies} == {"DISABLED"}
    assert len(models(upstream)) == 2


# The rules of safety


def test_only_keys_that_allow_it_may_send_a_config(gateway: Gateway, upstream: Upstream) -> None:
    config = {"x-portkey-config": json.dumps(t("a"))}
    reply = gateway.complete(key=COLLEAGUE, headers=config, model="m0", prompt="hi")
    assert refused(reply, "x-portkey-config")
    assert models(upstream) == []


@pytest.mark.parametrize(
    ("config", "place"),
    [
        (t("hidden"), "config.override_params.model"),
        (t("nosuch"), "config.override_params.model"),
        (fallback(t("a"), t("hidden")), "config.targets[1].override_params.model"),
        (t("a", provider="other"), "config.provider"),
        ({"virtual_key": "other", "override_params": {"model": "a"}}, "config.provider"),
        ({"override_params": {"model": "@other/a"}}, "config.provider"),
        ({"override_params": {"model": "a"}}, "config"),
        (t("a", api_key="sk-1"), "config.api_key"),
        (t("a", custom_host="http://169.254.169.254/v1"), "config.custom_host"),
        (t("a", custom_host="https://api.openai.com/v1"), "config.custom_host"),
        (fallback(t("a"), fallback(t("b", retires=1))), "config.targets[1].targets[0].retires"),
        (t("a", before_request_hooks=[]), "config.before_request_hooks"),
        ("pc-unknown", "config"),
        (json.dumps(t("a", name="n" * 9_000)), "config"),
    ],
)
def test_a_config_may_not(gateway: Gateway, upstream: Upstream, config: Any, place: str) -> None:
    assert refused(ask(gateway, config), place)
    assert models(upstream) == []


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ({"x-portkey-custom-host": "http://127.0.0.1:9/v1"}, "x-portkey-custom-host"),
        ({"x-portkey-aws-secret-access-key": "x"}, "x-portkey-aws-secret-access-key"),
        ({"x-portkey-provider": "other"}, "config.provider"),
        ({"x-portkey-metadata": "not json"}, "x-portkey-metadata"),
        ({"x-portkey-metadata": '{"a": 1}'}, "x-portkey-metadata.a"),
        ({"x-portkey-metadata": json.dumps({"a": "b" * 129})}, "x-portkey-metadata.a"),
        ({"x-portkey-metadata": json.dumps({str(n): "b" for n in range(17)})}, "metadata"),
        ({"x-portkey-request-timeout": "soon"}, "x-portkey-request-timeout"),
        ({"x-portkey-forward-headers": "x-portkey-config"}, "x-portkey-forward-headers"),
    ],
)
def test_a_header_may_not(
    gateway: Gateway, upstream: Upstream, headers: dict[str, str], place: str
) -> None:
    assert refused(ask(gateway, headers=headers), place)
    assert models(upstream) == []


def test_a_host_chooses_a_provider_that_may_be_chosen_so(
    gateway: Gateway, upstream: Upstream
) -> None:
    own = upstream.base_url + "/"
    for config, headers in (
        ({"custom_host": own, "override_params": {"model": "x"}}, {}),
        (t("x", provider="other", custom_host=own), {}),
        ({"override_params": {"model": "x"}}, {"x-portkey-custom-host": own}),
        (t("x", provider="other", custom_host="http://10.0.0.1/"), {"x-portkey-custom-host": own}),
    ):
        reply = ask(gateway, config, headers=headers)
        assert (reply.status, reply.headers["x-provider"]) == (200, "other")
    assert models(upstream) == ["x"] * 4


def test_a_host_chooses_nobody_else(gateway: Gateway, upstream: Upstream) -> None:
    own = upstream.base_url
    for config in (
        t("a", custom_host=own),  # its provider may not be chosen so
        t("x", provider="other", custom_host=own.replace("//", "//u:p@")),
        t("x", provider="other", custom_host=own + "?a=b"),
        t("x", provider="other", custom_host=own.removesuffix("/v1")),
        t("x", provider="other", custom_host=own.replace("http:", "https:")),
        t("x", provider="other", custom_host="http://[::1"),
    ):
        assert refused(ask(gateway, config), "config.custom_host")
    assert models(upstream) == []


def test_credentials_are_not_forwarded_though_named(gateway: Gateway, upstream: Upstream) -> None:
    names = ["authorization", "cookie", "x-team"]
    headers = {"cookie": "crumb-1", "x-team": "red"}
    ask(gateway, t("a", forward_headers=names), headers)
    sent = upstream.request
    assert sent.headers["x-team"] == "red"
    assert b"crumb-1" not in sent.head
    assert b"x-portkey" not in sent.head


def test_portkeys_own_key_header_carries_the_gateways_key(
    gateway: Gateway, upstream: Upstream
) -> None:
    headers = {
        "x-portkey-api-key": KEYS["all"],
        "authorization": "Bearer sk-of-a-provider",
        "content-type": "application/json",
    }
    body = json.dumps({"model": "a", "prompt": "hi"}).encode()
    reply = gateway.ask("POST", "/v1/completions", None, headers, body)
    assert reply.status == 200
    assert b"sk-of-a-provider" not in upstream.request.head


def test_without_its_headers_a_request_is_an_ordinary_one(
    gateway: Gateway, upstream: Upstream
) -> None:
    failing(upstream, "m0", 500)
    reply = ask(gateway)
    assert (reply.status, models(upstream)) == (200, ["m0", "m0"])
    assert not [name for name in reply.headers if name.startswith("x-portkey")]


def test_a_trace_id_comes_back(gateway: Gateway, upstream: Upstream) -> None:
    reply = ask(gateway, t("a"), {"x-portkey-trace-id": "trace-1"})
    assert reply.headers["x-portkey-trace-id"] == "trace-1"
