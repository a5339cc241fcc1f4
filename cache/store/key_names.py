"""The names of everything in the store, in one place: versioned, hash-tagged by tenant.

All keys of a tenant share the tag ``{tenant}``, so that a script that touches several of them runs
on one node of a cluster. ``1`` is the version of what is kept behind the names.
"""

from __future__ import annotations

VERSION = "hg1"
EPOCH = 1_767_225_600  # 2026-01-01 UTC, in unix seconds: the scripts count microseconds from there
PROBE = f"{VERSION}:probe"
REPLICAS = f"{VERSION}:replicas"
# What the store is known by; its tag is the whole name of REPLICAS, so that both are on one node.
IDENTITY = f"{VERSION}:{{{REPLICAS}}}:store"
TENANTS = f"{VERSION}:tenants"  # by when each is swept next


def index(tenant: str) -> str:
    """The tenant's keys that do not expire by themselves, by when they may go."""
    return f"{VERSION}:{{{tenant}}}:index"


def index_beside(key: str) -> str:
    """The index of the tenant whose key this is."""
    return f"{key.partition('}')[0]}}}:index"


def bucket(tenant: str, scope: str, unit: str) -> str:
    return f"{VERSION}:{{{tenant}}}:bucket:{scope}:{unit}"


def slots(tenant: str, scope: str) -> str:
    return f"{VERSION}:{{{tenant}}}:slots:{scope}"


def account(tenant: str, scope: str, window: str) -> str:
    return f"{VERSION}:{{{tenant}}}:account:{scope}:{window}"


def leases(tenant: str, scope: str, window: str) -> str:
    return f"{VERSION}:{{{tenant}}}:leases:{scope}:{window}"


def records(tenant: str) -> str:
    return f"{VERSION}:{{{tenant}}}:records"


def written(tenant: str) -> str:
    """The latest batch of records that each worker has written."""
    return f"{VERSION}:{{{tenant}}}:batches"


def settled(tenant: str) -> str:
    """What settlements noted and the counters do not hold yet."""
    return f"{VERSION}:{{{tenant}}}:settled"


def counters(tenant: str, period: str) -> str:
    """``period`` is an hour, ``2026-11-20T14``, or a day, ``2026-11-20``."""
    return f"{VERSION}:{{{tenant}}}:usage:{period}"


def last_used(tenant: str) -> str:
    """When each key of the tenant was used last."""
    return f"{VERSION}:{{{tenant}}}:last-used"


def everyone(tenant: str) -> str:
    """The tag of what a scope names no tenant for; no tenant can have this name."""
    return tenant or "~"


def prefix(tenant: str) -> str:
    """What the names of a tenant's part of the cache begin with."""
    return f"{VERSION}:{{{everyone(tenant)}}}:"


def answer(tenant: str, digest: str) -> str:
    """An entry. The 2 is the version of its form: replicas of an older release neither find these
    nor drop them, and theirs expire where they are."""
    return f"{VERSION}:{{{everyone(tenant)}}}:answer:2:{digest}"


def cached(tenant: str) -> str:
    """What of the cache a tenant has, by age, with sizes."""
    return f"{prefix(tenant)}cached"


FLIGHT_LEASE_MS = 2500  # how long a flight stands that its leader does not hold on to


def flight(tenant: str, digest: str) -> str:
    """Who asks the upstream for an answer right now."""
    return f"{VERSION}:{{{everyone(tenant)}}}:flight:{digest}"


def purged(tenant: str) -> str:
    """When what was purged last, by field."""
    return f"{VERSION}:{{{everyone(tenant)}}}:purged"


PURGES = f"{VERSION}:purges"  # counts every purge, for those who keep copies of answers


def mailbox(worker: str) -> str:
    """The channel on which a worker hears from the others."""
    return f"{VERSION}:mail:{worker}"


def meaning(tenant: str, key: str) -> str:
    """Which answer a canonical key stands for."""
    return f"{VERSION}:{{{everyone(tenant)}}}:meaning:{key}"


