"""A route: its handler, and what the OpenAPI document says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from leaderboard_service.asgi import Handler
from leaderboard_service.schemas import Body, ErrorEnvelope

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

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The first accepted answer is kept for 24 h and given again; the write happens once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

# Not a model: FastAPI would give the errors of a stream the stream's own media type.
_ENVELOPE = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorEnvelope.__name__}"}}}

BEARER_SCHEME = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}


@dataclass(frozen=True, slots=True)
class Route:
    """One verb on one path. `errors` are the statuses that it may answer with beside `status`."""

    method: str
    path: str
    handler: Handler
    tag: str
    response: type[BaseModel] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    body: type[Body] | None = None
    query: type[BaseModel] | None = None
    token: bool = False
    other_responses: dict[int | str, dict[str, Any]] = field(default_factory=dict)
    response_class: type[Response] = JSONResponse
    headers: tuple[dict[str, Any], ...] = ()

    @property
    def responses(self) -> dict[int | str, dict[str, Any]]:
        described: dict[int | str, dict[str, Any]] = {
            status: {"description": _MEANINGS[status], "content": _ENVELOPE} for status in self.errors
        }
        return {**described, **self.other_responses}

    @property
    def openapi(self) -> dict[str, Any]:
        parameters = _path_parameters(self.path) + _query_parameters(self.query)
        found: dict[str, Any] = {}
        parameters += self.headers
        if self.token:
            parameters.append(_IDEMPOTENCY_KEY)
            found["security"] = [{scheme: [] for scheme in BEARER_SCHEME}]
        if parameters:
            found["parameters"] = parameters
        if self.body is not None:
            content = {"application/json": {"schema": self.body.model_json_schema()}}
            found["requestBody"] = {"required": True, "content": content}
        return found


def _path_parameters(path: str) -> list[dict[str, Any]]:
    if "{user_id}" not in path:
        return []
    schema = {"type": "string", "minLength": 1, "maxLength": 128}
    return [{"name": "user_id", "in": "path", "required": True, "schema": schema}]


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    parameters = []
    for name, schema in query.model_json_schema()["properties"].items():
        description = {"description": schema.pop("description")} if "description" in schema else {}
        parameters.append({"name": name, "in": "query", "required": False, **description, "schema": schema})
    return parameters
