"""What may it cost? A request says exactly once how much is generated, before anything is held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from app.core.call import Call, Handler
from app.core.errors import InvalidRequest
from app.core.keys import Key
from app.core.reply import ReplyWriter
from app.core.request import Allowance
from app.providers.routing import Endpoint, Route


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

    def __call__(self, call: Call, reply: ReplyWriter) -> Awaitable[None]:
        alias = call.request.model
        route = self._route_of(alias) if alias in call.key.models else None
        if route is not None:
            endpoint = route.endpoints.get(call.family.name)
            if endpoint is not None:
                call = self._bound(call, route, endpoint)
        return self._inner(call, reply)

    def _bound(self, call: Call, route: Route, endpoint: Endpoint) -> Call:
        family, request = call.family, call.request
        fan_out = endpoint.fan_out(request)
        if fan_out.calls > route.max_calls:
            raise TooManyCalls(
                f"This request would make {fan_out.calls} upstream calls, one for each "
                f"{family.prompts} and choice; `max_calls` of this model allows "
                f"{route.max_calls}. Send fewer at once.",
                param="n" if fan_out.times > 1 else family.prompts,
            )
        allowance = self._allowance_of(call.key, request.model)
        bounded = family.bounded(request, route.rules, allowance)
        if bounded is not request:
            call = call.with_request(bounded)
        call.fan_out = fan_out
        return call
