"""A route: its handler, and what the OpenAPI document says of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, get_args

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, TypeAdapter

from leaderboard_core.errors import (
    InvalidPayload,
    InvalidToken,
    LeaderboardError,
    MissingToken,
    PayloadTooLarge,
    RetryLater,
    Unavailable,
    UnknownRegion,
    WarmingUp,
)
from leaderboard_service.asgi import Handler, Headers, json_headers
from leaderboard_service.boards.service import Source
from leaderboard_service.reference import examples
from leaderboard_service.schemas import Body, ErrorEnvelope, UserId

Errors = tuple[type[LeaderboardError], ...]

TOKEN_ERRORS: Errors = (MissingToken, InvalidToken)
BODY_ERRORS: Errors = (PayloadTooLarge, InvalidPayload, UnknownRegion)
STORE_ERRORS: Errors = (Unavailable, WarmingUp)
READ_ERRORS: Errors = (InvalidPayload, UnknownRegion, Unavailable)
"""Of a read that goes to Postgres when Redis does not hold its data."""

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The write happens once, however often it is sent with this key; visible ASCII.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_RETRY_AFTER = {
    "Retry-After": {"description": "Whole seconds; `retry_after` is exact.", "schema": {"type": "integer"}},
}
SOURCE = {
    "X-Leaderboard-Source": {
        "description": "`redis`, or `postgres` while Redis is away or being rebuilt.",
        "schema": {"type": "string", "enum": ["redis", "postgres"]},
    }
}
"""The header of an answer that says which store was read."""
FROM_SOURCE: dict[Source, Headers] = {
    source: json_headers(dict.fromkeys(SOURCE, source)) for source in get_args(Source)
}
"""The headers of a JSON answer from each of the stores."""

_ENVELOPE = {"$ref": f"#/components/schemas/{ErrorEnvelope.__name__}"}

BEARER_SCHEME = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}


@dataclass(frozen=True, slots=True)
class Route:
    """One verb on one path. `errors` are those that it may answer with; the handler's docstring tells the rest.

    The docstring's first line is the summary. `headers` are parameters, `answer_headers` those of the answer.
    """

    method: str
    path: str
    handler: Handler
    tag: str
    response: type[BaseModel] | None = None
    status: int = 200
    errors: Errors = ()
    body: type[Body] | None = None
    query: type[BaseModel] | None = None
    token: bool = False
    other_responses: dict[int | str, dict[str, Any]] = field(default_factory=dict)
    response_class: type[Response] = JSONResponse
    headers: tuple[dict[str, Any], ...] = ()
    answer_headers: dict[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        return inspect.getdoc(self.handler) or ""

    @property
    def summary(self) -> str:
        return self.description.partition("\n")[0].removesuffix(".")

    @property
    def responses(self) -> dict[int | str, dict[str, Any]]:
        """Every answer: what FastAPI cannot know of those with a model, and the errors by status."""
        found: dict[int | str, dict[str, Any]] = {self.status: {}} if self.response else {}
        found |= {status: dict(given) for status, given in self.other_responses.items()}
        for status, described in found.items():
            if answers := self._answers(status):
                described["content"] = {self.response_class.media_type: {"examples": answers}}
            if self.answer_headers:
                described["headers"] = self.answer_headers
        # Not models: FastAPI would give the errors of a stream the stream's own media type.
        return found | {status: _errors(status, self.errors) for status in sorted({e.status for e in self.errors})}

    @property
    def openapi(self) -> dict[str, Any]:
        parameters = _path_parameters(self.path) + _query_parameters(self.query)
        parameters += [dict(header) for header in self.headers]
        found: dict[str, Any] = {}
        if self.token:
            if self.method != "GET":
                parameters.append(dict(_IDEMPOTENCY_KEY))
            found["security"] = [{scheme: [] for scheme in BEARER_SCHEME}]
        if parameters:
            found["parameters"] = parameters
            for parameter in parameters:
                for example in self._examples:
                    if (given := example.parameter(self.path, parameter["name"])) is not None:
                        parameter.setdefault("example", given)
        if self.body is not None:
            bodies = {example.title: {"value": example.body} for example in self._examples}
            content = {"application/json": {"schema": self.body.model_json_schema(), "examples": bodies}}
            found["requestBody"] = {"required": True, "content": content}
        return found

    @property
    def _examples(self) -> list[examples.Example]:
        return examples.of_call(self.method, self.path)

    def _answers(self, status: int | str) -> dict[str, Any]:
        return {example.title: {"value": example.answer} for example in self._examples if example.status == status}


def _errors(status: int, errors: Errors) -> dict[str, Any]:
    found = [error for error in errors if error.status == status]
    named = {error.code: {"$ref": f"#/components/examples/{error.code}"} for error in found}
    described: dict[str, Any] = {
        "description": "\n\n".join(f"`{error.code}`: {error.default_message}" for error in found),
        "content": {"application/json": {"schema": _ENVELOPE, "examples": named}},
    }
    if all(issubclass(error, RetryLater) for error in found):
        described["headers"] = _RETRY_AFTER
    return described


def _path_parameters(path: str) -> list[dict[str, Any]]:
    if "{user_id}" not in path:
        return []
    schema = TypeAdapter(UserId).json_schema()
    description = schema.pop("description")
    return [{"name": "user_id", "in": "path", "required": True, "description": description, "schema": schema}]


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    parameters = []
    for name, schema in query.model_json_schema()["properties"].items():
        description = {"description": schema.pop("description")} if "description" in schema else {}
        parameters.append({"name": name, "in": "query", "required": False, **description, "schema": schema})
    return parameters