def neighbours(tenant: str, partition: str) -> str:
    """The vectors of a partition."""
    return f"{VERSION}:{{{everyone(tenant)}}}:near:{partition}"


def evidence(tenant: str, place: str) -> str:
    """What verification found in a partition, or for a model."""
    return f"{VERSION}:{{{everyone(tenant)}}}:evidence:{place}"


def chunks(tenant: str, index: str) -> str:
    """The vectors of a tenant's chunks in an index; with no tenant, of everyone's."""
    return f"{VERSION}:{{{everyone(tenant)}}}:chunks:{index}"


def about_chunks(tenant: str, index: str) -> str:
    """Of which encoder those are, and which files they came from."""
    return f"{VERSION}:{{{everyone(tenant)}}}:about-chunks:{index}"


def banned(tenant: str, asked: str) -> str:
    """The answers that a question must not get."""
    return f"{VERSION}:{{{everyone(tenant)}}}:banned:{asked}"


def quarantined(tenant: str, served: str) -> str:
    """Stands where an answer must not be served by meaning."""
    return f"{VERSION}:{{{everyone(tenant)}}}:quarantined:{served}"


def verdicts(tenant: str) -> str:
    """Which bans, quarantines and evidence a tenant has, by age."""
    return f"{prefix(tenant)}verdicts"


CACHE_SIZES = f"{VERSION}:cache-sizes"  # of all tenants, for those who watch over the whole
FEEDBACK_SECRET = f"{VERSION}:feedback-secret"
COUNTERS = f"{VERSION}:counters"
AUDIT_STREAM = f"{VERSION}:audit"  # a copy of the latest lines of the audit log

# All targets' keys share a tag, so that a state and the index are on one node.
TARGETS = f"{VERSION}:{{~targets}}:unwell"  # the state of every target that is not closed


def target(name: str) -> str:
    """What is known of one upstream target by all replicas."""
    return f"{VERSION}:{{~targets}}:target:{name}"


# What requests did lately; one tag, so that one script writes all of it.
ACTIVITY = f"{VERSION}:{{~activity}}:recent"
ACTIVITY_WORKERS = f"{VERSION}:{{~activity}}:workers"


def activity_counts(hour: str) -> str:
    """Failures and cache results of an hour, ``2026-11-20T14``."""
    return f"{VERSION}:{{~activity}}:counts:{hour}"


def operator_session(digest: str) -> str:
    """A dashboard session, by the digest of what its cookie holds."""
    return f"{VERSION}:{{~operators}}:session:{digest}"


def sign_in_link(digest: str) -> str:
    """Stands where a one-time sign-in link was used."""
    return f"{VERSION}:{{~operators}}:link:{digest}"


# What operators make at run time shares a tag, so that one script changes all of it; no tenant can
# have this name.
_OPERATORS = f"{VERSION}:{{~operators}}"
OPERATORS_STATE = f"{_OPERATORS}:state"  # the generation of all objects
OPERATORS_CHANGES = f"{_OPERATORS}:changes"  # objects by the generation of their last change
OPERATORS_SECRETS = f"{_OPERATORS}:secrets"  # which key a digest opens
OPERATORS_AUDIT = f"{_OPERATORS}:audit"  # who changed what
OPERATORS_CHANNEL = f"{VERSION}:mail:operators"  # tells every worker that something was changed


def objects(kind: str) -> str:
    """The operators' objects of a kind, by id."""
    return f"{_OPERATORS}:{kind}"


def object_ids(kind: str) -> str:
    """Their ids, in order."""
    return f"{_OPERATORS}:{kind}:ids"


def object_ids_by_tenant(kind: str) -> str:
    """Their tenants and ids, in order."""
    return f"{_OPERATORS}:{kind}:by-tenant"


def answered(request: str) -> str:
    """The answer to an operator's request, for its repetition."""
    return f"{_OPERATORS}:answered:{request}"
