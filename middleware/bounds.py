"""What may it cost? A request says exactly once how much is generated, before anything is held."""

from __future__ import annotations

from collections.abc import Callable

from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import InvalidRequest
from app.core.exchange import Exchange, exchange_of
from app.core.forwarded_members import refuse_others
from app.core.keys import Key
from app.core.output_limits import limited
from app.core.refusal import refuse
from app.policies import Allowance
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
        app: ASGIApp,
        *,
        route_of: Callable[[str], Route | None],
        allowance_of: Callable[[Key, str], Allowance],
    ) -> None:
        self._app = app
        self._route_of = route_of
        self._allowance_of = allowance_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        try:
            self._bind(exchange)
        except InvalidRequest as error:
            await refuse(exchange, send, error)
            return
        await self._app(scope, receive, send)

    def _bind(self, exchange: Exchange) -> None:
        key, request = exchange.key, exchange.request
        assert key is not None
        assert request is not None
        route = self._route_of(request.model) if request.model in key.models else None
        if route is None or route.completions is None:
            return
        refuse_others(request.document, route.members)
        exchange.calls = calls = route.calls_of(request)
        if calls > route.max_calls:
            raise TooManyCalls(
                f"This request would make {calls} upstream calls, one for each prompt and choice; "
                f"`max_calls` of this model allows {route.max_calls}. Send fewer prompts at once.",
                param="n" if route.repeated and request.n > 1 else "prompt",
            )
        request.part_tokens = route.part_tokens
        allowance = self._allowance_of(key, request.model)
        if allowance.bound:
            exchange.request = limited(request, allowance.cap, route.dialect)
