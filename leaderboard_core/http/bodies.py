"""Says what a body is that is not the JSON object which a call takes, and shows one that would do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from pydantic import BaseModel

from leaderboard_core.errors import UnsupportedMediaType

_NO_OBJECT: Final = frozenset({"model_type", "model_attributes_type"})
_COMPRESSED: Final = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x28\xb5\x2f\xfd")
"""How gzip, the four levels of zlib, and zstd begin."""
_WIDE: Final[Mapping[str, re.Pattern[bytes]]] = {
    "UTF-32": re.compile(rb"\xff\xfe\0\0|\0\0\xfe\xff|[^\0]\0\0\0|\0\0\0[^\0]"),
    "UTF-16": re.compile(rb"\xff\xfe|\xfe\xff|[^\0]\0|\0[^\0]"),
}
_FORM_FIELD: Final = re.compile(rb"[\w.%+\[\]-]+=")
_WITHOUT_EXAMPLE: Final[Mapping[str, Any]] = {"integer": 0, "number": 0, "boolean": False, "string": "…"}


def check_encoding(coding: bytes) -> None:
    """Refuse a body whose Content-Encoding says that it is compressed. Raises UnsupportedMediaType."""
    if coding.strip().lower() not in (b"", b"identity"):
        named = coding.decode("latin-1")[:32]
        raise UnsupportedMediaType(f"The body has 'Content-Encoding: {named}'; send it as it is, without that header.")


def why_no_object(problem: Mapping[str, Any], body: object, content_type: str, model: type[BaseModel]) -> str | None:
    """The sentence for a body that is wrong as a whole; None where something in it is wrong.

    `problem` is one of pydantic's errors, `model` what the body should be.
    """
    if problem["type"] in _NO_OBJECT and len(problem["loc"]) == 1:
        return f"Send a JSON object such as {_example(model)}."
    if problem["type"] != "json_invalid":
        return None
    found = _looks_like(body if isinstance(body, bytes) else b"", content_type.lower())
    return f"The body is {found} {_example(model)}." if found else str(problem["msg"])


def _looks_like(body: bytes, content_type: str) -> str | None:
    """What a body is that no JSON parser understands; None where it seems to be JSON with a mistake."""
    if not body.strip():
        return "empty; send JSON such as"
    if body.startswith(_COMPRESSED):
        return "compressed; send plain JSON such as"
    for name, beginning in _WIDE.items():
        if beginning.match(body):
            return f"in {name}; send JSON in UTF-8, such as"
    if body.lstrip()[:1] in (b"{", b"[", b'"'):
        return None  # whatever its type says: curl calls all that it is given a form
    if body.startswith(b"--") or content_type.startswith("multipart/"):
        return "a multipart form; send JSON such as"
    if body.startswith(b"<"):
        return "XML; send JSON such as"
    if _FORM_FIELD.match(body) or content_type.startswith("application/x-www-form-urlencoded"):
        return "a form; send JSON such as"
    return None


@cache
def _example(model: type[BaseModel]) -> str:
    """JSON of a model with what is required, made of the examples of its fields."""
    schema = model.model_json_schema()
    return json.dumps(_value(schema, schema.get("$defs", {})), ensure_ascii=False)


def _value(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(named[schema["$ref"].rpartition("/")[2]], named)
    if "examples" in schema:
        return schema["examples"][0]
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {name: _value(properties[name], named) for name in schema.get("required", ())}
        case "array":
            return [_value(schema["items"], named)]
        case kind:
            return _WITHOUT_EXAMPLE.get(str(kind))
