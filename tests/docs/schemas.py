"""Describe JSON Schema in words: types with their limits, and fields as rows of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from leaderboard_core.settings import MAX_EXACT_INTEGER

Schema = Mapping[str, Any]
JSON_WIDTH = 116


class Schemas:
    """Resolve references into a document's schemas."""

    def __init__(self, named: Mapping[str, Schema]) -> None:
        self._named = named

    def resolved(self, schema: Schema) -> Schema:
        """Resolve a reference; keywords beside it take precedence."""
        if "$ref" not in schema:
            return schema
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        return {**self._named[schema["$ref"].rpartition("/")[2]], **beside}

    def row(self, schema: Schema, *, required: bool) -> tuple[str, str]:
        """Return type and default."""
        if required:
            return self.type(schema), "required"
        default = schema.get("default")
        return self.type(schema), f"`{default}`" if default not in (None, "") else ""

    def fields(self, schema: Schema, *, sent: bool, prefix: str = "") -> Iterator[tuple[str, ...]]:
        """Return name, type and meaning of each field, nested ones included.

        For what is `sent`, with limits and defaults; answers are within them anyway.
        """
        found = self.resolved(schema)
        for name, part in found.get("properties", {}).items():
            words = (
                self.row(part, required=name in found.get("required", ())) if sent else (self.type(part, sent=False),)
            )
            meaning = self.resolved(part).get("description", "")
            if name == "ok" and not meaning:
                meaning = "True."
            yield f"`{prefix}{name}`", *words, meaning
            yield from self._inside(part, sent=sent, prefix=f"{prefix}{name}")

    def _inside(self, schema: Schema, *, sent: bool, prefix: str) -> Iterator[tuple[str, ...]]:
        found = self.resolved(schema)
        if found.get("type") == "array":
            for option in found["items"].get("anyOf", [found["items"]])[:1]:
                yield from self.fields(option, sent=sent, prefix=f"{prefix}[].")
        elif isinstance(found.get("additionalProperties"), dict):
            yield from self.fields(found["additionalProperties"], sent=sent, prefix=f"{prefix}.<name>.")
        else:
            for option in found.get("anyOf", [found])[:1]:
                yield from self.fields(option, sent=sent, prefix=f"{prefix}.")

    def type(self, schema: Schema, *, sent: bool = True) -> str:
        """Describe the type in a few words, with its limits if it is `sent`."""
        found = self.resolved(schema)
        if "anyOf" in found:
            words = [self.type(option, sent=sent) for option in found["anyOf"] if option.get("type") != "null"]
            null = " or null" if not sent and len(words) < len(found["anyOf"]) else ""
            return " or ".join(dict.fromkeys(words)) + null
        if "enum" in found:
            return " or ".join(f"`{value}`" for value in found["enum"])
        kind = str(found.get("type", "any")).replace("array", "list")
        if not sent:
            return kind
        match kind:
            case "string":
                limits = _between(found.get("minLength"), found.get("maxLength"))
                return f"string{limits} characters" if limits else "string"
            case "list":
                return f"list{_between(found.get('minItems'), found.get('maxItems'))}"
        return f"{kind}{_between(found.get('minimum'), found.get('maximum'))}"


def _between(low: float | None, high: float | None) -> str:
    if high == MAX_EXACT_INTEGER:
        return ", ±(2^53−1)" if low == -MAX_EXACT_INTEGER else f", {_number(low)} to 2^53−1"
    if low is None:
        return "" if high is None else f", at most {_number(high)}"
    return f", from {_number(low)}" if high is None else f", {_number(low)}-{_number(high)}"


def _number(value: float | None) -> str:
    return f"{value:g}" if value is not None and abs(value) < 1e6 else str(value)


def pretty(value: Any, indent: str = "") -> str:
    """Format JSON readably: a part stays on one line where it fits."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= JSON_WIDTH or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(key)}: {pretty(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(f"{inner}{pretty(part, inner)}" for part in value) + f"\n{indent}]"
