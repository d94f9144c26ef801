"""Attaches calls and answers that were recorded from a running service to the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

FILE = "examples.json"
"""Recorded by tests/docs, and compared with a running service by a test."""


@dataclass(frozen=True, slots=True)
class Example:
    """One call; `title` is unique within its route, and a stream's answer is the text of its first events."""

    call: str
    title: str
    target: str
    status: int
    answer: Any
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    answer_headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_stream(self) -> bool:
        return isinstance(self.answer, str)

    def parameter(self, path: str, name: str) -> str | None:
        """Return this call's value of a parameter of its path, its query or its headers."""
        parts = urlsplit(self.target)
        if f"{{{name}}}" in path:
            segments = zip(path.split("/"), parts.path.split("/"), strict=True)
            return next(given for declared, given in segments if declared == f"{{{name}}}")
        return dict(parse_qsl(parts.query)).get(name, self.headers.get(name))


@cache
def _recorded() -> tuple[dict[str, list[Example]], dict[str, Any]]:
    raw = orjson.loads(resources.files(__package__).joinpath(FILE).read_bytes())
    calls: dict[str, list[Example]] = {}
    for one in raw["calls"]:
        calls.setdefault(one["call"], []).append(Example(**one))
    return calls, raw["errors"]


def of_call(method: str, path: str) -> list[Example]:
    """Return the examples of a route, the simplest first."""
    return _recorded()[0].get(f"{method} {path}", [])


def errors() -> dict[str, Any]:
    """Return one recorded envelope for each code that a service answers with."""
    return _recorded()[1]


def attach(document: dict[str, Any]) -> dict[str, Any]:
    """Put recorded calls and answers into an OpenAPI document, and return it.

    FastAPI takes examples that are written beside a signature, and has no place for recorded ones.
    """
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            _attach(operation, path, of_call(verb.upper(), path))
    document["components"]["examples"] = {code: {"value": envelope} for code, envelope in errors().items()}
    return document


def _attach(operation: dict[str, Any], path: str, recorded: list[Example]) -> None:
    for parameter in operation.get("parameters", ()):
        for example in recorded:
            if (given := example.parameter(path, parameter["name"])) is not None:
                is_number = parameter["schema"].get("type") == "integer"
                parameter.setdefault("example", int(given) if is_number else given)
    for body in operation.get("requestBody", {}).get("content", {}).values():
        body["examples"] = {example.title: {"value": example.body} for example in recorded}
    for status, answer in operation["responses"].items():
        shown = [one for example in recorded if str(example.status) == status for one in _answers(example)]
        if shown:
            next(iter(answer["content"].values()))["examples"] = {title: {"value": value} for title, value in shown}


def _answers(example: Example) -> Iterator[tuple[str, Any]]:
    """The answer by its title; of a stream the data of each event, which is what its schema describes."""
    if not example.is_stream:
        yield example.title, example.answer
        return
    for event in example.answer.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.split("\n"))
        yield f"{example.title}: {fields['event']}", orjson.loads(fields["data"])
