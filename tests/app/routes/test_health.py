"""What a load balancer is told."""

from __future__ import annotations

import pytest

from app.concurrency.breaker import Breaker
from app.concurrency.loop_lag import LoopLag
from app.routes.health import Readiness, live_app, ready_app
from tests.app.routes.asking import Answered, ask
from tests.harness.chain import in_loop


def ready(readiness: Readiness, *, store_optional: bool = False) -> Answered:
    answered: Answered = in_loop(lambda: ask(ready_app("g-1", readiness, store_optional)))
    return answered


def without_its_store() -> Readiness:
    readiness, breaker = Readiness(), Breaker()
    readiness.watch(breaker, LoopLag())
    breaker.failed("timeout", at_once=True)
    return readiness


def test_a_process_that_answers_lives() -> None:
    answered = in_loop(lambda: ask(live_app("g-1")))
    assert (answered.status, answered.document) == (200, {"status": "live", "generation": "g-1"})


def test_a_worker_is_ready_when_nothing_is_wrong() -> None:
    answered = ready(Readiness())
    assert answered.status == 200
    facts = {"status": "ready", "generation": "g-1", "store": "ok", "loop_lag_ms": 0}
    assert answered.document == facts


def test_a_worker_that_is_shutting_down_is_not_ready() -> None:
    readiness = Readiness()
    readiness.drain()
    answered = ready(readiness)
    assert (answered.status, answered.document["reason"]) == (503, "shutting_down")


def test_a_worker_without_its_store_is_not_ready_and_says_why() -> None:
    answered = ready(without_its_store())
    assert (answered.status, answered.document["reason"]) == (503, "store_unavailable")
    assert answered.document["store"] == "timeout"


def test_a_worker_that_can_do_without_its_store_is_ready_and_says_that_it_is_out() -> None:
    answered = ready(without_its_store(), store_optional=True)
    assert (answered.status, answered.document["store"]) == (200, "timeout")


@pytest.mark.parametrize("store_optional", [True, False])
def test_a_worker_whose_store_is_back_is_ready_again(store_optional: bool) -> None:
    readiness, breaker = Readiness(), Breaker()
    readiness.watch(breaker, LoopLag())
    breaker.failed("timeout", at_once=True)
    breaker.close()
    assert ready(readiness, store_optional=store_optional).status == 200


def test_a_target_that_is_left_alone_is_named_and_keeps_nobody_away() -> None:
    class States:
        def unwell(self) -> dict[str, str]:
            return {"p/m": "open"}

        def levels(self) -> dict[str, dict[str, int]]:
            return {"q/m": {"requests": 3}}

    readiness = Readiness()
    readiness.watch_targets(States())
    answered = ready(readiness)
    assert answered.status == 200
    assert answered.document["targets"] == {"p/m": "open"}
    assert answered.document["capacity"] == {"q/m": {"requests": 3}}


def test_what_is_wrong_behind_us_is_told_with_addresses_where_operators_ask_here() -> None:
    readiness, breaker = Readiness(), Breaker()
    readiness.watch(breaker, LoopLag())
    breaker.failed("refused", at_once=True, detail="10.0.0.9:6379: connection refused")
    troubles = {"main": "http://10.0.0.8/v1/completions: connection refused"}
    shown = in_loop(lambda: ask(ready_app("g-1", readiness, False, lambda: troubles))).document
    assert shown["store"] == "refused"
    assert shown["store_detail"] == "10.0.0.9:6379: connection refused"
    assert shown["upstreams"] == troubles
    hidden = in_loop(lambda: ask(ready_app("g-1", readiness, False))).document
    assert "10.0.0" not in str(hidden)
