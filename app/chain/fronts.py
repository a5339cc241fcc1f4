"""What stands before an application: the layers that every caller's request passes, or a probe's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.config.settings import Settings
from app.core.asgi import ASGIApp
from app.observability.recorders import Recorders
from app.observability.request_record import Recorder
from app.policy.callers import Callers, key_ring
from app.shared import Shared
from middleware.asgi.audit_gate import AuditGate
from middleware.asgi.auth import Auth
from middleware.asgi.metering import Metering
from middleware.asgi.protocol import Protocol

Layer = Callable[[Any], Any]

# Which of them an operators' path answers is for that path to say.
OTHER_METHODS = ("POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")


class Fronts:
    """The fronts of one configuration. ``callers`` are there where keys can be made at run time."""

    def __init__(
        self, settings: Settings, shared: Shared, recorders: Recorders, callers: Callers | None
    ) -> None:
        self._recorders = recorders
        audit = shared.audit
        refuses = audit is not None and audit.requests.refuses
        self._gate = [layer(AuditGate, is_full=audit.is_full)] if audit and refuses else []
        self._auth: dict[str, Any] = {
            "keys": callers or key_ring(settings),
            "now": shared.ledger.clock.now,
            "bad_keys": shared.bad_keys,
            "unknown": callers.unknown if callers is not None else None,
        }

    def of_callers(self, method: str, capability: str | None, recorder: Recorder) -> list[Layer]:
        """Only with a key that has the ``capability``, if one is named."""
        return [
            layer(Metering, recorder=recorder, operation=capability),
            *self._gate,
            layer(Protocol, method=method),
            layer(Auth, capability=capability, **self._auth),
        ]

    def of_probes(self, path: str, *also: str) -> list[Layer]:
        """Without a key; GET and ``also``."""
        recorder = self._recorders.of_probes(path)
        return [layer(Metering, recorder=recorder), layer(Protocol, method="GET", also=also)]

    def of_operators(self) -> list[Layer]:
        """Of the admin API and the dashboard, which know their callers themselves."""
        recorder = self._recorders.of_route("admin")
        return [
            layer(Metering, recorder=recorder, operation="admin"),
            layer(Protocol, method="GET", also=OTHER_METHODS),
        ]


def layer(kind: Callable[..., Any], **settings: Any) -> Layer:
    """A layer of ours as Litestar takes it.

    A closure and not a DefineMiddleware: Litestar copies those deeply, the limiter in them too.
    """

    def over(app: Any) -> Any:
        return kind(app, **settings)

    return over


def behind(layers: list[Layer], app: ASGIApp) -> ASGIApp:
    """An application behind its layers, the first of them outermost."""
    for one in reversed(layers):
        app = one(app)
    return app
