"""Asks the targets of a call one after the other, until one answers or none may be asked.

The only retry loop there is. A stream commits at its first content and never changes its target
after that. What follows a failure is decided in ``retry``, who is left alone in ``breaker``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import random
from time import monotonic, perf_counter

from app.core.call import Call
from app.core.errors import GatewayError
from app.core.keys import Key
from app.core.reply import ReplyWriter
from app.core.request import Allowance
from app.core.usage import Counts
from app.providers.routing.breaker import Phase
from app.providers.routing.health import TargetHealth
from app.providers.routing.honouring import check_honoured
from app.providers.routing.retry import MAX_CALLS, Failure, RetryBudget, So, after, failure_of
from app.providers.routing.routes import Route, Router
from app.providers.routing.run import Run
from app.providers.routing.shared_health import SharedHealth
from app.providers.upstream import Upstream
from cache.quotas.limiter import Admission, Limiter
from cache.store.base import StoreUnavailable

FAILURES = "headgate_target_failures_total"
FULL = "headgate_target_capacity_refusals_total"
UNKNOWN_WAIT = 1.0  # seconds, where nobody says when a target may be asked again


class Failover:
    """Answers a call from its targets. Raises GatewayError where none of them did.

    ``allowance_of`` says what a key's requests for an alias may generate. ``counts`` is told of
    failures and full targets.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        router: Router,
        health: SharedHealth,
        limiter: Limiter,
        counts: Counts,
        allowance_of: Callable[[Key, str], Allowance],
    ) -> None:
        self._upstream = upstream
        self._router = router
        self._health = health
        self._limiter = limiter
        self._counts = counts
        self._allowance_of = allowance_of
        self._budgets: dict[str, RetryBudget] = {}

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        if not call.targets:
            raise self._router.refusal(call)
        run = Run(call)
        try:
            while not await self._attempt(run, reply):
                pass
        except BaseException as error:
            run.failure = error
            raise
        finally:
            self._upstream.account(run.call, run.route, run.tally, run.failure)

    async def _attempt(self, run: Run, reply: ReplyWriter) -> bool:
        """Ask the target whose turn it is; False where there is another one to ask, or the same
        again. Raises GatewayError where there is not."""
        route, one = run.route, self._health.of(run.route.name)
        lease, admission = "", None
        if not one.clear or route.capacity is not None:
            entered = await self._enter(run, one)
            if entered is None:
                self._pass_over(run)
                return False
            lease, admission = entered
        run.calls += 1
        if not run.repeats:
            self._budget(route.provider).called(monotonic())
        tally = run.tally
        sent, used, began = tally.attempts, tally.usage, perf_counter()
        one.in_flight += 1
        try:
            asked = self._upstream.ask(run.call, route, reply, tally, self._timeouts(run))
            trace = run.call.outcome.trace
            if trace is not None:
                document = run.call.request.document
                asked = trace.follow(route.provider, route.model, document, asked)
            broken = await asked
        except GatewayError as error:
            failure = failure_of(error, sent=tally.attempts > sent)
            self._fail(run, one, failure, lease, perf_counter() - began)
            run.error = error
            wait = self._what_follows(run, failure)
        except BaseException:
            self._health.released(one, lease)
            raise
        else:
            self._ended(run, one, broken, lease, perf_counter() - began)
            return True
        finally:
            one.in_flight -= 1
            if admission is not None and route.capacity is not None:
                usage = run.call.outcome.usage or tally.usage or used
                self._limiter.settle(route.capacity, admission, usage.total_tokens if usage else 0)
        if wait:
            await asyncio.sleep(wait)
        return False

    async def _enter(self, run: Run, one: TargetHealth) -> tuple[str, Admission | None] | None:
        """The lease of a probe and what was taken of the capacity; None where it must be passed
        over."""
        lease = ""
        phase = self._health.phase(one)
        if phase is Phase.PROBE:
            lease = await self._health.claim(one)
            phase = Phase.CLOSED if lease else self._health.phase(one)
        if phase not in (Phase.CLOSED, Phase.RESTING) or (
            phase is Phase.RESTING and not run.repeats
        ):
            run.waits.append(self._health.reopens_in(one) or UNKNOWN_WAIT)
            run.note(phase.value)
            return None
        plan = run.route.capacity
        if plan is None:
            return lease, None
        admission = await self._take_capacity(run, one)
        if admission is None:
            self._health.released(one, lease)
            return None
        return lease, admission

    async def _take_capacity(self, run: Run, one: TargetHealth) -> Admission | None:
        route, call = run.route, run.call
        assert route.capacity is not None
        tokens = call.family.likely(call.request).total_tokens
        try:
            admission = await self._limiter.admit(route.capacity, tokens, call.fan_out.calls)
        except StoreUnavailable:
            run.waits.append(UNKNOWN_WAIT)
            run.note("capacity")
            return None
        decision = admission.decision
        for bucket, level in zip(route.capacity.buckets, decision.levels, strict=False):
            one.level[bucket.unit] = level.remaining
        if decision.allowed:
            return admission
        self._counts.add(FULL, {"target": route.name})
        run.waits.append(UNKNOWN_WAIT if decision.wait is None else decision.wait / 1e6)
        run.note("capacity")
        return None

    def _pass_over(self, run: Run) -> None:
        """Go on to the next target without having asked this one. Raises where there is none."""
        if not run.untried:
            raise run.last_word()
        self._go_on(run)

    def _go_on(self, run: Run, *, larger: bool = False) -> None:
        """To the next target that can be sent the request; ``larger``: with a larger context."""
        context = run.route.context or 0
        run.repeats = 0
        while run.untried:
            run.position += 1
            route = run.route
            if larger and (route.context or 0) <= context:
                continue
            if self._fits(run, route):
                return
        raise run.last_word()

    def _fits(self, run: Run, route: Route) -> bool:
        """Whether a target takes the request; the call is made for it then."""
        call = run.call
        family, endpoint = call.family, route.endpoints.get(call.family.name)
        if endpoint is None:
            return False
        allowance = self._allowance_of(call.key, call.request.model)
        try:
            request = family.bounded(call.request, route.rules, allowance)
            check_honoured(route, family.name, request)
        except GatewayError:
            return False
        fan_out = endpoint.fan_out(request)
        if fan_out.calls > route.max_calls:
            return False
        run.call = call.with_request(request)
        run.call.fan_out = fan_out
        return True

    def _what_follows(self, run: Run, failure: Failure) -> float:
        """Seconds to wait before whatever is asked next. Raises where nothing is."""
        so = self._decide(run, failure, run.repeats)
        if so.do == "again" and not self._may_repeat(run, so.wait):
            so = self._decide(run, failure, max(1, run.repeats))
            so = So("stop") if so.do == "again" else so
        if failure.wait is not None:
            run.waits.append(failure.wait)
        if so.do == "stop":
            raise run.last_word()
        self._upstream.count_unknown(run.call, run.tally, run.error)
        run.tally.failed(run.route.price)
        if so.do == "again":
            run.repeats += 1
            return so.wait
        self._go_on(run, larger=so.larger)
        return 0.0

    def _decide(self, run: Run, failure: Failure, repeats: int) -> So:
        steering = run.call.steering
        if steering is not None:
            decided: So = steering.after(failure, repeats, random())  # noqa: S311 - jitter
            return decided
        return after(
            failure,
            repeats=repeats,
            calls_left=MAX_CALLS - run.calls,
            untried=run.untried,
            rules=run.route.failures,
            chance=random(),  # noqa: S311
        )

    def _may_repeat(self, run: Run, wait: float) -> bool:
        """Whether there is time for one more call of the same target, and the budget allows it.

        A caller's routing config has its own rule of repeats, which no budget bounds.
        """
        if wait >= run.left:
            return False
        if run.call.steering is not None:
            return True
        return self._budget(run.route.provider).take(monotonic())

    def _fail(
        self, run: Run, one: TargetHealth, failure: Failure, lease: str, seconds: float
    ) -> None:
        if run.route.breaker:
            self._health.failed(one, failure, lease)
        kind = failure.kind.value
        self._counts.add(FAILURES, {"target": one.name, "failure": kind})
        one.failures[kind] = one.failures.get(kind, 0) + 1
        run.note(failure.label, seconds)

    def _ended(
        self, run: Run, one: TargetHealth, broken: GatewayError | None, lease: str, seconds: float
    ) -> None:
        """The answer has gone out; a stream may have broken on the way."""
        if broken is not None:
            self._fail(run, one, failure_of(broken), lease, seconds)
            return
        one.answered += 1
        if lease:
            self._health.succeeded(one, lease)
        else:
            one.note_success()
        if len(run.call.targets) > 1:
            one.measured(seconds)
        if run.call.outcome.trail is not None:
            run.note("200", seconds)

    def _timeouts(self, run: Run) -> Mapping[str, float] | None:
        """The time limits of this call: the target's, the config's over them, and no more than what
        is left of the total."""
        route, steering = run.route, run.call.steering
        if run.calls == 1 and steering is None:
            return route.timeouts
        said = dict(route.timeouts or {})
        if steering is not None:
            said |= steering.timeouts
        return said | {"total": max(0.001, min(run.left, route.total))}

    def _budget(self, provider: str) -> RetryBudget:
        found = self._budgets.get(provider)
        if found is None:
            found = self._budgets[provider] = RetryBudget()
        return found
