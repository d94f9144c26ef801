"""Completes the OpenAPI document that FastAPI makes of the signatures, for people and for generators of clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from leaderboard_service.reference import examples

Document = dict[str, Any]


def complete(document: Document) -> Document:
    """Add what signatures cannot say, and return the document."""
    for schema in _objects(document):
        if schema.get("type") == "integer":
            _widen(schema)
    return examples.attach(document)


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
