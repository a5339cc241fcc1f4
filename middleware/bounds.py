"""What may it cost? A request says exactly once how much is generated, before anything is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from app.core.call import Call
from app.core.errors import InvalidRequest
from app.core.keys import Key
from app.core.reply import Handler, ReplyWriter
from app.openai.completions.forwarded_members import refuse_others
from app.openai.completions.output_limits import limited
from app.openai.completions.request import CompletionRequest
from app.policy.limits_and_budgets import Allowance
from app.providers.routing import Route


class TooManyCalls(InvalidRequest):
    code = "too_many_calls"


class Bounds:
    """Refuses what cannot be bounded, and binds what limits, budgets and caps depend on.

    ``route_of`` says where an alias leads, ``allowance_of`` what a key's requests for it may use.
    An alias that is unknown, or that the key may not use, is left for the route to refuse.
    """

    def __init__(
        self,
        inner: Handler,
        *,
        route_of: Callable[[str], Route | None],
        allowance_of: Callable[[Key, str], Allowance],
    ) -> None:
        self._inner = inner
        self._route_of = route_of
        self._allowance_of = allowance_of

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        alias = call.request.model
        route = self._route_of(alias) if alias in call.key.models else None
        if route is not None and route.completions is not None:
            call = self._bound(call, cast("CompletionRequest", call.request), route)
        await self._inner(call, reply)

    def _bound(self, call: Call, request: CompletionRequest, route: Route) -> Call:
        refuse_others(request.document, route.members)
        calls = route.calls_of(request)
        if calls > route.max_calls:
            raise TooManyCalls(
                f"This request would make {calls} upstream calls, one for each prompt and choice; "
                f"`max_calls` of this model allows {route.max_calls}. Send fewer prompts at once.",
                param="n" if route.repeated and request.n > 1 else "prompt",
            )
        request = request.counting(route.part_tokens)
        allowance = self._allowance_of(call.key, request.model)
        if allowance.bound:
            request = limited(request, allowance.cap, route.dialect)
        bound = call.with_request(request)
        bound.calls = calls
        return bound
