"""Every way in which the gateway refuses: status, type and codes. Tests hold the table to the code
that raises them and to docs/api.md."""

from __future__ import annotations

from app.openai.shown import Schema, object_of
from app.routes.openapi.rows import Refusal

_INVALID = "invalid_request_error"

REFUSALS = (
    Refusal(
        400,
        _INVALID,
        (
            *("invalid_json", "invalid_request", "unsupported_parameter"),
            *("context_length_exceeded", "too_many_calls", "no_target", "invalid_config"),
        ),
        "The body, a field or a combination is wrong; `details` names everything that is.",
    ),
    Refusal(400, "content_filter", ("guardrail_blocked",), "A guardrail refuses the text."),
    Refusal(
        401,
        "authentication_error",
        (
            *("missing_api_key", "invalid_api_key", "expired_api_key"),
            *("blocked_api_key", "not_signed_in"),
        ),
        "No key, or none that is valid here.",
    ),
    Refusal(
        403,
        "permission_error",
        (
            *("capability_required", "key_unusable", "scope_required", "tenant_required"),
            *("token_required", "other_origin"),
        ),
        "The key may not do this.",
    ),
    Refusal(
        404,
        _INVALID,
        ("model_not_found", "not_found"),
        "No such path, or no such model for this key.",
    ),
    Refusal(405, _INVALID, ("method_not_allowed",), "The path answers other methods; see `Allow`."),
    Refusal(408, _INVALID, ("request_timeout",), "The body came too slowly."),
    Refusal(
        409,
        _INVALID,
        ("managed_by_file", "already_exists", "secret_taken", "in_use", "conflict"),
        "What is there does not allow it.",
    ),
    Refusal(412, _INVALID, ("precondition_failed",), "It is another revision than the one named."),
    Refusal(413, _INVALID, ("request_too_large",), "The body is larger than the gateway takes."),
    Refusal(415, _INVALID, ("unsupported_media_type",), "The body is not plain JSON."),
    Refusal(
        422,
        _INVALID,
        ("idempotency_key_reused",),
        "This `Idempotency-Key` stands for another request.",
    ),
    Refusal(
        429,
        "rate_limit_error",
        ("rate_limit_exceeded",),
        "A limit of requests, tokens or concurrency is reached; `Retry-After` says until when.",
    ),
    Refusal(
        429,
        _INVALID,
        ("too_many_connections", "too_many_bad_keys"),
        "This address has too many requests, or sent too many bad keys.",
    ),
    Refusal(429, "insufficient_quota", ("budget_exceeded",), "The budget cannot cover it."),
    Refusal(500, "server_error", ("internal_error",), "The gateway failed; its log has the cause."),
    Refusal(
        501,
        "not_implemented",
        ("not_implemented",),
        "The model's provider has no such endpoint.",
    ),
    Refusal(
        502,
        "upstream_error",
        (
            *("upstream_invalid_response", "upstream_unreachable"),
            *("upstream_auth_failed", "upstream_not_found"),
        ),
        "The provider cannot be reached, refuses the gateway, or answers rubbish.",
    ),
    Refusal(
        503,
        "service_unavailable",
        (
            *("store_unavailable", "upstream_overloaded", "overloaded"),
            *("guardrail_unavailable", "retrieval_unavailable"),
            *("audit_unavailable", "service_unavailable"),
        ),
        "Something that the gateway needs is out; `Retry-After` says when to try again.",
    ),
    Refusal(
        504,
        "upstream_error",
        ("upstream_timeout", "not_cached"),
        "The provider did not answer in time, or `only-if-cached` found nothing.",
    ),
)

# Beyond these an upstream's own refusal keeps its status and code.
OPEN = "default"


def statuses() -> list[int]:
    """Each once, in order."""
    return sorted({row.status for row in REFUSALS})


def rows_of(status: int) -> list[Refusal]:
    """All rows with this status."""
    return [row for row in REFUSALS if row.status == status]


def envelope() -> Schema:
    """Every error's body."""
    types = sorted({row.type for row in REFUSALS})
    codes = sorted({code for row in REFUSALS for code in row.codes})
    nullable: Schema = {"type": ["string", "null"]}
    problem = object_of({"param": nullable, "message": {"type": "string"}})
    error: dict[str, Schema] = {
        "message": {"type": "string", "description": "For a person: what is wrong and what helps."},
        "type": {"type": "string", "enum": types},
        "code": {
            "description": "One of these; an upstream's own refusal may have another one.",
            "anyOf": [{"enum": codes}, nullable],
        },
        "param": nullable | {"description": "The first wrong field, where it is about one."},
    }
    details = {"type": "array", "items": problem, "description": "Every wrong field."}
    inner = object_of(error)
    inner["properties"] = inner["properties"] | {"details": details}
    return object_of({"error": inner})
