"""GET /metrics/shared: what the replicas counted together, as Prometheus text.

The counts are in the store, so that any replica gives those of all: scrape one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from app.core.asgi import Receive, Scope, Send, body_message, start_message
from app.core.exchange import exchange_of
from app.core.pricing import NANO
from app.core.refusal import refuse, store_unavailable
from app.providers.routing.shared_health import SharedHealth
from cache.quotas.counters import Counters
from cache.quotas.ledger import BudgetPlan, Ledger
from cache.semantic.error_bounds import Tally, excess
from cache.semantic.index import SemanticIndex
from cache.semantic.plan import TIERS
from cache.store.base import StoreUnavailable

TEXT_TYPE = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_ERROR = "headgate_semantic_shadow_error"
_OPEN = "headgate_target_open"
_LEFT = "headgate_target_capacity_left"
MOST_BUDGETS = 200  # on the page; each costs a look into the store
_NOT_SHOWN = "headgate_budgets_not_shown"
_BUDGETS = {
    "headgate_budget_spent_usd": "What a budget was charged in its present window.",
    "headgate_budget_held_usd": "What running requests hold of a budget.",
    "headgate_budget_limit_usd": "What a budget may be charged in a window.",
}
# Counted so rarely that an alert on them must find a series before that.
_ALWAYS = ("headgate_audit_gaps_total", "headgate_store_empty_total")
_HELP = {
    "headgate_cache_not_kept_total": "Answers not kept: the server is nearly full (memory), or too large.",
    "headgate_unknown_usage_total": "Upstream calls that were sent and whose use nobody knows.",
    "headgate_store_empty_total": "Times the store came back empty, or another one took its place.",
    "headgate_connections_ended_total": "Connections that a worker ended, by reason.",
    "headgate_target_openings_total": "Times that a target's breaker opened.",
    "headgate_target_failures_total": "Calls that targets failed, by kind.",
    "headgate_target_capacity_refusals_total": "Times that a target was passed over because it was full.",
    "headgate_guardrail_checks_total": "Calls looked at by a rule, by what it did.",
    "headgate_guardrail_microseconds_total": "Time spent in rules; `local` are all that ask nobody.",
    "headgate_guardrail_bypass_total": "Calls that a rule beyond the network let pass unseen.",
    "headgate_guardrail_unscannable_total": "Parts of requests that are no text.",
    "headgate_audit_records_total": "Records of the audit log, by kind.",
    "headgate_audit_gaps_total": "Gaps in the audit log: records that say how many could not be written.",
    "headgate_audit_lost_total": "Requests whose record could not be written.",
    "headgate_retrieval_total": "Calls for which documents were looked for, by result.",
    "headgate_retrieval_chunks_total": "Chunks that were found, by what became of them.",
    "headgate_retrieval_failures_total": "Calls for which no documents could be had, by reason.",
    "headgate_retrieval_microseconds_total": "Time spent on embeddings and in sources.",
    "headgate_semantic_hits_total": "Answers served by meaning.",
    "headgate_semantic_would_be_hits_total": "Answers found by meaning and not served: dry run, or a closed tier.",
    "headgate_semantic_would_be_saved_nanodollars_total": "What those answers would have saved, in billionths of a US dollar.",
    "headgate_semantic_refusals_total": "Near prompts that the guard refused.",
    "headgate_semantic_refusals_compared_total": "Refused neighbours whose answer was compared.",
    "headgate_semantic_closures_total": "Tiers closed because they erred.",
    "headgate_semantic_openings_total": "Tiers opened again.",
    "headgate_semantic_feedback_total": "Verdicts of callers.",
}


class MetricsPage:
    """What the replicas counted together, as one text."""

    def __init__(
        self,
        counters: Counters,
        semantic_index: SemanticIndex,
        places: Sequence[tuple[str, str, bytes]],
        targets: SharedHealth,
        budgets: Callable[[], Sequence[BudgetPlan]] = tuple,
        ledger: Ledger | None = None,
    ) -> None:
        """``places`` are tenant, alias and place of every model with answers by meaning;
        ``targets`` are this worker's copy of what all replicas know of them; ``budgets`` gives those
        that there are now, which are read from the ``ledger``."""
        self._targets = targets
        self._budgets = budgets
        self._ledger = ledger
        self._counters = counters
        self._semantic_index = semantic_index
        self._places = places

    async def text(self) -> str:
        """The page; raises StoreUnavailable."""
        lines = [*_counted(await self._counters.read())]
        errors = [
            line
            for tenant, alias, place in self._places
            for line in _errors(tenant, alias, await self._semantic_index.counts(tenant, place))
        ]
        if errors:
            lines += [
                f"# HELP {_ERROR} Error of a tier beyond the model's own variation, with its bounds.",
                f"# TYPE {_ERROR} gauge",
                *errors,
            ]
        lines += _targets(self._targets)
        budgets = self._budgets()
        if self._ledger is not None and budgets:
            lines += await _spending(budgets, self._ledger)
        return "".join(f"{line}\n" for line in lines)


def metrics_app(page: MetricsPage) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = (await page.text()).encode()
        except StoreUnavailable:
            await refuse(exchange_of(scope), send, store_unavailable("metrics"))
            return
        await send(start_message(200, [TEXT_TYPE, (b"content-length", b"%d" % len(body))]))
        await send(body_message(body))

    return metrics


def _counted(series: dict[str, int]) -> Iterable[str]:
    series = dict.fromkeys(_ALWAYS, 0) | series
    known = ""
    for name in sorted(series):
        family = name.partition("{")[0]
        if family != known:
            known = family
            if family in _HELP:
                yield f"# HELP {family} {_HELP[family]}"
            yield f"# TYPE {family} counter"
        yield f"{name} {series[name]}"


def _errors(tenant: str, alias: str, counts: dict[str, int]) -> Iterable[str]:
    control = Tally(counts.get("control_looked", 0), counts.get("control_differed", 0))
    for tier in TIERS:
        looked = counts.get(f"tier{tier}_looked", 0)
        if looked:
            bounds = excess(Tally(looked, counts.get(f"tier{tier}_differed", 0)), control)
            for name, value in zip(("estimate", "low", "high"), bounds, strict=True):
                labels = f'bound="{name}",model="{_quoted(alias)}",tenant="{tenant}",tier="{tier}"'
                yield f"{_ERROR}{{{labels}}} {value:.6f}"


def _targets(health: SharedHealth) -> Iterable[str]:
    names, unwell = health.names(), health.unwell()
    if names:
        yield f"# HELP {_OPEN} Whether a target is left alone: open, resting or being probed."
        yield f"# TYPE {_OPEN} gauge"
        for name in names:
            yield f'{_OPEN}{{target="{_quoted(name)}"}} {int(name in unwell)}'
    levels = health.levels()
    if levels:
        yield f"# HELP {_LEFT} What was left of a target's capacity when it was asked last."
        yield f"# TYPE {_LEFT} gauge"
        for name, units in levels.items():
            for unit, left in units.items():
                yield f'{_LEFT}{{target="{_quoted(name)}",unit="{unit}"}} {left}'


async def _spending(plans: Sequence[BudgetPlan], ledger: Ledger) -> list[str]:
    """Every budget as it stands, up to a number of them. Raises StoreUnavailable."""
    shown: list[BudgetPlan] = []
    left = MOST_BUDGETS
    for plan in plans:
        shown.append(BudgetPlan(plan.tenant, plan.budgets[:left]))
        left -= len(shown[-1].budgets)
    found = await asyncio.gather(*(ledger.accounts(plan) for plan in shown))
    rows = [
        (p.tenant, account)
        for p, accounts in zip(shown, found, strict=True)
        for account in accounts
    ]
    lines: list[str] = []
    for name, help_text in _BUDGETS.items():
        lines += (f"# HELP {name} {help_text}", f"# TYPE {name} gauge")
        for tenant, account in rows:
            budget = account.budget
            amount = {"spent": account.spent, "held": account.held, "limit": budget.limit}
            said = f'per="{budget.per}",scope="{_quoted(budget.scope)}",tenant="{_quoted(tenant)}"'
            lines.append(f"{name}{{{said}}} {amount[name.split('_')[2]] / NANO!r}")
    more = sum(len(plan.budgets) for plan in plans) - len(rows)
    lines += (
        f"# HELP {_NOT_SHOWN} Budgets that are not on this page, because there are too many.",
        f"# TYPE {_NOT_SHOWN} gauge",
        f"{_NOT_SHOWN} {more}",
    )
    return lines


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
