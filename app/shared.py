"""What outlives a change of configuration: the store and everything kept in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from app.connections.bad_keys import BadKeys
from app.connections.client_address import TrustedProxies
from app.connections.pending import PendingAnswers
from app.core.asgi import Scope
from app.providers.routing.shared_health import SharedHealth
from app.routes.health import Readiness
from app.routes.process_metrics import ProcessMetrics
from app.supervision.relay_mark import RelayMark
from cache.quotas.activity import ActivityLog
from cache.quotas.ledger import Ledger
from cache.quotas.limiter import Limiter
from cache.quotas.usage import UsageLog
from cache.registry.registry import Registry
from cache.serving.coalesced import CacheParts
from cache.store.base import Store

if TYPE_CHECKING:
    from app.audited import Audited
    from app.observability.tracing.tracer import Tracer


class Shared(NamedTuple):
    """One worker's, made by its services and used by every chain.

    ``running`` has the scope of each running request by its caller's address and port. ``relay`` is
    what marks the requests of the management listener; None where nothing comes from there.
    ``bad_admin_keys`` slows those down who guess admin keys. ``audit`` is None where there is no audit log,
    ``tracer`` where requests are not traced.
    """

    store: Store
    limiter: Limiter
    ledger: Ledger
    usage: UsageLog
    readiness: Readiness
    cache: CacheParts
    pending: PendingAnswers
    running: dict[Any, Scope]
    bad_keys: BadKeys
    proxies: TrustedProxies
    running_by_address: dict[str, int]
    health: SharedHealth
    relay: RelayMark | None
    bad_admin_keys: BadKeys
    registry: Registry
    measured: ProcessMetrics
    activity: ActivityLog
    audit: Audited | None = None
    tracer: Tracer | None = None
