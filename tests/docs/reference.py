"""Write the API reference as Markdown, from the OpenAPI document and the recorded examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from textwrap import fill
from typing import Any

from leaderboard_core.http.phrases import phrase_of
from leaderboard_service.app import create_app
from leaderboard_service.reference import examples
from leaderboard_service.reference.examples import Example
from tests.docs.schemas import Schemas, pretty
from tests.docs.tables import table
from tests.support.service import SECRET, settings_of

WIDTH = 120
Operation = dict[str, Any]


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return create_app(settings_of({"JWT_SECRET": SECRET})).openapi()


def calls(file: str = "") -> str:
    """List all calls; `file` is linked as their description."""
    rows = [
        (f"[`{name}`]({file}#{slug(name)})", "yes" if operation["security"] else "", operation["summary"])
        for name, operation in operations()
    ]
    return table("call, token, purpose", *rows)


def reference() -> str:
    """Describe every call in full."""
    parts = []
    for tag in document()["tags"]:
        parts.append(f"## {tag['name'].capitalize()}\n\n{wrapped(tag['description'])}")
        parts += [described(name, operation) for name, operation in operations() if operation["tags"] == [tag["name"]]]
    return "\n\n".join(parts)


def operations() -> Iterator[tuple[str, Operation]]:
    """List every call ("GET /top") in the order of the document."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def wrapped(text: str) -> str:
    """Wrap paragraphs as in the other documents."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return "\n\n".join(fill(one, WIDTH, break_long_words=False, break_on_hyphens=False) for one in paragraphs)


def described(name: str, operation: Operation) -> str:
    """Describe one call."""
    method, _, path = name.partition(" ")
    schemas = Schemas(document()["components"]["schemas"])
    parts = [f"### `{name}`", wrapped(operation["description"])]
    if operation["security"] and {} not in operation["security"]:
        parts.append("Needs a token.")
    parameters = [
        (f"`{one['name']}`", one["in"], *schemas.row(one["schema"], required=one["required"]), one["description"])
        for one in operation.get("parameters", ())
    ]
    if parameters:
        parts.append(table("parameter, in, type, default, meaning", *parameters))
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        parts.append(table("body, type, default, meaning", *schemas.fields(schema, sent=True)))
    parts += [shown(method, example) for example in examples.of_call(method, path)]
    parts += answers(schemas, operation)
    if refused := errors(operation):
        parts.append(refused)
    return "\n\n".join(parts)


def shown(method: str, example: Example) -> str:
    """Show one example: the request and the answer."""
    request = [f"{method} {example.target}", *(f"{name}: {value}" for name, value in example.headers.items())]
    if example.body is not None:
        request += ["", pretty(example.body)]
    answer = [f"{example.status} {phrase_of(example.status)}"]
    answer += [f"{name}: {value}" for name, value in example.answer_headers.items()]
    text = example.answer if isinstance(example.answer, str) else pretty(example.answer)
    answer += ["", text.rstrip("\n")]
    return "\n".join([f"{example.title}:", "", "```http", *request, "```", "", "```http", *answer, "```"])


def answers(schemas: Schemas, operation: Operation) -> Iterator[str]:
    """Describe the fields of a successful answer."""
    success = next(answer for status, answer in operation["responses"].items() if status < "300")
    content = success["content"]
    if "application/json" in content:
        yield table("answer, type, meaning", *schemas.fields(content["application/json"]["schema"], sent=False))
    elif "text/event-stream" in content:
        for option in schemas.resolved(content["text/event-stream"]["schema"])["anyOf"]:
            found = schemas.resolved(option)
            if found["title"] != "ErrorEnvelope":
                yield f"{found['description']}\n\n{table('data, type, meaning', *schemas.fields(found, sent=False))}"


def errors(operation: Operation) -> str:
    """List the error codes of a call, by status."""
    found = []
    for status, answer in operation["responses"].items():
        codes = answer.get("content", {}).get("application/json", {}).get("examples", {})
        if status >= "400" and codes:
            found.append(f"{status} {' '.join(f'`{code}`' for code in codes if code in examples.errors())}".rstrip())
    return wrapped(f"Errors: {', '.join(found)}.") if found else ""
