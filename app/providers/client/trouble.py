"""What keeps a provider from answering, for its operator: in the log, and for the health page.

A caller is never told an address; these lines name it, because the operator wrote it.
"""

from __future__ import annotations

from time import monotonic

import httpx
import structlog

from app.core.errors import GatewayError, UpstreamAuth, UpstreamNotFound
from app.providers.client.causes import told_by

QUIET_SECONDS = 60.0  # between two lines about one address; every request meets it
MAX_SAID = 64  # addresses of which that is known

NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
_CURES = {
    "upstream_not_found": "correct `base_url`; the OpenAI API usually stands under /v1",
    "upstream_auth_failed": "correct `api_key`, or what the key may do there",
}


class Trouble:
    """Of one provider, ``name``. ``latest`` is the last failure, None once a call was answered."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._said: dict[tuple[str, str], float] = {}
        self.latest: str | None = None

    def failed(self, url: httpx.URL, error: httpx.HTTPError) -> None:
        """A call without an answer. It is trouble where no connection came about; our own full pool
        is none."""
        if isinstance(error, NO_CONNECTION):
            self._note("upstream_unreachable", url, *cause_of(error))

    def refused(self, url: httpx.URL, error: GatewayError) -> None:
        """The answer was a refusal that the operator has to mend; any other one is no trouble."""
        if isinstance(error, UpstreamNotFound):
            self._note("upstream_not_found", url, "nothing at this path", None)
        elif isinstance(error, UpstreamAuth):
            self._note("upstream_auth_failed", url, "it refuses the gateway's credentials", None)
        else:
            self.latest = None

    def _note(self, event: str, url: httpx.URL, detail: str, advice: str | None) -> None:
        shown = str(url.copy_with(username=None, password=None, query=None, fragment=None))
        self.latest = f"{shown}: {detail}"
        now = monotonic()
        if now - self._said.get((event, shown), -QUIET_SECONDS) < QUIET_SECONDS:
            return
        if len(self._said) >= MAX_SAID:
            self._said.pop(next(iter(self._said)))
        self._said[event, shown] = now
        structlog.get_logger("headgate").warning(
            event, provider=self._name, url=shown, detail=detail, advice=advice or _CURES.get(event)
        )


def cause_of(error: httpx.HTTPError) -> tuple[str, str]:
    """What happened below an exception of a transport, and what would mend it."""
    chain: list[BaseException] = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 8:
        chain.append(below)
    for one in reversed(chain):
        told = told_by(one)
        if told is not None:
            return told
    if isinstance(error, httpx.ProxyError):
        return "the proxy refuses", "correct `proxy`"
    if isinstance(error, httpx.TimeoutException):
        return "no connection in time", "start it, correct `base_url`, or open the network to it"
    return "the connection broke", "look into the provider's own log"
