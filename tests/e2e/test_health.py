"""What a load balancer asks."""

import pytest

from tests.gateway import Gateway


@pytest.mark.parametrize(("path", "status"), [("/health/live", "live"), ("/health/ready", "ready")])
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
