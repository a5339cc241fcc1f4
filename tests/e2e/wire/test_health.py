"""What a load balancer asks."""

import pytest

from tests.harness.gateway import Gateway


@pytest.mark.parametrize(
    ("path", "status"), [("/health", "live"), ("/health/live", "live"), ("/health/ready", "ready")]
)
def test_health_needs_no_key(gateway: Gateway, path: str, status: str) -> None:
    reply = gateway.get(path, key=None)
    assert reply.status == 200
    assert reply.document["status"] == status


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_carries_the_generation(gateway: Gateway, path: str) -> None:
    reply = gateway.get(path, key=None)
    assert reply.document["generation"] == reply.headers["x-headgate-config"]


def test_readiness_tells_how_late_the_loop_is(gateway: Gateway) -> None:
    lag = gateway.get("/health/ready", key=None).document["loop_lag_ms"]
    assert isinstance(lag, int)
    assert lag >= 0


def test_health_is_health_live(gateway: Gateway) -> None:
    assert gateway.get("/health", key=None).body == gateway.get("/health/live", key=None).body


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_a_balancer_may_ask_for_the_head_only(gateway: Gateway, path: str) -> None:
    reply = gateway.ask("HEAD", path, None)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["x-headgate-config"]


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE"])
def test_health_has_no_other_method(gateway: Gateway, method: str) -> None:
    reply = gateway.ask(method, "/health", None)
    assert (reply.status, reply.error["code"]) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "GET, HEAD"
