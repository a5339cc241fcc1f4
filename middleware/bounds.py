"""What may it cost? A request says exactly once how much is generated, before anything is held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from app.core.call import Call, Handler
from app.core.errors import InvalidRequest
from app.core.keys import Key
from app.core.reply import ReplyWriter
from app.core.request import Allowance
from app.providers.routing.honouring import check_honoured
from app.providers.routing.routes import Route


class TooManyCalls(InvalidRequest):
    code = "too_many_calls"


class Bounds:
    """Refuses what cannot be bounded, and binds what limits, budgets and caps depend on.

    ``allowance_of`` says what a key's requests for an alias may use. A target that cannot be sent
    the request is left out where there is another. A call without targets is left for the end of
    the chain to refuse.
    """

    def __init__(self, inner: Handler, *, allowance_of: Callable[[Key, str], Allowance]) -> None:
        self._inner = inner
        self._allowance_of = allowance_of

    def __call__(self, call: Call, reply: ReplyWriter) -> Awaitable[None]:
        if call.targets:
            call = self._bound(call)
        return self._inner(call, reply)

    def _bound(self, call: Call) -> Call:
        """The call for the first target that takes it. Raises what the first of all said."""
        refusal: InvalidRequest | None = None
        several = len(call.targets) > 1
        for position in range(len(call.targets)):
            try:
                bounded = self._bound_for(call, call.targets[position:])
                if several:
                    check_honoured(bounded.targets[0], call.family.name, bounded.request)
            except InvalidRequest as error:
                refusal = refusal or error
            else:
                return bounded
        assert refusal is not None
        raise refusal

    def _bound_for(self, call: Call, targets: tuple[Route, ...]) -> Call:
        """The call for the first of these targets. Raises InvalidRequest."""
        route = targets[0]
        family, request = call.family, call.request
        fan_out = route.endpoints[family.name].fan_out(request)
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
        call.fan_out, call.targets = fan_out, targets
        return call
