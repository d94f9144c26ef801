"""Completes the OpenAPI document that FastAPI makes of the signatures, for people, linters and generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from leaderboard_core.errors import MethodNotAllowed, NotFound
from leaderboard_service.openapi import envelope_of
from leaderboard_service.reference import examples

Document = dict[str, Any]

_REFUSED: Final = "Refused"
_REFUSED_ANSWER: Final = {
    "description": "Any other refusal, also by the gateway or NGINX in front of a service: always the envelope.",
    "content": envelope_of([NotFound.code, MethodNotAllowed.code]),
}


def complete(document: Document) -> Document:
    """Add what signatures cannot say, and return the document."""
    for schema in _objects(document):
        if schema.get("type") == "integer":
            _widen(schema)
    _name_inline_objects(document["components"]["schemas"])
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete(operation)
    document["components"]["responses"] = {_REFUSED: _REFUSED_ANSWER}
    return examples.attach(document)


def _complete(operation: dict[str, Any]) -> None:
    """Say that a call needs no token where it needs none, and how it is refused where it does not say how."""
    operation.setdefault("security", [])
    for parameter in operation.get("parameters", ()):
        _leave_null_out(parameter["schema"])
    refused = {"$ref": f"#/components/responses/{_REFUSED}"}
    answers = operation["responses"]
    if not any(status.startswith("4") for status in answers):
        answers["4XX"] = refused  # what is no HTTP is refused before a call is looked for
    answers["default"] = refused


def _leave_null_out(schema: dict[str, Any]) -> None:
    """Describe a parameter as what it is when it is sent: null stands for one that is not."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        del schema["anyOf"]
        schema.update({**options[0], **schema})


def _name_inline_objects(schemas: dict[str, Any]) -> None:
    """Make a component of each object that is described inside of another; generators call those Inner1 or so."""
    for schema in list(schemas.values()):
        for outer in list(_objects(schema)):
            for name, inner in outer.items():
                if isinstance(inner, dict) and "properties" in inner and "title" in inner:
                    schemas[inner["title"]] = inner
                    outer[name] = {"$ref": f"#/components/schemas/{inner['title']}"}


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object of a document, the outer ones first."""
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _objects(inner)


def _widen(schema: dict[str, Any]) -> None:
    """Say that an integer has 64 bits: without a format many generators make fields of 32.

    Its bounds went through FastAPI's models, which have floats for them.
    """
    schema["format"] = "int64"
    for bound in ("minimum", "maximum"):
        if bound in schema:
            schema[bound] = int(schema[bound])
