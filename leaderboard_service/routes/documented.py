"""What the routes' OpenAPI descriptions share: the error answers and the headers of score writes."""

from __future__ import annotations

from typing import Any

from leaderboard_service.schemas import ErrorEnvelope

_MEANINGS = {
    401: "missing_token, invalid_token or invalid_credentials",
    403: "forbidden",
    404: "user_not_found",
    409: "user_exists or region_mismatch",
    413: "payload_too_large",
    422: "invalid_payload, unknown_region, score_out_of_range or idempotency_key_reused",
    429: "rate_limited, region_rate_limited or queue_full; Retry-After and retry_after say when to come back",
    503: "unavailable or warming_up; Retry-After and retry_after say when to come back",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can answer with these errors."""
    return {status: {"model": ErrorEnvelope, "description": _MEANINGS[status]} for status in statuses}


IDEMPOTENCY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The first accepted answer is kept for 24 h and given again; the write happens once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
