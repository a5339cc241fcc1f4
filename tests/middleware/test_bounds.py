"""What may it cost? A request says exactly once how much is generated, before anything is held."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.call import Call
from app.core.errors import GatewayError
from app.core.request import Allowance, Cap, FanOut, TargetRules
from app.openai.completions.request import DEFAULT_MAX_TOKENS
from app.openai.output_limits import OPENAI
from app.providers.routing.routes import Endpoint, Route
from middleware.bounds import Bounds
from tests.harness.chain import Answering, RecordingWriter, call_of, in_loop

ROUTE = Route(
    provider="up",
    model="m-1",
    endpoints={"completions": Endpoint(object())},  # type: ignore[arg-type]
    rules=TargetRules(OPENAI),
    forward_headers=frozenset(),
    price=None,
    max_calls=4,
    unknown_usage="bound",
)


def in_calls(fan_out: FanOut) -> Route:
    """A route on which every request is sent so."""
    endpoint = ROUTE.endpoints["completions"]._replace(fan_out=lambda request: fan_out)
    return ROUTE._replace(endpoints={"completions": endpoint})


def through(
    call: Call, route: Route | None = ROUTE, *, bound: bool = True, cap: Cap | None = None
) -> Call:
    """The call as those inside get it."""
    inner = Answering()

    async def body() -> None:
        layer = Bounds(inner, allowance_of=lambda key, alias: Allowance(bound, cap))
        call.targets = () if route is None else (route,)
        await layer(call, RecordingWriter())

    in_loop(body)
    [passed] = inner.calls
    return passed


def refused(call: Call, route: Route | None = ROUTE, **allowance: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        through(call, route, **allowance)
    return caught.value


def sent(call: Call) -> dict[str, Any]:
    """What the upstream will be sent."""
    document: dict[str, Any] = orjson.loads(call.request.body_for("m"))
    return document


def test_what_is_sent_is_what_is_held_for() -> None:
    assert sent(through(call_of()))["max_tokens"] == DEFAULT_MAX_TOKENS


def test_where_nothing_depends_on_it_a_request_is_sent_as_it_came() -> None:
    passed = through(call_of(n_predict=5), bound=False)
    assert "max_tokens" not in sent(passed)
    assert sent(passed)["n_predict"] == 5


def test_another_name_of_the_limit_becomes_the_limit() -> None:
    passed = sent(through(call_of(n_predict=5)))
    assert passed["max_tokens"] == 5
    assert "n_predict" not in passed


def test_a_cap_is_the_most_that_may_be_asked_for() -> None:
    error = refused(call_of(max_tokens=9), cap=Cap(8, "This key's"))
    assert (error.status, error.param) == (400, "max_tokens")


def test_the_call_that_came_in_is_left_as_it_was() -> None:
    call = call_of(n_predict=5)
    passed = through(call)
    assert "max_tokens" not in sent(call)
    assert passed.outcome is call.outcome
    assert passed.reply_headers is call.reply_headers


@pytest.mark.parametrize("fan_out", [FanOut(), FanOut(4, 2, added=5)], ids=["native", "over chat"])
def test_a_request_counts_as_the_upstream_calls_that_it_makes(fan_out: FanOut) -> None:
    assert through(call_of(prompt=["a", "b"], n=2), in_calls(fan_out)).fan_out == fan_out


@pytest.mark.parametrize(("times", "param"), [(1, "prompt"), (5, "n")])
def test_a_request_that_makes_too_many_calls_is_refused(times: int, param: str) -> None:
    error = refused(call_of(), in_calls(FanOut(5, times)))
    assert (error.status, error.code, error.param) == (400, "too_many_calls", param)


def test_a_member_that_may_not_be_forwarded_is_refused() -> None:
    error = refused(call_of(odd=1), ROUTE._replace(rules=TargetRules(OPENAI, frozenset({"min_p"}))))
    assert (error.status, error.param) == (400, "odd")


def test_what_leads_nowhere_is_left_for_the_end_of_the_chain_to_refuse() -> None:
    call = call_of()
    assert through(call, None) is call
